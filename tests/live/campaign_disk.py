"""A disk that fails: in a real process, or in any of `processes: 2`, one call that changes its files
fails, or all of them for a while. A database that is torn or damaged while the shipper is down: `campaign_damage.py`. A file
system that really is full: `campaign_full.py`.

Whatever fails, everything is there once in the end, and nothing that a webhook acknowledged is
lost. The process ends with a sentence, or goes on, and its log says what failed; `/health` is 503
while it lasts, and 200 after that.

usage: ci/campaign disk [--faults 400] [--damages 100] [--seed 1] [--first N]
--first: each of the first N calls in turn, instead of calls at random
"""

from __future__ import annotations

import argparse
import collections
import errno
import hashlib
import math
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import campaign_damage
import campaign_full
import filelock
from campaign import random_of, row
from campaign_shipper import STORES, Shipper, until, vendors_of, with_folder
from search_node import CACHE

SOURCE = Path(__file__).with_name("disk_faults.c")
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EROFS": errno.EROFS}
CALLS = {"": 700, "data/spool": 150}  # about as many as a shipper makes in the first seconds
STARTS = 90.0  # seconds in which a shipper takes the first payload
LASTS = 4.0  # seconds in which /health must say that a disk fails
HEALS = 90.0  # seconds in which /health must be 200 again
HEAD = ("disk", "faults", "reached", "ended", "503", "acknowledged", "lost", "twice", "unknown")


class Fault(NamedTuple):
    """What fails: call number `at` with `error`, once or for a while. under: the folder that fails.
    torn: a write that fails has written half. kill: the process is killed at its end. fresh: it is
    the first process of its folder."""

    output: str
    under: str
    at: int
    error: str
    lasting: bool
    torn: bool
    kill: bool
    fresh: bool

    def __str__(self):
        flags = [name for name in ("lasting", "torn", "kill", "fresh") if getattr(self, name)]
        words = [self.error, *flags, *filter(None, [self.under])]
        return f"{self.output}, call {self.at}: {' '.join(words)}"


