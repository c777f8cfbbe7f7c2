#!/bin/sh
# In the guest: the agent in IPVS mode, from manifests to what ipvsadm shows, and a live switch away.
set -e
mkdir -p /tmp/manifests
ip link add node0 type dummy
ip addr add 192.0.2.1/24 dev node0
ip link set node0 up

# slice ADDRESS...
slice() {
  cat >/tmp/slice.yaml <<TEXT
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
TEXT
  for address; do echo "- {addresses: [$address]}" >>/tmp/slice.yaml; done
  cp /tmp/slice.yaml /tmp/manifests/slice.yaml
}

# soon COMMAND...: it succeeds within some seconds
soon() {
  for _ in $(seq 100); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  echo "not within 20 s: $*"
  ipvsadm -S -n
  cat /tmp/agent.log
  exit 1
}
shows() { ipvsadm -S -n | grep -qx -- "$1 *"; }
shows_not() { ! shows "$1"; }

cat >/tmp/manifests/service.yaml <<TEXT
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec: {type: NodePort, clusterIP: 10.96.0.1, ports: [{name: http, port: 80, nodePort: 30080}]}
TEXT
slice 10.1.0.1 10.1.0.2

/test/fairlead agent --manifests /tmp/manifests --node-name n --node-ips 192.0.2.1 --dns=false \
  --ingress=false --proxy-mode ipvs --ipvs-scheduler wlc --ipvs-strict-arp=true \
  --ipvs-tcp-timeout 1m1s --ipvs-udp-timeout 30500ms --iptables-masquerade-bit 15 \
  --socket /tmp/agent.sock >/tmp/agent.log 2>&1 &
soon shows "-A -t 10.96.0.1:80 -s wlc"
soon shows "-a -t 192.0.2.1:30080 -r 10.1.0.2:8080 -m -w 1"
ip addr show dev kube-ipvs0 | grep -q 10.96.0.1/32
test "$(cat /proc/sys/net/ipv4/conf/all/arp_ignore)" = 1
ipvsadm -L --timeout | grep -q ": 61 120 31"
nft list table inet fairlead-ipvs | grep -q "mark set meta mark | 0x00008000"
slice 10.1.0.2 10.1.0.3
soon shows "-a -t 10.96.0.1:80 -r 10.1.0.3:8080 -m -w 1"
soon shows_not "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1"
/test/fairlead status --socket /tmp/agent.sock | grep -i ipvs
/test/fairlead proxy-mode set nftables --socket /tmp/agent.sock
soon shows_not "-A -t 10.96.0.1:80 -s wlc"
nft list table inet fairlead | grep -q 10.96.0.1
echo "the agent serves by IPVS and switches away"
