"""A database that is torn or damaged while the shipper is down, after a `kill -9` or a clean end; a
part of `ci/campaign disk`.

The log of SQLite has checksums: what is cut or changed there is dropped, with all that came after
it, and collected again. Its pages have none. So damage that it can see, and any of a checkpoint, is
refused with a sentence; damage inside an event's text can change or hide that event only.
"""

from __future__ import annotations

import collections
import signal
import subprocess
import time

from campaign import COMMAND, environment, random_of
from campaign_shipper import STORES, Shipper, with_folder

PAGE = 4096
LOG, PAGES = ("cut log", "changed log"), ("empty page", "torn page", "changed page")


def damage(path, kind, rng):
    """Damage a file at a random place. A log that was just moved into the pages is empty, and
    stays as it is."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        if not size:
            return f"{path.name} is empty"
        at = rng.randrange(size)
        page = at // PAGE * PAGE
        if kind == "cut log":
            file.truncate(at)
        elif kind == "empty page":
            file.seek(page)
            file.write(bytes(PAGE))
        elif kind == "torn page":
            file.seek(page + PAGE // 2)
            file.write(bytes(PAGE // 2))
        else:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))
    return f"{kind} of {path.name} at byte {at:,} of {size:,}"


class Damaged(Shipper):
    """A shipper whose database is damaged. `outcome`: recovered, refused, or hidden: the start saw
    nothing, and events of the damaged page are missing or changed."""

    def __init__(self, vendors, output, kind, rng, folder):
        super().__init__(vendors, output, folder)
        self.kind, self.rng, self.outcome, self.place = kind, rng, "", ""

    def run(self):
        pusher = self.vendors.pusher
        pusher.start()
        # a clean end moves the log into the pages
        end = signal.SIGKILL if self.kind in LOG else signal.SIGTERM
        with self.running(end) as process:
            pusher.wait_for_answer(process)
            time.sleep(self.rng.uniform(0.3, 2.0))
        pusher.close()
        pusher.note_spooled(self.store.data)
        name = "siemtap.db-wal" if self.kind in LOG else "siemtap.db"
        self.place = damage(self.store.data / name, self.kind, self.rng)
        done = subprocess.run(
            [*COMMAND, "run", "--once", "--patience", "5s", "-c", str(self.config)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        with self.log.open("a") as log:
            log.write(done.stderr)
        self.check_log()
        if done.returncode:
            self.outcome = "refused"
            if "is damaged (" not in done.stderr or "Restore a copy of it" not in done.stderr:
                self.problems.append(
                    f"exit {done.returncode} without a reason:\n{done.stderr[-1500:]}"
                )
            return
        try:
            self.result = self.vendors.compare(self.store.data, self.store.ids())
            self.outcome = "recovered" if self.result.is_exact else "hidden"
        except Exception as error:  # the campaign reads the damaged page itself
            self.outcome = f"hidden, unreadable to others: {type(error).__name__}"
        if self.kind in LOG and self.outcome != "recovered":
            self.problems.append(f"{self.outcome}: {self.result}")


def play(vendors, number, seed, show=print):
    """Damage this many databases. Return (a summary, what was not as promised)."""
    outcomes, broken = collections.Counter(), []
    for index in range(number):
        rng = random_of(seed, f"damage/{index}")
        kind = (*LOG, *PAGES)[index % 5]
        output = rng.choice(list(STORES))
        with with_folder(Damaged, vendors, output, kind, rng) as shipper:
            shipper.run()
            outcomes[f"{kind}: {shipper.outcome}"] += 1
            for problem in shipper.problems:
                show(f"{output}, {shipper.place}: {problem}")
                broken.append(f"{output}, {shipper.place}")
            if shipper.outcome.startswith("hidden"):
                show(f"{output}, {shipper.place}: {shipper.outcome}: {shipper.result}")
    return "; ".join(f"{name} {outcomes[name]}" for name in sorted(outcomes)), broken
