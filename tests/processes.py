"""Real `siemtap` processes."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "siemtap.runners.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "COLUMNS": "200"}


def siemtap(*words, cwd=None, code=0, timeout=60):
    done = subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=timeout,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


class Process:
    """`siemtap run`, and its log as it comes."""

    def __init__(self, path, **how):
        self.process = subprocess.Popen(
            [*COMMAND, "run", "-c", str(path)],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            **how,
        )
        self.said = ""

    def until(self, words, seconds=30):
        deadline = time.monotonic() + seconds
        while not re.search(words, self.said):
            line = self.process.stderr.readline()
            assert line and time.monotonic() < deadline, f"no {words!r} in:\n{self.said}"
            self.said += line
        return re.search(words, self.said)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, rest = self.process.communicate(timeout=40)
        self.said += rest
        return self.process.returncode


def page(address, path=""):
    try:
        with urllib.request.urlopen(address + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
