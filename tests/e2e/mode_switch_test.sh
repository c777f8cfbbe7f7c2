#!/usr/bin/env bash
# The proxy mode changes on a running agent, under load from inside and outside: no request fails, a
# connection that was open before each switch goes on, and nothing of the old mode is left.
lab_name=modes api_port=16446
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "this test needs python3"

# The modes to go through, the first one at start: from each of four to each other one.
modes=${MODES:-"ebpf nftables iptables userspace ebpf iptables nftables userspace nftables ebpf userspace iptables ebpf"}

step "up"
up --backends 3 --proxy-mode "${modes%% *}"
cluster_ip=$(k get svc demo -o jsonpath='{.spec.clusterIP}')
agent() { "$fairlead" "$@" --socket "$lab_dir/node1.sock"; }

# keep_alive FROM HOST PORT STOP: requests on one connection until the file STOP is there. Prints how many
# were answered, or fails. Makes the file STOP.FROM with the first answer.
keep_alive() {
  inside "$1" timeout 240 python3 - "$2" "$3" "$4" "$4.$1" <<'PY'
import http.client, os, sys, time
host, port, stop, first = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
connection = http.client.HTTPConnection(host, port, timeout=5)
connection.connect()
socket, count, backends = connection.sock, 0, set()
while not os.path.exists(stop):
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    assert connection.sock is socket, "the connection was made anew"
    backends.add(answer.headers["X-Backend"])
    count += 1
    if count == 1: open(first, "w").close()
    time.sleep(0.2)
assert len(backends) == 1, backends
print(count)
PY
}

step "load: new connections to the ClusterIP and the NodePort, and two to each that stay open"
rm -f "$lab_dir"/enough*
# load NAME FROM ADDRESS PORT: until the file `enough` is there; what came of it goes to NAME.json.
load() {
  { while [ ! -f "$lab_dir/enough" ]; do sleep 0.2; done; } |
    inside "$2" timeout 400 python3 "$source_dir/bench/reliability/load.py" --tcp "$3" "$4" --workers 4 --open 2 \
      --pause 0 >"$lab_dir/$1.json"
}
load cluster client "$cluster_ip" 80 &
inner=$!
load node external 192.168.77.11 30080 &
outer=$!
answered() { [ -f "$1.client" ] && [ -f "$1.external" ]; }

# Of a mode whose flows are in the process nothing may be left before it is chosen again.
drained() { ! agent status -o json | grep -q '"userspace: until its flows end'; }

turn=0
for mode in ${modes#* }; do
  turn=$((turn + 1))
  from=$(agent proxy-mode get)
  step "switch from $from to $mode, with connections that were opened in $from"
  stop="$lab_dir/enough-$turn"
  keep_alive client "$cluster_ip" 80 "$stop" >"$lab_dir/turn-cluster.txt" 2>&1 &
  turn_inner=$!
  keep_alive external 192.168.77.11 30080 "$stop" >"$lab_dir/turn-node.txt" 2>&1 &
  turn_outer=$!
  eventually 20 answered "$stop"
  [ "$mode" != userspace ] || eventually 10 drained
  time agent proxy-mode set "$mode"
  sleep 2
  touch "$stop"
  wait $turn_inner || fail "from $from to $mode, the connection to the ClusterIP broke: $(cat "$lab_dir/turn-cluster.txt")"
  wait $turn_outer || fail "from $from to $mode, the connection to the NodePort broke: $(cat "$lab_dir/turn-node.txt")"
  [ "$(agent proxy-mode get)" = "$mode" ] || fail "the mode is $(agent proxy-mode get)"
  expect "\"mode\":\"$mode\"" agent status -o json
  expect '"name":"backend' get "http://$cluster_ip/"
done
touch "$lab_dir/enough"
wait $inner && wait $outer || fail "the load did not end by itself"
for name in cluster node; do
  python3 - "$name" "$lab_dir/$name.json" <<'PY' || fail "to the $name address not every request was answered"
import json, sys
seen = json.load(open(sys.argv[2]))
short, lasting = seen["short"], seen["open"]
print(f"{sys.argv[1]}: {short['requests']} new connections, {short['failed']} failed {short['errors']}; "
      f"{lasting['connections']} open ones, {lasting['broken']} broken {lasting['errors']}")
sys.exit(short["requests"] < 200 or short["failed"] + lasting["failed"] > 0)
PY
done

step "explain and verify in the last mode"
expect "cluster-ip $cluster_ip:80" agent explain service default/demo
expect "forward default/demo:http" agent explain flow 192.168.77.100 192.168.77.11:30080/TCP
expect '"outcome":"forward"' agent explain flow 192.168.77.100 192.168.77.11:30080/TCP -o json
expect "0 drifts" agent verify

step "a mode that is none, and killed in the middle: the next start cleans up"
expect "smoke" agent proxy-mode set smoke
agent proxy-mode set nftables
inside node1 nft list table inet fairlead >/dev/null || fail "nftables mode has no table"
lab stop -9 node1
lab start node1
eventually 10 get -f "http://$cluster_ip/"
if [ "${modes%% *}" != nftables ]; then
  gone() { ! inside node1 nft list table inet fairlead; }
  eventually 10 gone
fi
expect '"name":"backend' inside external curl -sS --max-time 5 http://192.168.77.11:30080/
echo "ok"
