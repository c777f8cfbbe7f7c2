#!/usr/bin/env python3
"""What IPVS mode's changes cost, in a guest that has IPVS: against `ipvsadm --restore` and
`ip -batch` doing the same by hand, and against the other modes.

    bench/dataplane/ipvs.py [--services N,...] [--mode NAME,...] [-o json]

Two guests (tests/vm/run), with bench_ipvs and bench_sync of build/release/bench, which take some
minutes at 1,000 services and an hour at 10,000 (--timeout). Times there are
those of an emulated CPU: what counts is a ratio, of two that took turns in one guest (`times`, the
peer's time over ours), or of two modes in one guest (`of_ipvs`).
"""
import argparse
import json
import sys

import guest

# In one line of the table: what a benchmark reports, and its heading.
DUEL = {"ours_ms": "ours ms", "peer_ms": "ipvsadm ms", "ratio": "times", "ours_kB": "ours kB",
        "peer_kB": "ipvsadm kB"}
SYNC = {"real_time": "ms", "of_ipvs": "of_ipvs", "p99_ms": "p99 ms", "writes": "writes",
        "kB": "kB"}


def any_of(words):
    return "(" + "|".join(map(str, words)) + ")"


def run(program, pattern, arguments):
    """Rows by benchmark name; what has no result has "error"."""
    rows = guest.measure(guest.PROGRAMS / program, pattern, timeout=arguments.timeout)
    for row in rows:
        if row.get("error_occurred"):
            row["error"] = row["error_message"]
    return {row["name"].split("/iterations")[0].replace("BM_Ipvs", ""): row for row in rows}


def duels(arguments):
    sizes = any_of(arguments.services)
    rows = run("bench_ipvs", f"^BM_Ipvs.*/{sizes}/", arguments)
    for row in rows.values():
        if "ours_ms" in row:  # the time of both together says nothing
            del row["real_time"]
    return rows


def syncs(arguments):
    modes = any_of(["ipvs"] + [mode for mode in arguments.mode if mode != "ipvs"])
    rows = run("bench_sync", f"^(FullSync|OneEndpoint)/{modes}/{any_of(arguments.services)}/",
               arguments)
    for name, row in rows.items():
        what, _, size = name.split("/")
        ipvs = rows.get(f"{what}/ipvs/{size}", {"error": "not measured"})
        if "error" not in row and "error" not in ipvs:
            row["of_ipvs"] = row["real_time"] / ipvs["real_time"]
    return rows


def show(title, rows, columns):
    print(f"{title:44}" + "".join(f"{heading:>12}" for heading in columns.values()))
    for name, row in rows.items():
        if "error" in row:
            print(f"{name:44}  none: {row['error']}")
            continue
        cells = (f"{row[key]:12.2f}" if key in row else " " * 12 for key in columns)
        print(f"{name:44}" + "".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=guest.numbers, default=[1000])
    parser.add_argument("--mode", type=lambda text: text.split(","), default=["nftables"],
                        help="beside ipvs: ebpf, nftables, iptables_nft, iptables_legacy, userspace")
    parser.add_argument("--timeout", type=int, default=1200, help="seconds for each guest")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    arguments = parser.parse_args()
    found = []
    try:
        for title, measured, columns in (("against ipvsadm", duels, DUEL),
                                         ("modes, from a snapshot", syncs, SYNC)):
            rows = measured(arguments)
            found.append(rows)
            if arguments.output == "table":
                show(title, rows, {"real_time": "ms", **columns})
                sys.stdout.flush()
    except guest.Failed as why:
        sys.exit(f"nothing measured: {why}")
    if arguments.output == "json":
        json.dump([row for rows in found for row in rows.values()], sys.stdout, indent=1)
        print()
    return 1 if any("error" in row for rows in found for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
