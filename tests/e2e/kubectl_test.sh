#!/usr/bin/env bash
# What people do with kubectl all day, with every kubectl on this machine, against the control plane
# alone (no lab, no node).
lab_name=kubectl
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

work=$(mktemp -d)
config=$work/admin.kubeconfig
"$fairlead" server --data-dir "$work/data" --listen 127.0.0.1:0 --unix-socket "$work/api.sock" \
  --admin-kubeconfig "$config" --log-level warn &
server=$!
end() {
  local status=$?
  kill $server 2>/dev/null || true
  rm -rf "$work"
  exit $status
}
trap end EXIT
eventually 20 test -s "$config"

one_kubectl() {
  local kubectl=$1 ns=$2
  # A cache and configuration of its own: discovery is asked anew.
  kc() { HOME=$work/home-$ns KUBECONFIG=$config "$kubectl" -n "$ns" "$@"; }
  kc create namespace "$ns"
  expect "services" kc api-resources -o name
  kc apply -f - <<YAML
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
YAML
  expect "unchanged" kc apply -f - <<YAML
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
YAML
  expect "ClusterIP" kc get svc web
  expect "80/TCP" kc get svc web -o wide
  expect "web" kc get all
  expect "TargetPort:" kc describe svc web
  expect "http" kc get svc web -o jsonpath='{.spec.ports[0].name}'
  kc label svc web tier=front
  kc annotate svc web note=hello
  expect "web" kc get svc -l tier=front -o name
  [ -z "$(kc get svc -l tier=back -o name)" ] || fail "a label selector that matches nothing found something"
  EDITOR="sed -i s/8080/9090/" kc edit svc web
  expect "9090" kc get svc web -o yaml
  kc patch svc web -p '{"spec":{"ports":[{"port":80,"targetPort":7070}]}}'
  expect "7070" kc get svc web -o yaml
  kc patch svc web --type=json -p '[{"op":"add","path":"/metadata/labels/x","value":"y"}]'
  kc patch svc web --type=merge -p '{"metadata":{"labels":{"x":null}}}'
  kc create configmap settings --from-literal=a=1
  kc create secret generic hidden --from-literal=password=swordfish
  expect "Opaque" kc get secret hidden
  expect "password:" kc describe secret hidden
  expect "already exists" kc create configmap settings --from-literal=a=1
  expect "not found" kc get configmap none
  kc get configmap settings -o yaml | sed 's/a: "1"/a: "2"/' | kc replace -f -
  expect "2" kc get configmap settings -o jsonpath='{.data.a}'
  kc create configmap dry --from-literal=a=1 --dry-run=server
  expect "not found" kc get configmap dry
  timeout 10 "$kubectl" --kubeconfig "$config" -n "$ns" get configmaps -w >"$work/watch-$ns" &
  local watch=$!
  sleep 1
  kc create configmap seen --from-literal=b=1
  eventually 5 grep -q '^seen ' "$work/watch-$ns"
  kill $watch 2>/dev/null || true
  kc delete configmap seen settings --wait=true
  kc delete svc web
  expect "not found" kc get svc web
  kc delete namespace "$ns" --timeout=20s
  expect "not found" kc get namespace "$ns"
}

found=0
for kubectl in $(kubectls); do
  version=$("$kubectl" version --client 2>&1 | grep -o 'v[0-9.]*[0-9]' | head -1)
  step "kubectl $version"
  found=$((found + 1))
  one_kubectl "$kubectl" "ns$found" 2>&1 | sed "s/^/  /" || fail "kubectl $version"
done
[ $found -gt 0 ] || fail "no kubectl was found"
echo "ok: $found kubectl"
