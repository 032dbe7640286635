# Storms, shootdowns, forks and races with swap at once; the status says what went wrong.
workload storm 1 >/tmp/s & workload anonymous 8192 >/tmp/a & shootdown 4 4 4 >/tmp/d & smp-storm --seed 7 --processes 2 --threads 2 --rounds 3 >/tmp/c & workload anonymous 12288 >/tmp/b & for r in fork munmap mprotect mremap; do mmprobe race $r 256; done >/tmp/e
wait
cat /tmp/s /tmp/a /tmp/b /tmp/c /tmp/d >/tmp/all; cat /tmp/all /tmp/e; grep '^pswp' /proc/vmstat; grep TLB /proc/interrupts
[ "$(cat /tmp/all)" = "storm 1: f47f879f
anonymous 8192: 8d68e030
anonymous 12288: d68f06dd
smp-storm: seed 7, 2 processes, 2 threads, 3 rounds: 0d6a9b8f
shootdown: 4 threads, 4 rounds, 4 pages: f268ec9f" ] || { echo "wrong data: $(cat /tmp/all)" >&2; exit 1; }
[ $(grep -c ' 0 wrong' /tmp/e) = 4 ] || { echo "race: $(cat /tmp/e)" >&2; exit 2; }
swapoff /dev/sda || exit 3
echo 1 >/proc/sys/vm/verify || exit 4
exit 0
