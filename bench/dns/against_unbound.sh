#!/bin/bash
# Queries per CPU-second of the server process: fairlead against unbound, one thread each, the same
# names (a ClusterIP Service each) as the cluster's Services and as unbound's local data. Alternating
# runs on loopback; medians with the spread. Load: dnsperf, bounded in time.
#
#   bench/dns/against_unbound.sh [FAIRLEAD_BINARY]
#   NAMES="1000 10000" RUNS=5 SECONDS_EACH=3 BASE_PORT=25300 are the defaults.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${1:-build/release/fairlead}
names_list=${NAMES:-1000 10000}
runs=${RUNS:-5}
seconds=${SECONDS_EACH:-3}
base=${BASE_PORT:-25300}

for tool in unbound dnsperf dig; do
  command -v $tool >/dev/null || [ -x /usr/sbin/$tool ] || { echo "$tool is not installed" >&2; exit 2; }
done
[ -x "$binary" ] || { echo "$binary is not built" >&2; exit 2; }

work=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
tick=$(getconf CLK_TCK)

write_cluster() {  # NAMES: manifests, unbound.conf and the queries
  local count=$1 i
  mkdir -p "$work/manifests"
  : > "$work/queries.hit"; : > "$work/queries.denied"
  {
    echo "server:"
    echo "  interface: 127.0.0.1@$((base + 1))"
    printf '  %s\n' 'num-threads: 1' 'do-daemonize: no' 'chroot: ""' 'username: ""' 'pidfile: ""' \
      'use-syslog: no' 'logfile: ""' 'verbosity: 0' 'module-config: "iterator"' \
      'access-control: 127.0.0.0/8 allow' "directory: \"$work\"" \
      'local-zone: "cluster.local." static' \
      'local-data: "cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"'
    for ((i = 0; i < count; ++i)); do
      echo "  local-data: \"svc-$i.default.svc.cluster.local. 30 IN A 10.96.$((i / 250)).$((i % 250 + 1))\""
    done
    echo "remote-control:"
    echo "  control-enable: no"
  } > "$work/unbound.conf"
  for ((i = 0; i < count; ++i)); do
    printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: svc-%d, namespace: default}\nspec: {clusterIP: 10.96.%d.%d, ports: [{port: 80}]}\n' \
      $i $((i / 250)) $((i % 250 + 1))
  done > "$work/manifests/services.yaml"
  for ((i = 0; i < count; ++i)); do
    echo "svc-$(((i * 7919) % count)).default.svc.cluster.local. A" >> "$work/queries.hit"
    echo "none-$i.default.svc.cluster.local. A" >> "$work/queries.denied"
  done
  printf '.:%d {\n  kubernetes cluster.local {\n    ttl 30\n  }\n}\n' "$base" > "$work/Corefile"
}

start_servers() {
  "$binary" agent --manifests "$work/manifests" --proxy-mode none --no-ingress --node-name bench \
    --corefile "$work/Corefile" --dns-workers 1 --dns-bind 127.0.0.1 --socket "$work/agent.sock" \
    --healthz-listen 127.0.0.1:$((base + 2)) --metrics-listen 127.0.0.1:$((base + 3)) \
    --log-level error > "$work/fairlead.log" 2>&1 &
  fairlead=$!
  pids+=("$fairlead")
  "$(command -v unbound || echo /usr/sbin/unbound)" -d -c "$work/unbound.conf" > "$work/unbound.log" 2>&1 &
  unbound=$!
  pids+=("$unbound")
  wait_for "$base" fairlead
  wait_for $((base + 1)) unbound
}

wait_for() {  # PORT NAME: until it answers a name of the cluster
  local i
  for ((i = 0; i < 100; ++i)); do
    [ -n "$(dig +short +time=1 +tries=1 @127.0.0.1 -p "$1" svc-1.default.svc.cluster.local A 2>/dev/null | grep '^10\.')" ] && return 0
    sleep 0.2
  done
  echo "$2 does not answer:" >&2
  tail -5 "$work/$2.log" >&2
  exit 1
}

cpu_ticks() { awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }

one_run() {  # PID PORT QUERIES -> queries per CPU-second
  local before after done_queries
  before=$(cpu_ticks "$1")
  done_queries=$(dnsperf -s 127.0.0.1 -p "$2" -d "$3" -c 16 -q 256 -l "$seconds" 2>/dev/null |
    awk '/Queries completed:/ { print $3 }')
  after=$(cpu_ticks "$1")
  awk -v q="$done_queries" -v t=$((after - before)) -v hz="$tick" \
    'BEGIN { printf "%d\n", (t > 0 ? q * hz / t : 0) }'
}

summary() {  # values... -> "median low high"
  printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)], v[1], v[NR] }'
}

printf '%-8s %-8s %28s %28s %8s\n' names answers "fairlead q/CPU-s (spread)" "unbound q/CPU-s (spread)" ratio
for count in $names_list; do
  rm -rf "$work/manifests"
  write_cluster "$count"
  start_servers
  for kind in hit denied; do
    ours=() theirs=()
    for ((run = 0; run < runs; ++run)); do
      ours+=("$(one_run "$fairlead" "$base" "$work/queries.$kind")")
      theirs+=("$(one_run "$unbound" $((base + 1)) "$work/queries.$kind")")
    done
    read -r a alow ahigh <<< "$(summary "${ours[@]}")"
    read -r b blow bhigh <<< "$(summary "${theirs[@]}")"
    printf '%-8s %-8s %28s %28s %8s\n' "$count" $kind "$a ($alow-$ahigh)" "$b ($blow-$bhigh)" \
      "$(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.2f", (b > 0 ? a / b : 0) }')"
  done
  awk '/VmRSS/ { print "# fairlead resident set:", $2, $3 }' "/proc/$fairlead/status"
  kill "$fairlead" "$unbound"
  wait "$fairlead" "$unbound" 2>/dev/null || true
  pids=()
done
