#!/usr/bin/env python3
"""Every snippet of the README and of docs/ parses: shell by bash -n, YAML manifests and Corefiles by
`fairlead validate`, and every `fairlead` and `./dev` subcommand that is named exists. Links lead to
files that are there. usage: docs_test.py SOURCE_DIR FAIRLEAD"""
import pathlib
import re
import subprocess
import sys
import tempfile

root = pathlib.Path(sys.argv[1]).resolve()
fairlead = sys.argv[2]
problems = []


def run(*argv, text=None):
    return subprocess.run(argv, input=text, capture_output=True, text=True)


def subcommands():
    help_text = run(fairlead, "--help").stdout
    return set(re.findall(r"^  ([a-z][a-z-]*) ", help_text.split("Subcommands:")[-1], re.M))


known = subcommands()
dev_known = set(re.findall(r"^  ([a-z]+)\b", run(str(root / "dev"), "help").stdout, re.M))


def check_shell(where, text):
    done = run("bash", "-n", text=text)
    if done.returncode != 0:
        problems.append(f"{where}: {done.stderr.strip()}")
    for line in text.splitlines():
        for word in re.findall(r"(?:^|[\s/])fairlead ([a-z][a-z-]*)", line.split("#")[0]):
            if word not in known:
                problems.append(f"{where}: there is no 'fairlead {word}'")
        for word in re.findall(r"\./dev ([a-z]+)", line.split("#")[0]):
            if word not in dev_known:
                problems.append(f"{where}: there is no './dev {word}'")


def check_with_fairlead(where, text, suffix, flag):
    with tempfile.NamedTemporaryFile("w", suffix=suffix) as file:
        file.write(text)
        file.flush()
        done = run(fairlead, "validate", *flag, file.name)
        if done.returncode != 0:
            problems.append(f"{where}: {done.stderr.strip()}")


def check(path):
    text = path.read_text()
    name = path.relative_to(root)
    for match in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        where = f"{name}:{text[:match.start()].count(chr(10)) + 1}"
        language, body = match[1], match[2]
        if language in ("sh", "bash"):
            check_shell(where, body)
        elif language == "yaml" and "apiVersion:" in body and "..." not in body:
            check_with_fairlead(where, body, ".yaml", [])
        elif language == "corefile":
            check_with_fairlead(where, body, ".corefile", ["--corefile"])
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not (path.parent / target).exists():
            problems.append(f"{name}: a link to {target}, which is not there")


files = [root / f for f in run("git", "-C", str(root), "ls-files", "-co", "--exclude-standard",
                               "*.md").stdout.splitlines() if (root / f).is_file()]
for path in files:
    check(path)
for folder in ("examples",):
    done = run(fairlead, "validate", str(root / folder))
    if done.returncode != 0:
        problems.append(f"{folder}: {done.stderr.strip()}")

print(f"{len(files)} documents")
for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
