"""Every benchmark in turn, and the table of docs/benchmarks.md: `ci/bench all`.

A line of a benchmark is a row: what comes before the last ": ", or before two blanks, is what was
measured, `(at least …)` or `(at most …)` is the goal. `all --short` runs everything small, to see
that it runs, and writes nothing. What cannot be measured here has a row that says why.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from siemtap import VERSION
from siemtap.render.reference import fill_tables

PAGE = Path(__file__).parents[2] / "docs/benchmarks.md"
BENCH = Path(__file__).with_name("bench.py")
LONGEST = 600  # seconds of one benchmark
# benchmark -> the arguments of its function, so that all of them take less than 25 minutes
SIZES = {
    "pipeline": {},
    "pipeline --plugin pingintelligence": {},
    "counts": {},
    "peers": {"rounds": 3},
    "syslog": {"rounds": 3},
    "elasticsearch": {"rounds": 2},
    "hec": {},
    "kafka": {},
    "backfill": {},
    "inputs": {},
    "apis": {},
    "splunk": {},
    "receive": {"seconds": 30, "kills": 10},
    "processors": {},
    "processes": {"rounds": 1, "seconds": 30},
}
SHORT = {
    "peers": {"rounds": 1},
    "syslog": {"rounds": 1, "lines": 5_000},
    "elasticsearch": {"rounds": 1},
    "backfill": {"days": 1},
    "inputs": {"number": 200, "interval": 10},
    "apis": {"number": 20},
    "receive": {"seconds": 4, "kills": 2},
    "processes": {"rounds": 1, "seconds": 4},
}
GOAL = re.compile(r" ?\(((?:at least|at most)[^()]*)\)")


def run(short=False):
    """Run every benchmark, print its lines, and write the table."""
    began, load = time.monotonic(), os.getloadavg()[0]
    rows = []
    for name, sizes in SIZES.items():
        sizes = SHORT.get(name, {}) if short else sizes
        print(f"ci/bench {name}", flush=True)
        lines = lines_of(name, sizes)
        rows += [f"| `ci/bench {name}` | {row} |" for row in map(row_of, lines)]
        print("".join(f"  {line}\n" for line in lines), flush=True)
    minutes = (time.monotonic() - began) / 60
    note = f"It took {minutes:.0f} minutes; the load average was {load:.1f} before."
    text = "\n".join([f"{machine()}. {note}", "", *HEAD, *rows])
    if short:
        print(f"{text}\n\nnot written: rounds this short are no measurement")
        return
    PAGE.write_text(fill_tables(PAGE.read_text(), {"figures": text}))
    print(f"written: {PAGE.name}")


HEAD = ["| command | what | goal | measured |", "|---|---|---|---|"]


def lines_of(name, sizes):
    """Return what a benchmark prints; if it fails, why, as a line."""
    words = [f"{key}={value}" for key, value in sizes.items()]
    command = [sys.executable, str(BENCH), *name.split(), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return [f"{name}: not measured, it took more than {LONGEST} s"]
    if done.returncode:
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        return [f"{name}: not measured, {last}"]
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def row_of(line):
    """Return the cells of a line: what, goal, measured."""
    goal = GOAL.search(line)
    title, _, measured = GOAL.sub("", line, count=1).rpartition(": ")
    if not title:
        title, _, measured = measured.partition("  ")
    cells = [title, goal[1] if goal else "", " ".join(measured.split())]
    return " | ".join(cell.replace("|", "\\|") for cell in cells)


def machine():
    """Return on what was measured, and when."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return (
        f"Measured by `ci/bench all` on {day}: siemtap {VERSION}, Python"
        f" {platform.python_version()}, {os.cpu_count()} cores"
        f" ({model[1] if model else platform.machine()}), Linux {platform.release()}"
    )
