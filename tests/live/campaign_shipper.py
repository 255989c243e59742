"""A shipper of the campaigns with a folder of its own, which is on a disk that fails or is
damaged."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
from campaign import COMMAND, MINUTE, Vendors, environment, run_once
from campaign_stores import File, Sqlite, Two, configure
from search_node import free_port

STORES = {"sqlite": Sqlite, "file": File, "two": Two, "processes": Two}
PROCESSES = {"processes": 2}  # of the one that is named so: a supervisor, workers, receivers
DEFECT = re.compile(
    r"Traceback|Fatal Python error|internal error|fault of siemtap|the writer failed"
)
WARNING = re.compile(r" error  | warning |^siemtap:")


class Shipper:
    """A shipper with a folder of its own. `problems`: what was not as promised."""

    def __init__(self, vendors, output, folder):
        self.vendors, self.folder = vendors, folder
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.prepare()
        vendors.renew_pusher()
        self.store = STORES[output](self.disk)
        self.port = free_port()
        more = {"http.enabled": True, "http.port": self.port, "logging.level": "info"}
        more |= PROCESSES if output == "processes" else {}
        self.config = configure(self.disk, vendors, self.store, **more)
        self.log = folder / "log"
        self.problems, self.warnings, self.result = [], [], None

    def prepare(self):
        """Prepare the disk, before anything is written to it."""

    @contextlib.contextmanager
    def running(self, end=signal.SIGTERM, **variables):
        """Run the shipper, and end it."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*COMMAND, "run", "-c", str(self.config)],
                env=environment(**variables),
                stdout=log,
                stderr=log,
            )
        try:
            yield process
            children = children_of(process)
            if process.poll() is None:
                process.send_signal(end)
            code = process.wait(120)
            if psutil.wait_procs(children, 30)[1]:  # the supervisor's; they see that it has gone
                self.problems.append("processes go on without their supervisor")
            # SIGTERM itself ends a process that does not run yet
            if code not in (0, 1, 2, -signal.SIGKILL, -signal.SIGTERM):
                self.problems.append(f"exit code {code}")
        finally:
            process.kill()
            process.wait()

    def health(self):
        """Return (status, reason) of /health; (0, reason) if nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=10) as page:
                return page.status, "ok"
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["reason"]
        except OSError as error:
            return 0, str(error)

    def check_log(self):
        """Note the lines that tell of something wrong, and what must never be there."""
        text = self.log.read_text(errors="replace")
        self.warnings = [line for line in text.splitlines() if WARNING.search(line)]
        defect = DEFECT.search(text)
        if defect:
            part = text[max(0, defect.start() - 300) : defect.end() + 1500]
            self.problems.append(f"the log has {defect[0]!r}:\n{part}")

    def finish(self):
        """Collect the rest on a disk that works, and compare."""
        last = run_once(self.config)
        if last.returncode:
            self.problems.append(
                f"the last run ended with {last.returncode}:\n{last.stderr[-1500:]}"
            )
            return
        self.result = self.vendors.compare(self.store.data, self.store.ids())
        if not self.result.is_exact:
            self.problems.append(str(self.result))


def children_of(process):
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def until(condition, seconds):
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def vendors_of(seed):
    """Return vendors that many shippers read, one after the other."""
    return Vendors(seed, 24, rate=60.0, lookback=20 * MINUTE)


@contextlib.contextmanager
def with_folder(kind, *arguments):
    """Yield a Trial, or what else is a Shipper, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="siemtap-disk-") as name:
        yield kind(*arguments, Path(os.path.realpath(name)))
