"""Run `siemtap` and Python processes in tests."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HANG = 300  # seconds: for what would never end, however loaded the machine is
ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "siemtap.shipper.cli.main"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "COLUMNS": "200"}


def siemtap(*args, cwd=None, code=0):
    done = subprocess.run(
        [*COMMAND, *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=HANG,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def python(*arguments, cwd, **variables):
    """Run this Python with the given arguments and environment variables, and return the result."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=HANG,
    )


class Process:
    """A running `siemtap run`. `output`: its log so far."""

    def __init__(self, path, command=COMMAND, **how):
        self.process = subprocess.Popen(
            [*command, "run", "-c", str(path)],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            **how,
        )
        self.output = ""

    def until(self, pattern, seconds=HANG):
        """Read the log until it matches a pattern, and return the match."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            line = self.process.stderr.readline()
            assert line and time.monotonic() < deadline, f"no {pattern!r} in:\n{self.output}"
            self.output += line
        return re.search(pattern, self.output)

    def end(self, number=signal.SIGTERM):
        """Send a signal, wait for the end and return the exit code."""
        self.process.send_signal(number)
        out, rest = self.process.communicate(timeout=HANG)
        self.output += rest
        return self.process.returncode


def page(address, path=""):
    """Return (status, body) of a GET request."""
    try:
        with urllib.request.urlopen(address + path, timeout=HANG) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(condition, seconds=HANG):
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
