"""The command `siemtap` in a process whose clocks run fast, so that an hour passes in a minute.

siemtap has no such clock. Here every clock and every wait of Python is scaled before siemtap is
imported; the process, its threads, files and sockets are real. Time-outs of sockets and of SQLite
stay in real seconds.

usage: python tests/live/fast_clock.py SPEED ORIGIN ARGUMENT… (those of the command `siemtap`)
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path


class FastClock:
    """A clock that runs `speed` times as fast as the real one since `origin`, in seconds since the
    epoch. Processes with the same origin have the same time."""

    def __init__(self, speed: float, origin: float | None = None) -> None:
        self.speed = speed
        self.origin = time.time() if origin is None else origin
        self._time = time.time
        self._sleep = time.sleep

    def time(self) -> float:
        return self.origin + (self._time() - self.origin) * self.speed

    def millis(self) -> int:
        return int(self.time() * 1000)

    def sleep(self, seconds: float) -> None:
        self._sleep(max(0.0, seconds) / self.speed)

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        """Start `siemtap ARGUMENTS` in a process that has this clock."""
        plugins = str(Path(__file__).parents[2] / "plugins")
        path = os.pathsep.join(filter(None, [plugins, os.environ.get("PYTHONPATH", "")]))
        command = [sys.executable, __file__, repr(self.speed), repr(self.origin), *arguments]
        variables = {**os.environ, "PYTHONPATH": path, **options.pop("env", {})}
        return subprocess.Popen(command, env=variables, **options)

    def simulate(self, plugin: str, **knobs) -> tuple[subprocess.Popen, dict]:
        """Start the simulator of a vendor; return its process and the settings of an input."""
        words = [word for name, value in knobs.items() for word in ("--knob", knob(name, value))]
        process = self.start("simulate", plugin, "--for", "60d", *words, stdout=subprocess.PIPE)
        assert process.stdout
        return process, json.loads(process.stdout.readline())

    def install(self) -> None:
        """Give this process the clock."""
        import selectors
        import threading

        speed = self.speed
        monotonic, performance = time.monotonic, time.perf_counter
        began = monotonic()

        def fast_monotonic() -> float:
            return began + (monotonic() - began) * speed

        def seconds(timeout: float | None) -> float | None:
            return timeout / speed if timeout and timeout > 0 else timeout

        time.time = self.time
        time.time_ns = lambda: int(self.time() * 1e9)
        time.monotonic = threading._time = fast_monotonic
        time.perf_counter = lambda: performance() * speed
        time.sleep = self.sleep
        wait, join = threading.Condition.wait, threading.Thread.join
        threading.Condition.wait = lambda self, timeout=None: wait(self, seconds(timeout))
        threading.Thread.join = lambda self, timeout=None: join(self, seconds(timeout))
        # the event loops of the listeners; those of simulators poll, and may do so slowly
        select = selectors.EpollSelector.select
        selectors.EpollSelector.select = lambda self, timeout=None: select(self, seconds(timeout))


def knob(name: str, value: object) -> str:
    return f"{name}={json.dumps(value)}"


def resident(pid: int | str = "self") -> int:
    """Return the resident memory of a process in KiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens at port {port}")


if __name__ == "__main__":
    FastClock(float(sys.argv[1]), float(sys.argv[2])).install()
    from siemtap.shipper.cli.main import main

    if os.environ.get("MEMORY_PROBE"):
        import memory_probe

        memory_probe.start(os.environ["MEMORY_PROBE"], 900)
    sys.argv = ["siemtap", *sys.argv[3:]]
    main()
