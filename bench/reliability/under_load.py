#!/usr/bin/env python3
"""What users of Services notice when something happens to the node's agent, in each proxy mode.

    bench/reliability/under_load.py [FAIRLEAD] [--mode M,...] [--case C,...] [--previous OLD]
                                    [-o json]

Root. A lab (`fairlead lab`) of one node and three backends: namespaces without uplink, gone
afterwards. A pod dials the ClusterIP over IPv4 and IPv6, TCP and UDP, a host outside the NodePort:
a connection for each request, and connections that stay open. Meanwhile something happens:

  kill       the agent is killed (-9), and two seconds later started again
  upgrade    the agent is stopped and the next one started: the lab began with --previous, if given
  layout     ebpf: killed, and the next one finds pins of another layout (its own, renamed)
  feed       the API server is killed; a Service and a backend are deleted while nobody can tell the
             agent; the server comes back, and the agent must have missed no deletion
  mapfull    ebpf: more frontends than the map holds, 70,000 ports that nobody dials; then none
  flowsfull  ebpf: a flow table of 4,096 entries, several times as many flows
  switch     the mode changes on the running agent, each ordered pair of the modes once

`failed` of `requests` got no answer; `gap` is the longest time that one of a dozen clients waited
for its next answer; `broken` of `open` connections had to be made anew. Exit status 1: a figure is
not 0 that should be. Modes whose flows are in the agent itself (userspace) lose them with it: said so.
"""
import argparse
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
NODE, NODE_PORT = "192.168.77.11", 30080
MODES = ["ebpf", "nftables", "iptables", "userspace"]
IN_PROCESS = {"userspace"}  # flows end with the agent
SERVICES = "/api/v1/namespaces/default/services"


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def ask(path, method, url, document=None):
    link = Unix(path)
    link.request(method, url, json.dumps(document) if document else None,
                 {"Content-Type": "application/json"})
    answer = link.getresponse()
    body = answer.read()
    link.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {url}: {answer.status} {body[:300]!r}")
    return json.loads(body)


def http_text(path, url):
    link = Unix(path)
    link.request("GET", url)
    text = link.getresponse().read().decode()
    link.close()
    return text


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.1)


class Lab:
    def __init__(self, program, name, api_port):
        self.program, self.name, self.api_port = program, name, api_port
        self.folder = pathlib.Path("/run/fairlead-lab") / name
        self.api = self.folder / "api.sock"
        self.own = []  # processes that the lab does not know

    def up(self, mode, previous):
        self.run("up", "--backends", "3", "--api-port", str(self.api_port), "--proxy-mode", mode,
                 program=previous)
        demo = ask(self.api, "GET", f"{SERVICES}/demo")["spec"]["clusterIPs"]
        self.v4, self.v6 = demo if ":" in demo[1] else reversed(demo)
        wait_for(self.in_sync, 30, "the agent is in sync")

    def run(self, *words, program=None):
        done = subprocess.run([program or self.program, "lab", "--name", self.name, *words],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"lab {' '.join(words)}: {done.stderr.strip()[-500:]}")

    def inside(self, where, *words):
        return [self.program, "lab", "--name", self.name, "in", where, *map(str, words)]

    def agent(self, *words):
        return subprocess.run([self.program, *words, "--socket", self.folder / "node1.sock"],
                              capture_output=True, text=True)

    def status(self):
        done = self.agent("status", "-o", "json")
        return json.loads(done.stdout) if done.stdout.startswith("{") else {}

    def in_sync(self):
        status = self.status()
        return bool(status) and not status["errors"] and status["ready"] and \
            all(one["state"] == "ok" for one in status["components"])

    def close(self):
        for process in self.own:
            process.terminate()
            process.wait()
        self.run("down")


