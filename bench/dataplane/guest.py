"""Google Benchmark programs in a guest of their own (tests/vm/run): Debian's cloud kernel in qemu.
For the scripts beside this."""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "build/release/bench"
MODULES = ["veth", "dummy", "sch_ingress", "cls_bpf", "nf_tables", "ip_vs", "ip_vs_rr"]


class Failed(Exception):
    """Nothing was measured."""


def numbers(text):
    """"1,1000" of a command line."""
    return [int(one) for one in text.split(",")]


def measure(program, name_filter, options=(), timeout=300):
    """The benchmarks of `program` that match, as it reports them. One that could not run has
    "error_message"."""
    done = subprocess.run(
        [ROOT / "tests/vm/run", "--memory", "1536", "--timeout", str(timeout), *options, *MODULES,
         "--", program, "--benchmark_format=json", f"--benchmark_filter={name_filter}"],
        capture_output=True, text=True)
    if done.returncode == 77:
        sys.exit(done.stderr.strip())
    try:
        start, end = done.stdout.index("{\n"), done.stdout.rindex("}") + 1
        return json.loads(done.stdout[start:end])["benchmarks"]
    except (ValueError, KeyError) as error:
        raise Failed((done.stdout + done.stderr).strip()[-300:]) from error
