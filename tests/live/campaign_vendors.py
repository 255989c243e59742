"""A month of vendors whose answers go wrong at random. What they said and could be read must be
delivered once, whatever they said in between.

The shipper runs in this process, step by step on a clock that the campaign sets (stepped_shipper.py);
simulators answer in memory. It writes files, is restarted now and then, and its clock is wrong for
hours.

usage: ci/campaign vendors [--days 30] [--seed 1] [--vendor apptrana]
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from fast_clock import resident
from rude_vendor import RudeVendor, tag
from rude_vendors import VENDORS
from stepped_shipper import SteppedShipper

from siemtap.core.identity import sha256_hex
from siemtap.core.windows import DAY, HOUR, MINUTE
from siemtap.testing import simulation
from siemtap.testing.world import NOON

MARKER = re.compile(r"mutant-[a-z &/0-9]*-[0-9]+")
DIGEST = re.compile("[0-9a-f]{64}")
SHIFTS = (-5_000, 5_000, -90_000, 90_000, -HOUR, HOUR)  # milliseconds
DEFECT = re.compile(r"unexpected |a defect|Traceback|cannot be mapped \((?!TooDeep\))")


class Result(NamedTuple):
    """What a campaign found. `served`: ids in answers that could be read. `unexplained`: ids of the
    ledger that were neither delivered nor left out by an answer. `withheld`: not delivered, because
    an answer that looks like a success left them out. `taken_back`: the same after an answer that
    had them, while its time range was not read to the end. `gaps`: hours that a report misses, or
    has twice."""

    events: int
    served: int
    lost: int
    twice: int
    unknown: int
    unexplained: int
    withheld: int
    taken_back: int
    mutants: int
    mutants_lost: int
    mutants_twice: int
    pipeline_errors: int
    reports: int
    gaps: int
    states: list  # (unit, error) of those that are not well at the end
    defects: list
    faults: dict
    requests: int
    rss: tuple  # MiB after a tenth, and the most later

    @property
    def is_good(self):
        wrong = self.lost or self.twice or self.unknown or self.unexplained or self.gaps
        wrong = wrong or self.mutants_lost or self.mutants_twice or self.states or self.defects
        return not wrong and self.rss[1] < self.rss[0] + 100


class Defects(logging.Handler):
    """Keeps the log's lines that report a defect."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = collections.Counter()

    def emit(self, record):
        text = record.getMessage()
        if record.exc_info or (record.levelno >= logging.WARNING and DEFECT.search(text)):
            self.lines[text[:300]] += 1


class Campaign(SteppedShipper):
    """A shipper that reads a rude vendor by its own due times."""

    def __init__(self, folder, vendor, seed, share):
        self.vendor, self.luck = vendor, random.Random(f"{seed}/shipper")
        simulated = simulation.simulator(vendor.name, vendor.knobs_of(seed))
        more = f"output.file: {{path: {folder}/out}}"
        super().__init__(
            folder,
            RudeVendor(simulated, vendor, seed, share),
            vendor.name,
            into="more",
            more=more,
            **vendor.settings,
        )
        self.rss = []

    def run_until(self, end):
        while self.now < end:
            for running in self.shipper.inputs.values():
                running.run_due()
            due = min(running.due() for running in self.shipper.inputs.values())
            self.now = max(self.now + 1_000, int(due * 1000) + 1)

    def go_wrong(self):
        """Between two quarters of an hour: a restart, or a clock that is wrong."""
        if self.luck.random() < 0.004:
            self.start()
        if self.luck.random() < 0.2:
            self.shift = self.luck.choice(SHIFTS) if self.luck.random() < 0.1 else 0

    def events(self):
        for path in sorted((self.folder / "out").glob("*.ndjson")):
            with open(path, "rb") as lines:
                yield from map(json.loads, lines)