def compiled():
    """Return the library that lets calls fail, compiled once for each state of its source."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise RuntimeError(f"{SOURCE.name} needs a C compiler: install gcc, or put cc into PATH")
    stamp = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    library = CACHE / f"disk-faults-{stamp}.so"
    CACHE.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{library}.lock"):
        if not library.exists():
            temporary = library.with_suffix(".new")
            words = [compiler, "-shared", "-fPIC", "-O2", "-o", temporary, SOURCE, "-ldl"]
            subprocess.run(words, check=True, timeout=60)
            temporary.rename(library)
    return library


class Trial(Shipper):
    """One shipper on a disk that fails. `failed`: the calls that failed, as "call file"."""

    def __init__(self, vendors, fault, folder):
        super().__init__(vendors, fault.output, folder)
        self.fault = fault
        self.calls, self.heal, self.count = (folder / name for name in ("calls", "heal", "count"))
        self.count.write_bytes(bytes(8))
        self.counts = collections.Counter(faults=1)
        self.failed = []

    def run(self):
        pusher = self.vendors.pusher
        pusher.start()
        if not self.fault.fresh:
            with self.running() as process:
                pusher.wait_for_answer(process)
                time.sleep(1.0)
        end = signal.SIGKILL if self.fault.kill else signal.SIGTERM
        with self.running(end, **self.variables()) as process:
            self.watch(process)
            self.counts["ended"] = int(process.poll() is not None)
        if self.calls.exists():
            self.failed = self.calls.read_text().replace(f"{self.disk}/", "").splitlines()
            self.counts["reached"] = 1
        pusher.close()
        pusher.note_spooled(self.store.data)
        self.check_log()
        if self.fault.lasting and self.failed and not self.warnings:
            self.problems.append("the disk failed for seconds, and the log says nothing")
        self.finish()

    def variables(self):
        variables = {
            "LD_PRELOAD": str(compiled()),
            "FAULT_UNDER": str(self.disk / self.fault.under),
            "FAULT_AT": str(self.fault.at),
            "FAULT_ERROR": str(ERRORS[self.fault.error]),
            "FAULT_COUNT": str(self.count),
            "FAULT_LOG": str(self.calls),
        }
        variables |= {"FAULT_HEAL": str(self.heal)} if self.fault.lasting else {}
        return {**variables, "FAULT_TORN": "1"} if self.fault.torn else variables

    def watch(self, process):
        """Wait for the fault; while it lasts, and after that, see what /health says."""
        has_ended = lambda: process.poll() is not None  # noqa: E731
        pusher = self.vendors.pusher
        before = len(pusher.taken)
        # a busy machine takes its time to start; then a high call comes soon, or never
        until(lambda: self.calls.exists() or has_ended() or len(pusher.taken) > before, STARTS)
        until(lambda: self.calls.exists() or has_ended(), 8)
        if self.fault.lasting:
            until(lambda: has_ended() or self.health()[0] == 503, LASTS)
            # a disk on which nothing more is written is not known to fail
            if self.calls.exists() and not has_ended():
                time.sleep(1.0)
                status, reason = self.health()
                self.counts["503"] = int(status == 503)
                if status == 200 and len(self.calls.read_text().splitlines()) > 5:
                    self.problems.append(f"healthy while the disk fails: {reason}")
            self.heal.touch()
        else:
            time.sleep(1.5)
        if self.fault.kill or not self.calls.exists():
            return
        if not until(lambda: has_ended() or self.health()[0] == 200, HEALS):
            self.problems.append(f"not healthy {HEALS:.0f} s later: {self.health()[1]}")


def faults_of(number, seed, first=False):
    """Yield the faults. first: at each of the first calls, in turn."""
    for index in range(number):
        rng = random_of(seed, f"disk/{index}")
        output = list(STORES)[index % len(STORES)]
        under = "data/spool" if not first and rng.random() < 0.25 else ""
        most = CALLS[under] * (2 if output == "processes" else 1)
        yield Fault(
            output=output,
            under=under,
            at=index + 1 if first else int(math.exp(rng.uniform(0, math.log(most)))),
            error=rng.choice(list(ERRORS)),
            lasting=rng.random() < 0.5,
            torn=rng.random() < 0.4,
            kill=rng.random() < 0.3,
            fresh=rng.random() < 0.5,
        )


def play(vendors, fault, show=print):
    """Play one fault; return the Trial."""
    with with_folder(Trial, vendors, fault) as trial:
        trial.run()
        for problem in trial.problems:
            show(f"{fault} ({', '.join(trial.failed[:3])}): {problem}")
            show("\n".join(trial.warnings[-8:]))
        return trial


def main():
    parser = argparse.ArgumentParser(prog="ci/campaign disk", description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=400, help="calls that fail")
    parser.add_argument("--damages", type=int, default=100, help="databases that are damaged")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="each of the first N calls in turn")
    parser.add_argument("--verbose", action="store_true", help="print each fault")
    options = parser.parse_args()
    began = time.monotonic()
    rows, broken = collections.defaultdict(collections.Counter), []
    faults = faults_of(options.first or options.faults, options.seed, bool(options.first))
    vendors = vendors_of(options.seed)
    try:
        for fault in faults:
            trial = play(vendors, fault)
            if options.verbose:
                print(f"{fault}: {len(trial.failed)} {trial.failed[:1]} {trial.warnings[-1:]}")
            name = f"{fault.error} {fault.output}"
            rows[name] += trial.counts
            rows[name] += collections.Counter(trial.result._asdict() if trial.result else {})
            broken += [str(fault)] if trial.problems else []
        print(row(*HEAD))
        for name in sorted(rows):
            print(row(*[name, *(rows[name][column] for column in HEAD[1:])]))
        summaries = [campaign_damage.play(vendors, options.damages, options.seed)]
        with tempfile.TemporaryDirectory() as folder:
            if campaign_full.can_mount(folder):
                summaries.append(campaign_full.play(vendors))
            else:
                summaries.append(("no right to mount: no full tmpfs was played", []))
    finally:
        vendors.close()
    for summary, broken_parts in summaries:
        print(summary)
        broken += broken_parts
    print(f"seed {options.seed}, in {time.monotonic() - began:.0f} s")
    if broken:
        sys.exit("not as promised: " + "; ".join(broken))


if __name__ == "__main__":
    main()
