#!/usr/bin/env python3
"""Requests at a steady, bounded pace until standard input ends; then what came of them, as JSON.

    load.py --tcp ADDRESS PORT [--udp ADDRESS PORT] [--workers N] [--open N] [--pause SECONDS]

Each worker makes one HTTP request over a connection of its own, pauses, and goes on; one more does
the same with datagrams; and N connections stay open, with a request each tenth of a second. A gap is
the time from one answer that a worker got to its next one. A connection that does not open within
five seconds has failed, too, which load generators are wont to overlook.
"""
import argparse
import collections
import http.client
import json
import socket
import sys
import threading
import time

PATIENCE_S = 5.0
OPEN_PAUSE_S = 0.1
REQUEST = b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n"


class Tally:
    """What one worker saw; read by others only after its end."""

    def __init__(self, kind):
        self.kind, self.requests, self.failed, self.broken = kind, 0, 0, 0
        self.gap_ms, self.answered = 0.0, time.monotonic()
        self.errors, self.backends = collections.Counter(), collections.Counter()

    def success(self, backend):
        now = time.monotonic()
        self.gap_ms = max(self.gap_ms, (now - self.answered) * 1000)
        self.answered = now
        self.requests += 1
        self.backends[backend] += 1

    def failure(self, why):
        self.requests += 1
        self.failed += 1
        self.errors[f"{self.kind}: {why}"] += 1

    def last_gap(self):
        self.gap_ms = max(self.gap_ms, (time.monotonic() - self.answered) * 1000)


def backend_of(head):
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"x-backend":
            return value.strip().decode()
    raise ValueError("an answer that names no backend")


def new_connection(address, port, _):
    with socket.create_connection((address, port), PATIENCE_S) as link:
        link.sendall(REQUEST)
        answer = b""
        while part := link.recv(4096):
            answer += part
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"answer: {answer[:40]!r}")
    return backend_of(answer)


def datagram(address, port, _):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as link:
        link.settimeout(PATIENCE_S)
        link.connect((address, port))
        link.send(b"?")
        return link.recv(100).split()[0].decode()


def over_open_connection(address, port, state):
    if state.get("link") is None:
        state["link"] = http.client.HTTPConnection(address, port, timeout=PATIENCE_S)
        state["link"].auto_open = 0  # never anew behind our back
        state["link"].connect()
    state["link"].request("GET", "/")
    answer = state["link"].getresponse()
    answer.read()
    if answer.status != 200:
        raise ValueError(f"status {answer.status}")
    return answer.headers["X-Backend"]


WORK = {"new": new_connection, "udp": datagram, "open": over_open_connection}


def work(tally, target, pause_s, stop):
    state = {}
    while not stop.is_set():
        try:
            tally.success(WORK[tally.kind](*target, state))
        except (OSError, ValueError, http.client.HTTPException) as error:
            tally.failure(str(error) or type(error).__name__)
            if state.get("link") is not None:
                tally.broken += 1
                state["link"].close()
                state["link"] = None
        if pause_s:
            stop.wait(pause_s)
    tally.last_gap()


def summary(tallies, kinds):
    mine = [one for one in tallies if one.kind in kinds]
    return {"requests": sum(one.requests for one in mine),
            "failed": sum(one.failed for one in mine),
            "gap_ms": round(max((one.gap_ms for one in mine), default=0)),
            "connections": len(mine) if kinds == {"open"} else 0,
            "broken": sum(one.broken for one in mine),
            "errors": dict(sum((one.errors for one in mine), collections.Counter()).most_common(5)),
            "backends": dict(sum((one.backends for one in mine), collections.Counter()))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tcp", nargs=2, required=True, metavar=("ADDRESS", "PORT"))
    parser.add_argument("--udp", nargs=2, metavar=("ADDRESS", "PORT"))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--open", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.01)
    arguments = parser.parse_args()
    jobs = [("new", arguments.tcp)] * arguments.workers + [("open", arguments.tcp)] * arguments.open
    if arguments.udp:
        jobs.append(("udp", arguments.udp))
    stop, tallies, threads = threading.Event(), [], []
    for kind, (address, port) in jobs:
        tallies.append(Tally(kind))
        target, pause_s = (address, int(port)), OPEN_PAUSE_S if kind == "open" else arguments.pause
        threads.append(threading.Thread(target=work, args=(tallies[-1], target, pause_s, stop)))
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    json.dump({"short": summary(tallies, {"new", "udp"}), "open": summary(tallies, {"open"})},
              sys.stdout)


if __name__ == "__main__":
    main()
