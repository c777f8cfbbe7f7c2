#!/usr/bin/env python3
"""Instructions that a new connection costs in each proxy mode: all of them, the client's, the
node's and the server's, counted exactly by an emulated CPU.

    bench/dataplane/instructions.py [PROGRAM] [--services N,...] [--contender NAME,...]
                                    [--kernel PACKAGE] [-o json]

PROGRAM is bench_instructions (build/release/bench/bench_instructions). Each figure is a guest of
its own (tests/vm/run): Debian's cloud kernel under qemu, one CPU, whose time stamp counter ticks
once an instruction. A figure is the median of 300 connections, one after the other, each with a byte
there and back and closed from both sides. What the machine does beside it does not matter.
"""
import argparse
import json
import sys

import guest

CONTENDERS = ["ebpf", "ebpf_sockets", "ebpf_tc", "nftables", "iptables_nft", "iptables_legacy",
              "ipvs", "userspace", "peer_nftables", "peer_iptables_nft", "peer_iptables_legacy",
              "peer_ipvs"]


def measure(name, services, arguments):
    """{"low", "median", "high"} of one benchmark, or why there is none."""
    try:
        results = guest.measure(arguments.program, f"^Instructions/{name}/{services}/",
                                ["--count-instructions", "--kernel", arguments.kernel],
                                arguments.timeout)
    except guest.Failed as why:
        return {"error": str(why)}
    if not results:
        return {"error": "there is no such benchmark"}
    if results[0].get("error_occurred"):
        return {"error": results[0]["error_message"]}
    return {key: int(results[0][key]) for key in ("low", "median", "high")}


def rows(arguments):
    for services in arguments.services:
        direct = measure("direct/ClusterIP", services, arguments)
        yield {"contender": "direct", "to": "backend", "services": services, **direct}
        for contender in arguments.contender:
            for to in ["ClusterIP"] + ["NodePort"] * (not contender.startswith("peer_")):
                found = measure(f"{contender}/{to}", services, arguments)
                if "median" in found and "median" in direct:
                    found["of_direct"] = round(found["median"] / direct["median"], 3)
                yield {"contender": contender, "to": to, "services": services, **found}


def show(row):
    if "error" in row:
        print(f"{row['contender']:22}{row['to']:11}{row['services']:8}  none: {row['error']}")
    else:
        print(f"{row['contender']:22}{row['to']:11}{row['services']:8}{row['median']:10}"
              f"{row.get('of_direct', 1):8.3f}   {row['low']}..{row['high']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", nargs="?",
                        default=guest.PROGRAMS / "bench_instructions")
    parser.add_argument("--services", type=guest.numbers, default=[1, 1000, 10000])
    parser.add_argument("--contender", type=lambda text: text.split(","), default=CONTENDERS)
    parser.add_argument("--kernel", default="linux-image-cloud-amd64", metavar="PACKAGE",
                        help="Debian's, such as linux-image-6.12-cloud-amd64 (%(default)s)")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for each guest")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    arguments = parser.parse_args()
    found = []
    if arguments.output == "table":
        print(f"{'':22}{'to':11}{'services':>8}{'median':>10}{'direct=1':>8}   quartiles")
    for row in rows(arguments):
        found.append(row)
        if arguments.output == "table":
            show(row)
    if arguments.output == "json":
        json.dump(found, sys.stdout, indent=1)
        print()
    return 1 if any("error" in row for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
