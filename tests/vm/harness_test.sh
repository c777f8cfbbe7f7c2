#!/bin/bash
# What tests/vm/run promises: exit status, output, modules, files, environment, and an end.
set -uo pipefail
run=$(dirname "$(readlink -f "$0")")/run
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "from the host" >"$folder/note"
failures=0

# expect STATUS TEXT RUN-ARGUMENTS...
expect() {
  local wanted=$1 text=$2 output status
  shift 2
  output=$("$run" "$@" 2>&1)
  status=$?
  if [ $status -eq 77 ]; then
    echo "$output"
    exit 77
  fi
  if [ $status -ne "$wanted" ] || [[ "$output" != *"$text"* ]]; then
    echo "expected exit status $wanted and \"$text\" from: run $*"
    echo "got $status: $output"
    failures=$((failures + 1))
  fi
}

cat >"$folder/program" <<'TEXT'
#!/bin/sh
set -e
cat "$NOTE"
ls -d /sys/module/ip_vs_mh /sys/module/dummy
nft add table inet probe
ipset create probe hash:ip
ipvsadm -A -t 10.0.0.1:80 -s mh
echo "arguments: $1, $2"
exit 7
TEXT
chmod +x "$folder/program"
expect 7 "arguments: a b, c" --file "$folder/note" --env "NOTE=$folder/note" ip_vs_mh dummy -- \
  "$folder/program" "a b" c
expect 125 "no module no_such_module" no_such_module -- uname
expect 124 "no result" --timeout 15 -- sleep 100
[ $failures -eq 0 ]
