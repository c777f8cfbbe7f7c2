#!/usr/bin/env bash
# Kill -9 at any moment is a normal event: of the agent, under load through an eBPF Service, without a
# failed request; of the server, under writes, without a lost object; and both converge afterwards.
lab_name=crash api_port=16444
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"
command -v wrk >/dev/null || skip "this test needs wrk"

step "up"
up --backends 3
cluster_ip=$(k get svc demo -o jsonpath='{.spec.clusterIP}')

step "load through the ClusterIP, a new connection per request, while the agent is killed and started"
inside client wrk -t1 -c4 -d12s --timeout 5s -H 'Connection: close' "http://$cluster_ip:80/" >"$lab_dir/wrk.txt" &
load=$!
sleep 2
lab stop -9 node1
sleep 3
lab start node1
wait $load
cat "$lab_dir/wrk.txt"
! grep -E 'Socket errors|Non-2xx' "$lab_dir/wrk.txt" || fail "requests failed while the agent was away"
[ "$(awk '/requests in/ {print $1}' "$lab_dir/wrk.txt")" -gt 1000 ] || fail "hardly any request went through"

step "the agent took over and follows again"
k create service clusterip late --tcp=80:8080
k patch svc late -p '{"spec":{"selector":{"app":"demo","late":null}}}'
eventually 10 get -f http://late/

step "the server is killed in the middle of writes: every acknowledged one is there"
acknowledged=$lab_dir/acknowledged
: >"$acknowledged"
writer() {
  for i in $(seq 1 400); do
    curl -sf --max-time 5 --unix-socket "$lab_dir/api.sock" -H 'Content-Type: application/json' \
      -d "{\"metadata\":{\"name\":\"w$1-$i\"},\"data\":{\"n\":\"$i\"}}" \
      http://x/api/v1/namespaces/default/configmaps >/dev/null && echo "w$1-$i" >>"$acknowledged"
    [ ! -e "$lab_dir/enough" ] || break
  done
}
writers=()
for w in 1 2 3 4; do
  writer $w 2>/dev/null &
  writers+=($!)
done
for _ in 1 2 3; do
  sleep 0.7
  lab stop -9 server
  lab start server
done
touch "$lab_dir/enough"
wait "${writers[@]}" || true
eventually 10 k get --raw /readyz
k get configmaps -o name | sed 's|configmap/||' | sort >"$lab_dir/present"
lost=$(sort "$acknowledged" | comm -23 - "$lab_dir/present")
[ -z "$lost" ] || fail "acknowledged writes are gone: $lost"
count=$(wc -l <"$acknowledged")
echo "$count acknowledged writes, all present"
[ "$count" -gt 50 ] || fail "hardly any write was acknowledged"
k get configmaps -o json | python3 -c '
import json, sys
for item in json.load(sys.stdin)["items"]:
    name = item["metadata"]["name"]
    if name.startswith("w"):
        assert item["data"]["n"] == name.split("-")[1], name
'

step "traffic went on, and the agent follows the new server"
expect '"name":"backend' get "http://$cluster_ip/"
k create service clusterip later --tcp=80:8080
k patch svc later -p '{"spec":{"selector":{"app":"demo","later":null}}}'
k patch svc later -p '{"spec":{"selector":{"app":"demo"}}}'
eventually 15 get -f http://later/

step "a backend goes away while nobody watches: no deletion is missed"
lab stop node1
k delete svc late
lab start node1
eventually 10 test -z "$(inside client dig +short late.default.svc.cluster.local)"
echo "ok"
