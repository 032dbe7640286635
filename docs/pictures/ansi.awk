# From a screen as `tmux capture-pane -e -p` gives it to a page that looks like it.
BEGIN {
  print "<!doctype html><meta charset=\"utf-8\"><style>body{margin:0;background:#14171a;color:#e6e8eb}" \
    "pre{margin:14px;font:14px 'DejaVu Sans Mono',monospace}.bold{font-weight:bold}.dim{opacity:.55}" \
    ".turned{background:#e6e8eb;color:#14171a}.c33{color:#e6c34a}.c36{color:#56c8d8}</style><pre>"
}
{
  n = split($0, parts, "\033\\[")
  line = ""
  for (i = 1; i <= n; i++) {
    text = parts[i]
    if (i > 1) {
      end = index(text, "m")
      set(substr(text, 1, end - 1))
      text = substr(text, end + 1)
    }
    gsub("&", "\\&amp;", text); gsub("<", "\\&lt;", text); gsub(">", "\\&gt;", text)
    if (text != "") line = line "<span class=\"" bold dim turned colour "\">" text "</span>"
  }
  print line
}
# Takes the numbers of one sequence that selects how text looks (ECMA-48, "SGR").
function set(numbers,   m, j, all) {
  m = split(numbers, all, ";")
  if (m == 0) bold = dim = turned = colour = ""
  for (j = 1; j <= m; j++) {
    if (all[j] == 0 || all[j] == "") bold = dim = turned = colour = ""
    else if (all[j] == 1) bold = "bold "
    else if (all[j] == 2) dim = "dim "
    else if (all[j] == 7) turned = "turned "
    else if (all[j] == 22) bold = dim = ""
    else if (all[j] == 27) turned = ""
    else if (all[j] == 39) colour = ""
    else if (all[j] >= 30 && all[j] <= 37) colour = "c" all[j]
  }
}
END { print "</pre>" }