class Load:
    """Clients in their places; finish() ends them and adds up what they saw."""

    def __init__(self, lab):
        places = [("client", lab.v4, 80, lab.v4), ("client", lab.v6, 80, lab.v6),
                  ("external", NODE, NODE_PORT, None)]
        self.parts = []
        for where, address, port, udp in places:
            words = [sys.executable, HERE / "load.py", "--tcp", address, port]
            if udp:
                words += ["--udp", udp, 90]
            self.parts.append(subprocess.Popen(lab.inside(where, *words), stdin=subprocess.PIPE,
                                               stdout=subprocess.PIPE, text=True))
        time.sleep(1.5)

    def finish(self):
        time.sleep(1.5)
        parts = [json.loads(part.communicate(timeout=30)[0]) for part in self.parts]
        short, kept = [part["short"] for part in parts], [part["open"] for part in parts]
        errors = {}
        for one in short + kept:
            for why, count in one["errors"].items():
                errors[why] = errors.get(why, 0) + count
        return {"requests": sum(one["requests"] for one in short + kept),
                "failed": sum(one["failed"] for one in short + kept),
                "gap_ms": max(one["gap_ms"] for one in short),
                "open": sum(one["connections"] for one in kept),
                "broken": sum(one["broken"] for one in kept), "errors": errors}


# --- what happens; each returns what else went wrong, or "" ---


def kill(lab, _):
    lab.run("stop", "-9", "node1")
    time.sleep(2)
    lab.run("start", "node1")
    return ""


def upgrade(lab, _):
    lab.run("stop", "node1")
    lab.run("start", "node1")
    return ""


def layout(lab, _):
    lab.run("stop", "-9", "node1")
    home = lab.folder / "node1.bpf" / "fairlead"
    ours = next(home.glob("v*"))
    ours.rename(home / "v0")
    lab.run("start", "node1")
    wait_for(lab.in_sync, 20, "in sync")
    return "" if not (home / "v0").exists() else "the old pins are still there"


