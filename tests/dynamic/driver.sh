# Runs every case in an empty folder and prints what it printed, with a mark at its end that
# tells its status. The same script runs natively and in the guest: dash driver.sh FOLDER
cd "$1" || exit 125
: >nothing
for case in cases/*; do
  mkdir work && cd work || exit 125
  case $case in
    *.lua) lua5.4 "../$case" ;;
    *.gawk | *.mawk) "${case##*.}" -f "../$case" ;;
    *) "${case##*.}" "../$case" ;;
  esac <../nothing >../printed 2>&1
  status=$?
  cd .. && cat printed && printf '\n@@ %s %d\n' "${case##*/}" $status
  chmod -R u+rwx work && rm -rf work || exit 125
done
