#!/usr/bin/env bash
# The first evening of a user, with real kubectl, dig and curl: a lab comes up, traffic flows by
# every way, objects are applied, edited and deleted, and nothing is left behind.
lab_name=spine api_port=16443
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

step "up"
up --backends 3

step "kubectl sees the cluster"
expect "demo" k get svc,endpointslices,ingress -A
expect "Ready" k get nodes
expect "Running" k get pods -o wide
cluster_ip=$(k get svc demo -o jsonpath='{.spec.clusterIP}')
cluster_ip6=$(k get svc demo -o jsonpath='{.spec.clusterIPs[1]}')

step "traffic: DNS name, ClusterIP, NodePort, ingress, UDP, IPv6"
expect '"name":"backend' get http://demo.default.svc.cluster.local/
expect '"name":"backend' get http://demo/
expect '"name":"backend' get "http://$cluster_ip/"
expect '"name":"backend' get "http://[$cluster_ip6]/"
expect '"name":"backend' get http://192.168.77.11:30080/
expect '"name":"backend' inside external curl -sS --max-time 5 http://192.168.77.11:30080/
expect '"name":"backend' inside external curl -sS --max-time 5 'http://[fd77::11]:30080/'
expect '"name":"backend' inside external curl -sS --max-time 5 -H 'Host: demo.example.test' http://192.168.77.11/
expect '"name":"backend' inside external curl -sS --max-time 5 -H 'Host: demo.example.test' 'http://[fd77::11]/'
expect '404' inside external curl -sS --max-time 5 -o /dev/null -w '%{http_code}' -H 'Host: other.test' http://192.168.77.11/
expect "$cluster_ip" inside client dig +short demo.default.svc.cluster.local
expect "NXDOMAIN" inside client dig nothing.default.svc.cluster.local
expect "demo.default.svc.cluster.local." inside client dig +short -x "$cluster_ip"
expect "80 demo.default" inside client dig +short SRV _http._tcp.demo.default.svc.cluster.local
expect "$cluster_ip" inside client dig +tcp +short demo.default.svc.cluster.local

step "every backend gets its share"
for _ in $(seq 60); do get "http://$cluster_ip/"; done | grep -o '"name":"[a-z0-9]*"' | sort | uniq -c | tee /dev/stderr |
  awk '{n++} END {exit n != 3}' || fail "60 requests did not reach all three backends"

step "apply, edit and delete change traffic at once"
k apply -f "$source_dir/examples/"
expect "unchanged" k apply -f "$source_dir/examples/shop.yaml"
eventually 5 get -f http://shop/
expect '"name":"backend' inside external curl -sS --max-time 5 -H 'Host: shop.example.test' http://192.168.77.11/
expect '"name":"backend' get http://demo-pods:8080/
expect '"name":"backend' get http://alias/
expect '"name":"backend' get -6 http://dual/
k patch svc shop -p '{"spec":{"selector":{"app":"nothing"}}}'
gone() { ! get -f http://shop/; }
eventually 5 gone
expect 503 inside external curl -sS -o /dev/null -w '%{http_code}' -H 'Host: shop.example.test' http://192.168.77.11/
k patch svc shop -p '{"spec":{"selector":{"app":"demo"}}}'
eventually 5 get -f http://shop/
k patch ingress shop --type=json -p '[{"op":"replace","path":"/spec/rules/0/host","value":"new.example.test"}]'
by_new_host() { inside external curl -sSf --max-time 5 -H 'Host: new.example.test' http://192.168.77.11/; }
eventually 5 by_new_host
k delete -f "$source_dir/examples/shop.yaml"
eventually 5 gone
expect NXDOMAIN inside client dig shop.default.svc.cluster.local

step "TLS by SNI, with the Secret's certificate"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=tls.example.test \
  -addext subjectAltName=DNS:tls.example.test -keyout "$lab_dir/tls.key" -out "$lab_dir/tls.crt" 2>/dev/null
k create secret tls tls-example --cert "$lab_dir/tls.crt" --key "$lab_dir/tls.key"
k create ingress tls --class fairlead --rule "tls.example.test/*=demo:http,tls=tls-example"
by_tls() {
  inside external curl -sSf --max-time 5 --cacert "$lab_dir/tls.crt" \
    --resolve tls.example.test:443:192.168.77.11 https://tls.example.test/
}
eventually 5 by_tls

step "status says so"
expect "proxy       ok" "$fairlead" status --socket "$lab_dir/node1.sock"
expect '"mode":"ebpf"' "$fairlead" status --socket "$lab_dir/node1.sock" -o json
expect "fairlead_proxy_applies_total" inside node1 curl -sS http://127.0.0.1:10249/metrics
expect '"nodeEligible":true' inside node1 curl -sS http://127.0.0.1:10256/healthz
expect "kubeproxy_sync_proxy_rules_duration_seconds" inside node1 curl -sS http://127.0.0.1:10249/metrics
expect "KubeProxyConfiguration" inside node1 curl -sS http://127.0.0.1:10249/configz

step "other flags, on the running lab: what was applied stays"
up --backends 1 --proxy-mode nftables
expect "tls.example.test" k get ingress
expect '"name":"backend1"' get http://demo.default.svc.cluster.local/
expect '"name":"backend1"' inside external curl -sS --max-time 5 http://192.168.77.11:30080/
expect '"mode":"nftables"' "$fairlead" status --socket "$lab_dir/node1.sock" -o json

step "up after a crash of everything"
lab status | awk 'NR > 1 {print $3}' | xargs kill -9
up --backends 2
expect '"name":"backend' get http://demo.default.svc.cluster.local/

step "down leaves nothing"
down
[ ! -e "$lab_dir" ] || fail "$lab_dir is still there"
[ -z "$(ip netns list | grep "^fl-$lab_name-")" ] || fail "namespaces are left: $(ip netns list)"
! grep -q "fairlead-lab/$lab_name" /proc/mounts || fail "mounts are left"
[ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "fl-$lab_name" 2>/dev/null)" ] || fail "a cgroup is left"
! pgrep -f "fairlead-lab/$lab_name/" >/dev/null || fail "processes are left: $(pgrep -af "fairlead-lab/$lab_name/")"
down
echo "ok"
