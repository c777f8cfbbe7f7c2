#!/usr/bin/env python3
"""The rules of the house that no compiler checks: who includes whom, who owns which library, sizes,
and words that do not belong into the project. usage: rooms_test.py SOURCE_DIR"""
import pathlib
import re
import statistics
import subprocess
import sys

root = pathlib.Path(sys.argv[1]).resolve()
problems = []

# What a room may include. More specific folders win over their room.
MAY_INCLUDE = {
    "base": [],
    "net": ["base"],
    "api": ["base"],
    "watch": ["api", "net", "base"],
    "dataplane": ["api", "base"],
    "dataplane/driver": ["api", "base", "net"],
    "dataplane/ebpf": ["dataplane", "api", "base", "net", "bpf/shared", "skeletons"],
    "dataplane/nftables": ["dataplane", "api", "base", "net"],
    "dataplane/iptables": ["dataplane", "api", "base", "net"],
    "dataplane/ipvs": ["dataplane", "api", "base", "net"],
    "dataplane/userspace": ["dataplane", "api", "base", "net", "bpf/shared", "skeletons"],
    "dns": ["api", "net", "base"],
    "ingress": ["api", "net", "base"],
    "controlplane": ["api", "net", "base"],
    "controlplane/controllers": ["controlplane", "api", "net", "base", "watch"],
    "agent": ["*"],
    "cli": ["agent", "controlplane", "dns/corefile", "api", "net", "base"],
    "bpf": ["bpf"],
}

# Third-party headers, by the only places that may name them.
OWNERS = {
    r"bpf/(bpf|libbpf)\.h|linux/bpf\.h": ["dataplane/ebpf", "dataplane/userspace", "bpf"],
    r"netlink/.*": ["net/netlink"],
    r"ares.*\.h": ["net/resolver"],
    r"boost/(beast|asio).*": ["net", "ingress"],
    r"boost/json.*": ["api/json"],
    r"openssl/.*": ["net", "ingress"],
    r"yaml-cpp/.*": ["api/yaml", "agent/settings_file.cc"],
    r"sqlite3\.h": ["controlplane/store"],
    r"nftables/.*": ["dataplane/nftables"],
    r"CLI/.*": ["cli"],
}

FORBIDDEN = [
    (r"(^|[^\w.])/(work|farm)/[a-z]", "a path of one machine"),
    (r"deb\.debian\.org|registry\.npmjs\.org|pypi\.org", "a package registry's host name"),
    (r"\b(TODO|FIXME|XXX)\b", "an unfinished thought"),
]


def tracked(*patterns):
    out = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns],
        cwd=root, capture_output=True, text=True, check=True).stdout
    return [root / line for line in out.splitlines() if (root / line).is_file()]


def name(path):
    return str(path.relative_to(root))


def allowed(path, target):
    """May `path` include `target` ("net/http.h")?"""
    rules = [r for r in MAY_INCLUDE if path.startswith(r)]
    if not rules:
        return True  # tests, bench
    room = path.split("/")[0]
    if target.startswith(room + "/") and not (
            room == "controlplane" and target.startswith("controlplane/controllers")
            and not path.startswith(("controlplane/controllers", "controlplane/server"))):
        return True
    may = MAY_INCLUDE[max(rules, key=len)]
    return "*" in may or any(target.startswith(m) for m in may)


def check_includes(path, lines):
    for number, line in enumerate(lines, 1):
        quoted = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if quoted and not allowed(name(path), quoted[1]):
            problems.append(f"{name(path)}:{number}: {name(path).split('/')[0]}/ may not include "
                            f"{quoted[1]} (docs/architecture.md)")
        any_form = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if not any_form or name(path).startswith(("tests/", "bench/")):
            continue
        for pattern, owners in OWNERS.items():
            if re.fullmatch(pattern, any_form[1]) and not name(path).startswith(tuple(owners)):
                problems.append(f"{name(path)}:{number}: {any_form[1]} belongs to "
                                f"{' and '.join(owners)}")


def check_sizes(path, lines):
    if len(lines) > 800:
        problems.append(f"{name(path)}: {len(lines)} lines, at most 800")
    for number, line in enumerate(lines, 1):
        text = name(path).startswith("tests/") and '"' in line  # tables of bytes and documents
        if len(line) > 100 and "http" not in line and not text:
            problems.append(f"{name(path)}:{number}: {len(line)} characters, at most 100")


def check_functions(path, lines):
    """Functions, by clang-format's layout: a body opens at the end of a line that is not inside
    a class-level initialiser, and ends with a brace in the column in which its first line began."""
    start = None
    for number, line in enumerate(lines, 1):
        if start is None:
            opens = line.rstrip().endswith("{") and re.search(r"\)[^;]*\{$", line.rstrip())
            if opens and not re.match(r"\s*(namespace|class|struct|enum|if|for|while|switch|else|do)\b",
                                      line):
                indent = len(line) - len(line.lstrip())
                start = (number, indent, line.strip())
        elif line.lstrip().startswith("}") and len(line) - len(line.lstrip()) <= start[1]:
            length = number - start[0] + 1
            if length > 70:
                problems.append(f"{name(path)}:{start[0]}: function of {length} lines, at most 70")
            start = None


def check_words(path, text):
    for pattern, what in FORBIDDEN:
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(pattern, line) and "tests/tidy" not in name(path):
                problems.append(f"{name(path)}:{number}: {what}: {line.strip()[:80]}")


sizes = []
for path in tracked("*.cc", "*.h", "*.c"):
    lines = path.read_text().splitlines()
    check_includes(path, lines)
    check_sizes(path, lines)
    if not name(path).startswith("tests/"):
        check_functions(path, lines)
        sizes.append(len(lines))

for path in tracked():
    if path.suffix in {".cc", ".h", ".c", ".md", ".py", ".sh", ".yaml", ".txt", ".cmake"} or \
            path.name in {"dev", "run"}:
        check_words(path, path.read_text(errors="replace"))

if statistics.median(sizes) > 150:
    problems.append(f"the median file has {statistics.median(sizes)} lines, at most 150")

print(f"{len(sizes)} source files, median {statistics.median(sizes):.0f} lines, "
      f"{sum(1 for s in sizes if s > 400)} above 400")
for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
