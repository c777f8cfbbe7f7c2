#!/usr/bin/env bash
# The proxy mode changes on a running agent, under load from inside and outside: no request fails, a
# connection that was open before each switch goes on, and nothing of the old mode is left.
lab_name=modes api_port=16446
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"
command -v wrk >/dev/null || skip "this test needs wrk"
command -v python3 >/dev/null || skip "this test needs python3"

# The modes to go through, the first one at start.
modes=${MODES:-"ebpf nftables iptables userspace ebpf"}
switch_every=5

step "up"
up --backends 3 --proxy-mode "${modes%% *}"
cluster_ip=$(k get svc demo -o jsonpath='{.spec.clusterIP}')
agent() { "$fairlead" "$@" --socket "$lab_dir/node1.sock"; }

# One request per second on one connection, as long as it lives: prints how many were answered, or fails.
keep_alive() {
  inside "$1" timeout 120 python3 - "$2" "$3" "$lab_dir/enough" <<'PY'
import http.client, os, sys, time
host, port, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
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
    time.sleep(0.2)
assert len(backends) == 1, backends
print(count)
PY
}

count=$(wc -w <<<"$modes")
seconds=$((switch_every * count + 2))
step "load: new connections to the ClusterIP and the NodePort, and one that stays open to each"
rm -f "$lab_dir/enough"
inside client wrk -t1 -c4 "-d${seconds}s" --timeout 5s -H 'Connection: close' "http://$cluster_ip:80/" >"$lab_dir/wrk-cluster.txt" &
inner=$!
inside external wrk -t1 -c4 "-d${seconds}s" --timeout 5s -H 'Connection: close' http://192.168.77.11:30080/ >"$lab_dir/wrk-node.txt" &
outer=$!
keep_alive client "$cluster_ip" 80 >"$lab_dir/long-cluster.txt" 2>&1 &
long_inner=$!
keep_alive external 192.168.77.11 30080 >"$lab_dir/long-node.txt" 2>&1 &
long_outer=$!
sleep 2

for mode in ${modes#* }; do
  step "switch to $mode"
  sleep "$switch_every"
  time agent proxy-mode set "$mode"
  [ "$(agent proxy-mode get)" = "$mode" ] || fail "the mode is $(agent proxy-mode get)"
  expect "\"mode\":\"$mode\"" agent status -o json
  expect '"name":"backend' get "http://$cluster_ip/"
done
wait $inner $outer
touch "$lab_dir/enough"
cat "$lab_dir/wrk-cluster.txt" "$lab_dir/wrk-node.txt"
! grep -E 'Socket errors|Non-2xx' "$lab_dir/wrk-cluster.txt" "$lab_dir/wrk-node.txt" || fail "requests failed"
for file in wrk-cluster wrk-node; do
  [ "$(awk '/requests in/ {print $1}' "$lab_dir/$file.txt")" -gt 200 ] || fail "$file: hardly any request went through"
done
wait $long_inner || fail "the open connection to the ClusterIP broke: $(cat "$lab_dir/long-cluster.txt")"
wait $long_outer || fail "the open connection to the NodePort broke: $(cat "$lab_dir/long-node.txt")"
echo "open connections: $(cat "$lab_dir/long-cluster.txt") and $(cat "$lab_dir/long-node.txt") answers"

step "explain and verify in the last mode"
expect "cluster-ip $cluster_ip:80" agent explain service default/demo
expect "forward default/demo:http" agent explain flow 192.168.77.100 192.168.77.11:30080/TCP
expect '"outcome":"forward"' agent explain flow 192.168.77.100 192.168.77.11:30080/TCP -o json
expect "0 drifts" agent verify

step "a mode that is none, and killed in the middle: the next start cleans up"
expect "not a mode to switch to" agent proxy-mode set smoke
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
