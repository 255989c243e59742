"""What systemd is told: ready, reloading, stopping, the state, and that nothing hangs.

Source: sd_notify(3), systemd.service(5) (`Type=notify`, `WatchdogSec=`). A message is a datagram of
`NAME=value` lines to the socket that $NOTIFY_SOCKET names. Without that variable nothing is sent.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import threading
import time
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional

from ..core.errors import SiemtapError
from ..engine.mapper import traceback_text

log = logging.getLogger("siemtap")

SEND_TIMEOUT = 5.0  # seconds
STALLED_AFTER = 30.0  # seconds for which something has been due while a worker was free
LONGEST_STATUS = 300  # characters
STATUS_INTERVAL = 30.0  # seconds, without a watchdog


class Notifier:
    """Sends messages to the service manager.

    environment: the variables that systemd sets: $NOTIFY_SOCKET (a path, or an abstract name after
    "@"), $WATCHDOG_USEC (microseconds) and $WATCHDOG_PID.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # other kinds, such as vsock:, are for virtual machines
        self.address = address if address.startswith(("/", "@")) and len(address) > 1 else ""
        self.watchdog = _watchdog_seconds(environment) if self.address else None

    def send(self, *lines: str) -> bool:
        """Send a message; return whether it was sent. A failure is logged, and changes nothing."""
        if not self.address:
            return False
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT)
                sender.connect(name)
                sender.sendall("\n".join(lines).encode("utf-8", "replace"))
        except OSError as error:
            log.debug("systemd at %s was not told %s: %s", self.address, lines[0], error.strerror)
            return False
        return True

    def ready(self) -> None:
        """Tell that inputs and listeners are started."""
        self.send("READY=1")

    def stopping(self) -> None:
        """Tell that the process ends."""
        self.send("STOPPING=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that the configuration is read again, and at the end that the process is ready."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.send("RELOADING=1", f"MONOTONIC_USEC={now}")
        try:
            yield
        finally:
            self.ready()


def _watchdog_seconds(environment: Mapping[str, str]) -> Optional[float]:
    """Return the time after which systemd ends a process that does not answer; None without."""
    process = environment.get("WATCHDOG_PID", "")
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isascii() or not microseconds.isdigit() or not int(microseconds):
        return None
    if process and process != str(os.getpid()):  # of another process
        return None
    return int(microseconds) / 1_000_000


def hang_of(shipper: Any) -> str:
    """Return what hangs in a shipper; "" if nothing does.

    Does not return at all while the scheduler's lock, the database's writer or the answer of
    /health hangs. A degraded unit, a full disk or an output that is away is no hang: a restart
    would not help.
    """
    stalled = shipper.scheduler.stalled()
    if stalled > STALLED_AFTER:
        return f"the scheduler has not run what has been due for {stalled:.0f} s"
    try:
        shipper.database.write(lambda db: None)
    except SiemtapError:  # an answer all the same; /health tells it
        pass
    return ""


class Supervision:
    """A thread that tells systemd twice in each watchdog period that nothing hangs, and the answer
    of /health as the status; at the end, that the process stops.

    Nothing is started without systemd.
    """

    def __init__(self, shipper: Any, notifier: Notifier) -> None:
        self.shipper, self.notifier = shipper, notifier
        self.interval = notifier.watchdog / 2 if notifier.watchdog else STATUS_INTERVAL
        self.thread = threading.Thread(target=self._run, name="systemd", daemon=True)

    def start(self) -> None:
        """Tell systemd that the process is ready, and start the thread."""
        if not self.notifier.address:
            return
        if self.notifier.watchdog and not faulthandler.is_enabled():
            # systemd sends SIGABRT to a process that hangs: the log shows where its threads are
            faulthandler.enable()
        self.notifier.ready()
        self.thread.start()

    def _run(self) -> None:
        while not self.shipper.stopping.is_set():
            try:
                self.report()
            except Exception as error:  # the check itself does not work: neither does siemtap
                log.error(
                    "%s while siemtap checked itself, a defect in siemtap; systemd is not told that"
                    " it works",
                    type(error).__name__,
                )
                log.debug("%s", traceback_text(error))
            self.shipper.stopping.wait(self.interval)
        self.notifier.stopping()

    def report(self) -> None:
        """Send the status, and that nothing hangs, if so."""
        hang = self.shipper.hang()
        if hang:
            log.error("%s, a defect in siemtap; systemd is not told that it works", hang)
            return
        healthy, reason = self.shipper.health()
        status = " ".join(reason.split())[:LONGEST_STATUS]
        lines = [f"STATUS={'healthy' if healthy else status}"]
        if self.notifier.watchdog:
            lines.append("WATCHDOG=1")
        self.notifier.send(*lines)