def feed(lab, _):
    """Another server on the same data, at an address that the agent does not know, deletes."""
    ask(lab.api, "POST", SERVICES, {"metadata": {"name": "gone"}, "spec": {
        "selector": {"app": "demo"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
    known = lambda: "PORT" in lab.agent("explain", "service", "default/gone").stdout  # noqa: E731
    wait_for(known, 10, "the agent knows the new Service")
    lab.run("stop", "-9", "server")
    with tempfile.TemporaryDirectory() as folder:
        other = pathlib.Path(folder) / "api.sock"
        server = subprocess.Popen(
            [lab.program, "server", "--data-dir", lab.folder / "data", "--listen",
             f"127.0.0.1:{lab.api_port}", "--unix-socket", other, "--service-cidrs",
             "10.96.0.0/16,fd96::/112", "--log-level", "error"])
        try:
            wait_for(other.exists, 20, "the other server")
            ask(other, "DELETE", f"{SERVICES}/gone")
            ask(other, "DELETE", "/api/v1/namespaces/default/pods/backend3?gracePeriodSeconds=0")
            slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
            wait_for(lambda: "backend3" not in json.dumps(ask(other, "GET", slices)), 20,
                     "the slices without the backend")
        finally:
            server.terminate()
            server.wait()
    time.sleep(2)
    if not known():
        return "the agent did not serve from its last state"
    lab.run("start", "server")
    wait_for(lab.in_sync, 60, "the feed")
    wait_for(lambda: not known(), 10, "the deleted Service is gone from the agent")
    seen = lab.agent("explain", "service", "default/demo").stdout
    return "" if "backend3" not in seen else "the deleted backend is still served"


def mapfull(lab, _):
    for number in range(70):
        ask(lab.api, "POST", SERVICES, {"metadata": {"name": f"wide{number}"}, "spec": {"ports": [
            {"name": f"p{port}", "port": 1000 + port} for port in range(1000)]}})
    full = lambda: any("frontends map is full" in one  # noqa: E731
                       for one in lab.status().get("errors", []))
    wait_for(full, 60, "status says that the map is full")
    time.sleep(2)
    for number in range(70):
        ask(lab.api, "DELETE", f"{SERVICES}/wide{number}")
    wait_for(lab.in_sync, 90, "in sync again")
    return ""


def small_flow_table(lab):
    """The node's agent, with the same words and a small table; it ends with the lab."""
    state = json.loads((lab.folder / "state.json").read_text())
    pid = state["processes"]["node1"]["pid"]
    words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    lab.run("stop", "node1")
    with open(lab.folder / "log" / "node1.log", "a") as log:
        lab.own.append(subprocess.Popen(
            lab.inside("node1", *[word.decode() for word in words], "--max-conntrack", "4096"),
            stdout=log, stderr=log))
    wait_for(lab.in_sync, 20, "the agent with a small table")


def flowsfull(lab, _):
    metrics = http_text(lab.folder / "node1.sock", "/metrics")
    if 'map_capacity{map="conntrack"} 4096' not in metrics:
        return "the table is not small"
    time.sleep(25)
    return ""


def switch(lab, to):
    done = lab.agent("proxy-mode", "set", to)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip()[-300:]


CASES = {"kill": kill, "upgrade": upgrade, "layout": layout, "feed": feed, "mapfull": mapfull,
         "flowsfull": flowsfull}
BEFORE = {"flowsfull": small_flow_table}
ONLY_EBPF = {"layout", "mapfull", "flowsfull"}
AGENT_AWAY = {"kill", "upgrade", "layout"}


def measure(lab, case, mode, happen, argument=None):
    BEFORE.get(case, lambda _: None)(lab)
    load = Load(lab)
    try:
        problem = happen(lab, argument)
    except RuntimeError as error:
        problem = str(error)
    row = {"case": case, "mode": mode, **load.finish(), "problem": problem}
    row["lost_with_the_agent"] = case in AGENT_AWAY and mode in IN_PROCESS
    row["ok"] = not problem and \
        (row["lost_with_the_agent"] or (row["failed"] == 0 and row["broken"] == 0))
    return row


def walk(modes):
    """Each ordered pair once, each beginning where the one before ended (Hierholzer)."""
    left = {a: [b for b in modes if b != a] for a in modes}
    path, out = [modes[0]], []
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop(0))
        else:
            out.append(path.pop())
    return list(reversed(out))


@contextlib.contextmanager
def a_lab(arguments, mode, previous=None):
    lab = Lab(arguments.fairlead, f"rel{os.getpid() % 10000}", arguments.api_port)
    try:
        lab.up(mode, previous)
        yield lab
    finally:
        lab.close()


def rows(arguments):
    for mode in arguments.mode:
        wanted = [case for case in CASES if case in arguments.case
                  and (mode == "ebpf" or case not in ONLY_EBPF)]
        previous = arguments.previous
        for case in wanted:  # a lab each: what one leaves does not help another
            with a_lab(arguments, mode, previous if case == "upgrade" else None) as lab:
                yield measure(lab, case, mode, CASES[case])
    if "switch" in arguments.case and len(arguments.mode) > 1:
        path = walk(arguments.mode)
        with a_lab(arguments, path[0]) as lab:
            for old, new in itertools.pairwise(path):
                if new in IN_PROCESS:  # must have drained before it can be had again
                    gone = lambda: not any(new in one  # noqa: E731
                                           for one in lab.status().get("proxy", {}).get("retiring", [new]))
                    wait_for(gone, 320, f"{new} has drained")
                yield measure(lab, "switch", f"{old} -> {new}", switch, new)


def show(row):
    note = row["problem"] or ("flows end with the agent" if row["lost_with_the_agent"] else "")
    if row["errors"] and not row["lost_with_the_agent"]:
        note += " " + "; ".join(f"{count} x {why}" for why, count in row["errors"].items())
    print(f"{row['case']:10}{row['mode']:24}{row['requests']:9}{row['failed']:8}{row['gap_ms']:9}"
          f"{row['open']:6}{row['broken']:8}  {'ok' if row['ok'] else 'NOT OK'} {note}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("fairlead", nargs="?", default="build/fairlead")
    parser.add_argument("--mode", type=names, default=MODES)
    parser.add_argument("--case", type=names, default=[*CASES, "switch"])
    parser.add_argument("--previous", help="an older fairlead, for the case `upgrade`")
    parser.add_argument("--api-port", type=int, default=16447)
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    arguments = parser.parse_args()
    for one in set(arguments.case) - {*CASES, "switch"}:
        parser.error(f"no case '{one}': {', '.join([*CASES, 'switch'])}")
    arguments.fairlead = shutil.which(arguments.fairlead) or parser.error(
        f"{arguments.fairlead}: no such program: ./dev build")
    arguments.fairlead = os.path.realpath(arguments.fairlead)
    if os.geteuid() != 0:
        sys.exit("under_load: needs root: it builds network namespaces")
    if arguments.output == "table":
        print(f"{'case':10}{'mode':24}{'requests':>9}{'failed':>8}{'gap, ms':>9}{'open':>6}{'broken':>8}")
    found = []
    for row in rows(arguments):
        found.append(row)
        if arguments.output == "table":
            show(row)
    if arguments.output == "json":
        json.dump(found, sys.stdout, indent=1)
        print()
    return 0 if all(row["ok"] for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
