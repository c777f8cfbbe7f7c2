#!/usr/bin/env bash
# Bad input: each case gives a clear error where a user would look, and everything else keeps working.
lab_name=bad api_port=16445
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

status() { "$fairlead" status --socket "$lab_dir/node1.sock"; }
works() { expect '"name":"backend' get http://demo/; }

step "before anything runs"
work=$(mktemp -d)
printf 'kind: Service\n  apiVersion: [v1\n' >"$work/malformed.yaml"
expect "malformed.yaml:" "$fairlead" validate "$work/malformed.yaml"
cat >"$work/unknown.yaml" <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selectr: {app: web}
  ports: [{port: 80}]
YAML
expect "unknown.yaml:5" "$fairlead" validate "$work/unknown.yaml"
sed 's/selectr/selector/; s/port: 80/port: 70000/' "$work/unknown.yaml" >"$work/port.yaml"
expect "70000" "$fairlead" validate "$work/port.yaml"
printf '.:53 {\n    errors\n    kubernets cluster.local\n}\n' >"$work/Corefile"
expect "Corefile:3" "$fairlead" validate --corefile "$work/Corefile"
printf 'proxy-mod: ebpf\n' >"$work/agent.yaml"
expect "agent.yaml:1: unknown key 'proxy-mod': did you mean 'proxy-mode'?" "$fairlead" agent --config "$work/agent.yaml"
expect "Corefile:3" "$fairlead" agent --proxy-mode none --no-ingress --manifests "$work" --corefile "$work/Corefile"
expect "is not a proxy mode" "$fairlead" agent --proxy-mode kernelspace
expect "'agnet' is not a command: did you mean 'agent'?" "$fairlead" agnet
expect "fairlead 0" "$fairlead" --version
expect "--config: $work: cannot be read: Is a directory" "$fairlead" agent --config "$work"
expect "$work: cannot be read: Is a directory" "$fairlead" validate --corefile "$work"
expect "--kubeconfig: $work: cannot be read" "$fairlead" agent --proxy-mode none --kubeconfig "$work"
expect "'loud' is not a log level" "$fairlead" lab up --name "$lab_name" --log-level loud
expect "'ebfp' is not a proxy mode" "$fairlead" lab up --name "$lab_name" --proxy-mode ebfp
exits() { # exits CODE COMMAND...
  local want=$1 got=0
  shift
  "$@" >/dev/null 2>&1 || got=$?
  [ "$got" = "$want" ] || fail "exit code $got, expected $want: $*"
}
exits 2 "$fairlead" agnet
exits 2 "$fairlead" agent --no-such-flag
exits 2 "$fairlead" proxy-mode set ebfp
exits 1 "$fairlead" status --socket "$work/none.sock"
expect "Is the agent running?" "$fairlead" explain service web --socket "$work/none.sock"

expect "is not a folder of a cgroup2 file system" unshare -n -m "$fairlead" agent --proxy-mode ebpf --no-dns --no-ingress \
  --manifests "$work" --socket "$work/agent.sock" --cgroup "$work" --bpffs "$(mktemp -d -p "$work")"
expect "needs root" unshare -n setpriv --reuid 65534 --clear-groups --bounding-set=-all --inh-caps=-all \
  "$fairlead" agent --proxy-mode nftables --no-dns --no-ingress --manifests /usr/share --socket "/tmp/fairlead-$$.sock"

step "up"
up --backends 2

step "questions about what is not there"
agent() { "$fairlead" "$@" --socket "$lab_dir/node1.sock"; }
expect "there is no Service shop/demo; of this name there is default/demo" agent explain service shop/demo
exits 1 agent explain service shop/demo
expect "expected NAMESPACE/NAME" agent explain service a/b/c
expect "is not an IP address" agent explain flow here 10.96.0.1:80
expect "expected" agent explain flow 10.0.0.1 10.96.0.1
expect "different families" agent explain flow 10.0.0.1 '[fd00::1]:80'

step "kubectl is told by the server"
expect 'selectr' k apply -f "$work/unknown.yaml"  # old ones find it themselves, by our OpenAPI
expect "must be between 1 and 65535" k create --validate=false -f "$work/port.yaml"
strictly() {
  curl -sS --unix-socket "$lab_dir/api.sock" -H 'Content-Type: application/yaml' \
    --data-binary "@$work/unknown.yaml" \
    'http://x/api/v1/namespaces/default/services?fieldValidation=Strict'
}
expect 'strict decoding error: unknown field \"spec.selectr\"' strictly
works

step "an Ingress that names a missing Service: said in status, answered 503, others go on"
k create ingress lost --class fairlead --rule "lost.example.test/*=no-such-service:80"
said() { status | grep -q "no-such-service"; }
eventually 5 said
expect 503 inside external curl -sS -o /dev/null -w '%{http_code}' -H 'Host: lost.example.test' http://192.168.77.11/
expect '"name":"backend' inside external curl -sS -H 'Host: demo.example.test' http://192.168.77.11/

step "a broken certificate: said in status, plain HTTP goes on"
k create secret generic broken --type=kubernetes.io/tls --from-literal=tls.crt=nonsense --from-literal=tls.key=nonsense
k create ingress broken --class fairlead --rule "broken.example.test/*=demo:http,tls=broken"
said_tls() { status | grep -q "broken"; }
eventually 5 said_tls
expect '"name":"backend' inside external curl -sS -H 'Host: broken.example.test' http://192.168.77.11/
expect '"name":"backend' inside external curl -skS --resolve broken.example.test:443:192.168.77.11 https://broken.example.test/

step "a truncated DNS packet and a smuggled request"
inside client python3 - <<'PY'
import socket
for packet in (b"", b"\x00", b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x3f", bytes(12), b"\xff" * 600):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("192.168.77.11", 53))
    s.send(packet)
    s.close()
PY
expect "NOERROR" inside client dig demo.default.svc.cluster.local
smuggled=$(printf 'POST / HTTP/1.1\r\nHost: demo.example.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n' |
  inside external curl -sS --max-time 5 telnet://192.168.77.11:80 2>&1 | head -1)
case "$smuggled" in *"400"*) ;; *) fail "a smuggled request was answered with: $smuggled" ;; esac

step "the API server answers garbage, then goes away: services go on, status says why"
lab stop server
works
away() { status | grep -qi "feed: "; }
eventually 10 away
works
lab start server
back() { "$fairlead" status --socket "$lab_dir/node1.sock" | grep -q "^feed  *ok"; }
eventually 40 back
k create service clusterip again --tcp=80:8080
k patch svc again --type=merge -p '{"spec":{"selector":{"app":"demo"}}}'
eventually 10 get -f http://again/
rm -r "$work"
echo "ok"
