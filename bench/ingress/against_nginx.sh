#!/bin/bash
# CPU per proxied keep-alive request: fairlead's ingress against nginx, side by side on this machine.
#
#   against_nginx.sh [BUILD_DIR] [ROUNDS] [SECONDS]      default: build/release 7 4
#
# Both proxy the same file of 1 KiB from the same nginx, with one worker and an access log; wrk drives
# them in turn. The figure is (user + system time of the proxy process) / (requests), the median of
# ROUNDS with the spread, and the ratio of the medians. ENGINE=1 measures the ingress alone
# (bench_proxy) instead of the whole agent; CONNECTIONS sets wrk's (default 32); BYTES the file's size.
set -euo pipefail
build=${1:-build/release} rounds=${2:-7} seconds=${3:-4}
connections=${CONNECTIONS:-32} bytes=${BYTES:-1024}
cd "$(dirname "$0")/../.."
nginx=$(command -v nginx || echo /usr/sbin/nginx)
for tool in "$nginx" wrk; do
  command -v "$tool" > /dev/null || { echo "against_nginx: $tool is not installed" >&2; exit 1; }
done
dir=$(mktemp -d /tmp/fairlead-against-nginx-XXXXXX)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
  wait 2> /dev/null || true
  rm -rf "$dir"
}
trap cleanup EXIT

free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
origin_port=$(free_port) nginx_port=$(free_port) fairlead_port=$(free_port)

mkdir -p "$dir/www" "$dir/manifests"
head -c "$bytes" /dev/zero | tr '\0' x > "$dir/www/file"
temp_paths() {
  for kind in client_body proxy fastcgi uwsgi scgi; do echo "  ${kind}_temp_path $dir/$1-$kind;"; done
}
cat > "$dir/origin.conf" <<CONF
daemon off; master_process off; worker_processes 1; pid $dir/origin.pid; error_log $dir/origin.err;
events { worker_connections 4096; }
http {
$(temp_paths origin)
  access_log off; keepalive_requests 100000000; open_file_cache max=10; sendfile on; tcp_nopush on;
  server { listen 127.0.0.1:$origin_port backlog=4096; root $dir/www; }
}
CONF
cat > "$dir/proxy.conf" <<CONF
daemon off; master_process off; worker_processes 1; pid $dir/proxy.pid; error_log $dir/proxy.err;
events { worker_connections 4096; }
http {
$(temp_paths proxy)
  access_log $dir/nginx-access.log combined buffer=32k flush=1s;
  keepalive_requests 100000000;
  upstream origin { server 127.0.0.1:$origin_port; keepalive 64; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:$nginx_port backlog=4096;
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host \$host; proxy_set_header X-Real-IP \$remote_addr;
      proxy_set_header X-Forwarded-For \$remote_addr; proxy_set_header X-Forwarded-Host \$host;
      proxy_set_header X-Forwarded-Port \$server_port; proxy_set_header X-Forwarded-Proto \$scheme;
      proxy_set_header X-Request-ID \$request_id;
    }
  }
}
CONF
cat > "$dir/manifests/all.yaml" <<YAML
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: $origin_port, protocol: TCP}]
endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}}]
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: fairlead}
spec: {controller: fairlead.io/ingress}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default}
spec:
  ingressClassName: fairlead
  rules: [{host: bench.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
YAML

"$nginx" -p "$dir" -c "$dir/origin.conf" 2> "$dir/origin.out" & pids+=($!)
"$nginx" -p "$dir" -c "$dir/proxy.conf" 2> "$dir/proxy.out" & nginx_pid=$!; pids+=("$nginx_pid")
if [ -n "${ENGINE:-}" ]; then
  "$build/bench/bench_proxy" 127.0.0.1:$fairlead_port 127.0.0.1:$origin_port "$dir/fairlead-access.log" \
    2> "$dir/fairlead.out" & fairlead_pid=$!
else
  "$build/fairlead" agent --manifests "$dir/manifests" --proxy-mode none --no-dns \
    --ingress-http 127.0.0.1:$fairlead_port --ingress-https "" --ingress-workers 1 \
    --access-log "$dir/fairlead-access.log" ${AGENT_FLAGS:-} > "$dir/fairlead.out" 2>&1 & fairlead_pid=$!
fi
pids+=("$fairlead_pid")

answers() { curl --silent --fail --max-time 2 -H 'Host: bench.test' "http://127.0.0.1:$1/file" | cmp --silent - "$dir/www/file"; }
for port in $origin_port $nginx_port $fairlead_port; do
  for _ in $(seq 100); do answers $port && break; sleep 0.1; done
  answers $port || { echo "against_nginx: nothing good on port $port" >&2; cat "$dir"/*.out "$dir"/*.err >&2; exit 1; }
done

ticks=$(getconf CLK_TCK)
cpu_ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
# One run: microseconds of CPU per request, and requests per second.
measure() {  # PID PORT
  local before after out requests errors
  before=$(cpu_ticks "$1")
  out=$(wrk --threads 1 --connections "$connections" --duration "${seconds}s" -H 'Host: bench.test' \
        "http://127.0.0.1:$2/file")
  after=$(cpu_ticks "$1")
  requests=$(awk '/requests in/ {print $1}' <<< "$out")
  errors=$(grep -E 'Non-2xx|Socket errors' <<< "$out" || true)
  [ -z "$errors" ] || { echo "against_nginx: $errors" >&2; exit 1; }
  awk -v t=$((after - before)) -v hz="$ticks" -v n="$requests" -v s="$seconds" \
    'BEGIN {printf "%.3f %.0f\n", t * 1e6 / hz / n, n / s}'
}
summary() {  # FILE: median, lowest, highest of its first column
  sort -n "$1" | awk '{v[NR] = $1} END {m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
    printf "%.2f %.2f %.2f\n", m, v[1], v[NR]}'
}

measure $nginx_pid $nginx_port > /dev/null; measure $fairlead_pid $fairlead_port > /dev/null  # warm up
for _ in $(seq "$rounds"); do
  measure $nginx_pid $nginx_port >> "$dir/nginx.txt"
  measure $fairlead_pid $fairlead_port >> "$dir/fairlead.txt"
done
read -r n_median n_low n_high < <(summary "$dir/nginx.txt")
read -r f_median f_low f_high < <(summary "$dir/fairlead.txt")
echo "CPU per request, $bytes bytes, $connections connections, $rounds rounds of ${seconds} s (median, lowest..highest):"
echo "  nginx     $n_median us  ($n_low..$n_high)"
echo "  fairlead  $f_median us  ($f_low..$f_high)"
awk -v f="$f_median" -v n="$n_median" 'BEGIN {printf "  fairlead / nginx = %.2f\n", f / n}'