def campaign(name, days=30.0, seed=1, share=0.15):
    """Return the Result of so many days of one vendor."""
    random.seed(seed)
    defects, log = Defects(), logging.getLogger("siemtap")
    log.addHandler(defects)
    shm = Path("/dev/shm")  # a month has many commits
    with tempfile.TemporaryDirectory(prefix="siemtap-", dir=shm if shm.is_dir() else None) as path:
        shipper = Campaign(Path(path), VENDORS[name], seed, share)
        try:
            shipper.start()
            end = NOON + int(days * DAY)
            while shipper.now < end:
                shipper.run_until(min(end, shipper.now + 15 * MINUTE))
                shipper.go_wrong()
                shipper.rss.append(resident() // 1024)
            stop = shipper.now
            shipper.shift, shipper.simulated.quiet = 0, True
            shipper.run_until(stop + 4 * HOUR)
            return result_of(shipper, stop, defects)
        finally:
            shipper.stop()
            log.removeHandler(defects)


def result_of(shipper, stop, defects):
    rude = shipper.simulated
    may = shipper.vendor.may(rude, NOON - 2 * DAY, shipper.now + HOUR)
    delivered = Delivered(may, rude.shown, shipper.vendor.datasets)
    for event in shipper.events():
        delivered.add(event)
    ids = delivered.ids
    ledger = rude.ledger(NOON, stop - shipper.vendor.margin)
    missing = rude.served - set(ids)
    missing_mutants = rude.shown - set(delivered.markers)
    tenth = max(1, len(shipper.rss) // 10)
    return Result(
        events=sum(ids.values()),
        served=len(rude.served),
        lost=len(missing - rude.withheld),
        twice=sum(number > 1 for number in ids.values()),
        unknown=len(delivered.unknown),
        unexplained=len(ledger - set(ids) - rude.withheld),
        withheld=len((ledger & rude.withheld) - set(ids)),
        taken_back=len((missing | missing_mutants) & rude.withheld),
        mutants=len(rude.shown),
        mutants_lost=len(missing_mutants - rude.withheld),
        mutants_twice=sum(number > 1 for number in delivered.markers.values()),
        pipeline_errors=delivered.errors,
        reports=sum(map(len, delivered.reports.values())),
        gaps=sum(gaps_of(key, delivered.reports[key], rude.withheld) for key in delivered.reports),
        states=[(str(state.unit), state.error) for state in shipper.states() if not state.done],
        defects=[f"{number}: {line}" for line, number in defects.lines.items()],
        faults=dict(rude.counts),
        requests=rude.requests,
        rss=(max(shipper.rss[:tenth]), max(shipper.rss)),
    )


class Delivered:
    """What was delivered. `markers`: of mutants. `errors`: pipeline_error events. `unknown`: ids of
    events of these datasets that the vendor never had."""

    def __init__(self, may, shown, datasets):
        self.may, self.datasets = may, datasets
        self.digests = {sha256_hex(marker): marker for marker in shown}  # of hashed ones
        self.ids, self.markers = collections.Counter(), collections.Counter()
        self.reports = collections.defaultdict(list)
        self.errors, self.unknown = 0, set()

    def add(self, event):
        part, own = event["event"], event.get("pingintelligence", {})
        is_error = part["kind"] == "pipeline_error"
        self.errors += is_error
        marker = self.marker_in(json.dumps(event))
        if marker:
            self.markers[marker] += 1
        elif part["dataset"] in self.datasets and part["id"] not in self.may:
            if is_error:  # an answer of another shape, which may be the same on another day
                return
            self.unknown.add(part["id"])
        self.ids[part["id"]] += 1
        query = own.get("query", {})
        if part["dataset"].endswith(".report") and query.get("earlier_date"):
            key = own.get("report"), own.get("api_name") or ""
            self.reports[key].append((query["earlier_date"], query["later_date"]))
            self.ids[tag(*key, query["earlier_date"])] += 1

    def marker_in(self, text):
        match = MARKER.search(text)
        if match:
            return match.group()
        hashed = (self.digests.get(digest, "") for digest in DIGEST.findall(text))
        return next(filter(None, hashed), "")


def gaps_of(key, ranges, withheld):
    """Return how many time ranges of a report do not begin where the one before ends, although the
    vendor did not leave one out."""
    ranges, number = sorted(ranges), 0
    for earlier, later in zip(ranges, ranges[1:]):
        is_gap = later[0] != earlier[1]
        number += is_gap and not withheld.intersection((tag(*key, earlier[1]), tag(*key, "")))
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vendor", choices=VENDORS, action="append")
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    good = True
    for name in options.vendor or VENDORS:
        began = time.monotonic()
        result = campaign(name, options.days, options.seed)
        print(f"{name}: {options.days:g} days in {time.monotonic() - began:.0f} s")
        for field, value in result._asdict().items():
            print(f"  {field}: {value}")
        good = good and result.is_good
    sys.exit(not good)


if __name__ == "__main__":
    main()
