#!/usr/bin/env python3
"""Memory of the control plane and of the agent with many Services, and how long a change of one
EndpointSlice takes from the API server's answer to a connection that works.

    bench/agent/at_size.py [FAIRLEAD] [--services N] [--endpoints M] [--mode ebpf|nftables|...]

Root. Everything runs in a network and a mount namespace of its own, without uplink, and in a child
cgroup of its own; all of it is gone afterwards. A Service without ready endpoints refuses a connection
at once, so the client tries until the first one works: that is the moment at which the kernel serves
the change. Times are for this machine; memory and the shape (a change costs the same at any size)
travel.
"""
import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

NODE_IP, POD_IP = "192.168.77.1", "10.244.0.1"
SERVICES, SLICES = "/api/v1/namespaces/default/services", \
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def send_json(self, method, url, document=None):
        self.request(method, url, json.dumps(document) if document else None,
                     {"Content-Type": "application/json"})
        answer = self.getresponse()
        body = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {url}: {answer.status} {body[:300]!r}")
        return json.loads(body)


def cluster_ip(i):
    return f"10.100.{i // 250}.{i % 250 + 1}"


def service(i):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{i}"},
            "spec": {"clusterIP": cluster_ip(i), "ports": [{"name": "http", "port": 80}]}}


def endpoint_slice(i, endpoints, ready=True):
    addresses = [f"10.{10 + k}.{i // 250}.{i % 250 + 1}" for k in range(endpoints)]
    if i == 0:  # the one that is dialled: its only endpoint listens here
        addresses = [POD_IP]
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"s{i}-1", "labels": {"kubernetes.io/service-name": f"s{i}"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 9000}],
            "endpoints": [{"addresses": [a], "nodeName": f"n{k % 8}", "conditions": {"ready": ready}}
                          for k, a in enumerate(addresses)]}


def create(api, services, endpoints):
    def part(start):
        link = Unix(api)
        for i in range(start, services, 16):
            link.send_json("POST", SERVICES, service(i))
            link.send_json("POST", SLICES, endpoint_slice(i, endpoints))
    threads = [threading.Thread(target=part, args=(t,)) for t in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def memory_mb(process):
    with open(f"/proc/{process.pid}/status") as status:
        found = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Vm")}
    return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024


def maps_mb(process):
    """What the kernel keeps in the agent's BPF maps: not in its resident set."""
    seen = {}
    for entry in os.listdir(f"/proc/{process.pid}/fdinfo"):
        with open(f"/proc/{process.pid}/fdinfo/{entry}") as info:
            facts = dict(line.split(":", 1) for line in info if ":" in line)
        if "map_id" in facts:
            seen[facts["map_id"]] = int(facts["memlock"])
    return sum(seen.values()) / 1024 / 1024


def connects():
    with socket.socket() as s:
        s.settimeout(0.05)
        try:
            s.connect((cluster_ip(0), 80))
            return True
        except OSError:
            return False


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def latencies(api, rounds):
    """Milliseconds from the answer to the PUT until a connection works."""
    link, out = Unix(api), []
    url = f"{SLICES}/s0-1"
    for _ in range(rounds):
        link.send_json("PUT", url, endpoint_slice(0, 1, ready=False))
        wait_for(lambda: not connects(), 20, "the endpoint goes away")
        link.send_json("PUT", url, endpoint_slice(0, 1))
        start, end = time.monotonic(), time.monotonic() + 20
        while not connects():
            if time.monotonic() > end:
                sys.exit("the endpoint did not come back within 20 s")
        out.append((time.monotonic() - start) * 1000)
    return sorted(out)


def listen():
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((POD_IP, 9000))
    server.listen(64)

    def loop():
        while True:
            server.accept()[0].close()
    threading.Thread(target=loop, daemon=True).start()


def prepare(folder):
    for command in ("ip link set lo up", f"ip addr add {POD_IP}/32 dev lo",
                    "ip link add eth9 type veth peer name eth8", "ip link set eth8 up", f"ip addr add {NODE_IP}/24 dev eth9",
                    "ip link set eth9 up", "ip route add default dev eth9",
                    f"mkdir {folder}/bpf", f"mount -t bpf bpf {folder}/bpf"):
        subprocess.run(command.split(), check=True)
    with open("/proc/mounts") as mounts:
        root = next(line.split()[1] for line in mounts if line.split()[2] == "cgroup2")
    cgroup = f"{root}/fairlead-at-size-{os.getpid()}"
    os.mkdir(cgroup)
    return cgroup


def agent_options(arguments, folder, cgroup):
    return ["--kubeconfig", f"{folder}/admin.kubeconfig", "--node-name", "n0", "--node-ips", NODE_IP,
            "--local-pod-cidrs", "10.244.0.0/24", "--proxy-mode", arguments.mode,
            "--cgroup", cgroup, "--bpffs", f"{folder}/bpf", "--dns-bind", NODE_IP,
            "--socket", f"{folder}/agent.sock", "--log-level", "warn"]


def measure(arguments, folder, cgroup, started):
    api = f"{folder}/api.sock"
    server = subprocess.Popen(
        [arguments.fairlead, "server", "--data-dir", f"{folder}/data", "--listen", "127.0.0.1:16999",
         "--unix-socket", api, "--admin-kubeconfig", f"{folder}/admin.kubeconfig",
         "--log-level", "warn"])
    started.append(server)
    wait_for(lambda: os.path.exists(api) and os.path.exists(f"{folder}/admin.kubeconfig"), 20,
             "the API server")
    begin = time.monotonic()
    create(api, arguments.services, arguments.endpoints)
    print(f"{2 * arguments.services} objects written in {time.monotonic() - begin:.1f} s")
    print("server      resident %.0f MB, at most %.0f MB" % memory_mb(server))
    listen()
    with open(f"{cgroup}/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))
    begin = time.monotonic()
    agent = subprocess.Popen([arguments.fairlead, "agent"] + agent_options(arguments, folder, cgroup))
    started.append(agent)
    wait_for(connects, 120, "the agent")
    print(f"agent       serves {time.monotonic() - begin:.2f} s after its start")
    time.sleep(2)
    times = latencies(api, arguments.rounds)
    print("agent       resident %.0f MB, at most %.0f MB; BPF maps %.0f MB" % (
        *memory_mb(agent), maps_mb(agent)))
    print("server      resident %.0f MB, at most %.0f MB" % memory_mb(server))
    print("one slice   median %.2f ms, p99 %.2f ms, lowest %.2f, highest %.2f (%d changes)" % (
        statistics.median(times), times[int(len(times) * 0.99)], times[0], times[-1], len(times)))


def leave(folder, cgroup, started):
    for process in reversed(started):
        process.kill()
        process.wait()
    with open(os.path.dirname(cgroup) + "/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))
    os.rmdir(cgroup)
    subprocess.run(["umount", f"{folder}/bpf"], check=False)
    shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fairlead", nargs="?", default="build/fairlead")
    parser.add_argument("--services", type=int, default=10000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--mode", default="ebpf")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    if os.environ.get("FAIRLEAD_AT_SIZE") != "inside":
        os.environ["FAIRLEAD_AT_SIZE"] = "inside"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable] + sys.argv)
    folder, started = tempfile.mkdtemp(prefix="fairlead-at-size-"), []
    cgroup = prepare(folder)
    try:
        measure(arguments, folder, cgroup, started)
    finally:
        leave(folder, cgroup, started)


if __name__ == "__main__":
    main()
