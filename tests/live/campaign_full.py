"""A file system of memory that really is full for a while, and read-only at a start; a part of
`ci/campaign disk`, where mounting is allowed (root)."""

from __future__ import annotations

import contextlib
import subprocess
import time

from campaign import COMMAND, environment
from campaign_shipper import STORES, Shipper, until, with_folder

SIZE = 24  # MiB
HEALS = 90.0  # seconds in which /health must be 200 again


def can_mount(folder):
    """Return whether this user may mount a file system."""
    try:
        return subprocess.run(mount(folder), capture_output=True, check=False).returncode == 0
    finally:
        subprocess.run(["umount", folder], capture_output=True, check=False)


def mount(folder):
    return ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "siemtap-campaign", folder]


class Full(Shipper):
    """A shipper on a small file system."""

    def prepare(self):
        subprocess.run(mount(self.disk), check=True)

    def run(self):
        pusher = self.vendors.pusher
        pusher.start()
        filler = self.disk / "filler"
        with self.running() as process:
            assert pusher.wait_for_answer(process, HEALS), "the webhook answers nothing"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            refused = pusher.refused
            if not until(lambda: self.health()[0] == 503, 30):
                self.problems.append("healthy on a full disk")
            time.sleep(2.0)
            if pusher.refused == refused:
                self.problems.append("no webhook was refused on a full disk")
            filler.unlink()
            if not until(lambda: self.health()[0] == 200, HEALS):
                self.problems.append(f"not healthy {HEALS:.0f} s later: {self.health()[1]}")
        pusher.close()
        pusher.note_spooled(self.store.data)
        self.check_log()
        self.finish()
        self.start_read_only()

    def start_read_only(self):
        subprocess.run(["mount", "-o", "remount,ro", self.disk], check=True)
        done = subprocess.run(
            [*COMMAND, "run", "--once", "-c", str(self.config)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode != 2 or "Read-only file system; make it a folder" not in done.stderr:
            self.problems.append(f"read-only: exit {done.returncode}:\n{done.stderr[-1500:]}")

    def close(self):
        subprocess.run(["umount", "-l", self.disk], check=True)


def play(vendors, show=print):
    """Play each output on a full disk. Return (a summary, what was not as promised)."""
    broken = []
    for output in STORES:
        with with_folder(Full, vendors, output) as shipper:
            try:
                shipper.run()
            finally:
                shipper.close()
            for problem in shipper.problems:
                show(f"{output} on a full tmpfs: {problem}")
            broken += [f"{output} on a full tmpfs"] if shipper.problems else []
    return f"a full tmpfs of {SIZE} MiB, then read-only: {', '.join(STORES)}", broken
