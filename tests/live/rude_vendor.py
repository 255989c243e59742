"""A simulated vendor whose answers go wrong at random: late, repeated, out of order, empty,
enormous, cut, of the wrong type, HTML, without the right token.

What it says is written down: `served` are the ids in answers that can be read, `withheld` those
that an answer left out though it looked like a success, `shown` the markers of records of the wrong
shape, which are added to honest answers.
"""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from typing import NamedTuple
from urllib.parse import urlsplit

from siemtap.core.windows import DAY, HOUR
from siemtap.testing.simulation import Answer, Fault

WRONG = (
    None,
    True,
    0,
    -1,
    2**70,
    3.5,
    "",
    " ",
    "\x00\x1b[31m\u2028",
    "\ud800",
    "x" * 40_000,
    [],
    {},
    [[]],
    ["a", 1, None, {"b": []}],
    {"": ""},
    {"a": {"b": {"c": [1, {"d": None}]}}},
    "2026-13-45T99:99:99Z",
    "0.0.0.0.0",
)
DEEP = json.loads('{"deep":' * 600 + "1" + "}" * 600)
ELEMENTS = (None, True, 7, "a text", [], [[1]], {}, {"a": {"b": []}})  # instead of a record
SHAPES = (b"null", b"[]", b"{}", b"true", b"17", b'"Success"', b'{"data":"no"}', b'{"data":[null]}')
SHAPES += (b'{"items":{}}', b'[{"ips":7}]', b"[null]", b'{"error":"later"}', b"[" * 5_000)
STATUSES = (408, 413, 425, 429, 429, 500, 500, 502, 503, 503, 504)
REFUSALS = (400, 401, 403, 404)  # of what is in order, for a moment
MANY = b"[" + b"0," * 4_000_000 + b"0]"
PADDING = b" " * 12_000_000
MUTANTS = 0.02  # of a minute and call
STEP = re.compile(r"(?:\[[^\]]*\])?\.|\[[^\]]*\]")  # between the keys of a path, such as "[]."

# fmt: off
FAULTS = {  # name -> weight
    "status": 6, "refusal": 1, "html": 2, "cut": 2, "late": 2, "drip": 1, "truncated": 2, "shape": 2, "empty": 1, "nothing": 1, "stale": 1, "many": 0.1,
    # these can be read
    "twice": 2, "shuffled": 2, "bom": 1, "padded": 0.1,
}
# fmt: on
LIES = ("nothing", "empty", "shape", "stale")  # may look like a success that holds nothing
OUTAGES = ("status", "html", "cut", "late", "truncated", "token")


class Earlier(NamedTuple):
    """An answer that was given before: its ids, and the start of the time it was asked for."""

    answer: Answer
    ids: set
    start: int


class RudeVendor:
    """A simulator behind random faults. share: of the answers that go wrong. quiet: no faults."""

    def __init__(self, simulated, vendor, seed, share):
        self.simulated, self.vendor, self.share = simulated, vendor, share
        self.seed, self.luck = seed, random.Random(f"{seed}/{vendor.name}")
        self.lock = threading.RLock()
        self.quiet, self.outage, self.outage_ends = False, "", 0
        self.served, self.withheld, self.shown = set(), set(), set()
        self.counts, self.requests = Counter(), 0
        self.before = {}  # call -> an earlier answer

    def settings(self, url):
        return self.simulated.settings(url)

    def ledger(self, start, stop):
        """Return the ids of what happened from start to stop; the vendor forgets what is old."""
        parts = range(start, stop, 5 * DAY)
        each = (
            self.simulated.ledger(part + 6 * DAY, part - 1, min(part + 5 * DAY, stop))
            for part in parts
        )
        return set().union(*each)

    def answer(self, request, now):
        with self.lock:
            self.requests += 1
            self.simulated.requests.clear()
            fault = self.next_fault(now)
            if fault == "token":
                self.vendor.revoke(self.simulated, request)
            honest = self.simulated.answer(request, now)
            if honest.status != 200 or "oken" in urlsplit(request.url).path:  # a login
                return self.wrong(fault, honest, now) if fault in ("status", "html") else honest
            return self.spoiled(fault, request, honest, now)

    def next_fault(self, now):
        """Return the name of a fault, or ""."""
        if self.quiet:
            return ""
        if now < self.outage_ends:
            self.counts[f"outage {self.outage}"] += 1
            return self.outage
        # an outage of one to six hours, every three days or so
        if self.luck.random() < 1 / self.vendor.requests_until_outage:
            self.outage = self.luck.choice(OUTAGES)
            self.outage_ends = now + int(self.luck.uniform(1, 6) * HOUR)
        if self.luck.random() > self.share:
            return ""
        fault = self.luck.choices(list(FAULTS), list(FAULTS.values()))[0]
        self.counts[fault] += 1
        return fault

    def spoiled(self, fault, request, honest, now):
        """Return the answer that goes out, and write down what it says."""
        call = self.vendor.call_of(request)
        ids = self.vendor.ids(self.simulated, request, honest, now)
        start = self.vendor.start_of(request)
        earlier = self.before.get(call)
        self.before[call] = Earlier(honest, ids, start)
        if fault in ("", "twice", "shuffled", "bom", "padded", "token"):
            self.served |= {id for id in ids if not id.endswith(" ")}  # a report without hours
            return self.readable(fault, request, honest, now)
        if fault in LIES:
            body = json.loads(honest.body) if honest.body else None
            self.withheld |= ids | self.vendor.add_mutants(self, request, body, now)
            self.withheld |= self.vendor.behind(self.simulated, request, honest, now)
        # One of a time that is not read again any more would bring its events again.
        if fault == "stale" and earlier and start - earlier.start <= self.vendor.overlap // 2:
            self.served |= earlier.ids
            return earlier.answer
        return self.wrong(fault, honest, now)

    def readable(self, fault, request, honest, now):
        body = json.loads(honest.body) if honest.body else None
        markers = self.vendor.add_mutants(self, request, body, now)
        self.shown |= markers
        if fault in ("twice", "shuffled"):
            for records in self.vendor.lists(body):
                if fault == "twice":
                    records += records
                self.luck.shuffle(records)
        text = json.dumps(body).encode() if honest.body else b""
        if fault == "bom":
            text = b"\xef\xbb\xbf" + text
        elif fault == "padded":
            text = PADDING + text
        return honest._replace(body=text)

    def wrong(self, fault, honest, now):
        """Return an answer that cannot be read, or says too little."""
        luck, body = self.luck, honest.body
        if fault == "status":
            after = luck.choice(("", "", "3", "120", "date:30", "soon", "-5"))
            return Fault(
                status=luck.choice(STATUSES),
                body=luck.choice(("list", "text", "other", "html", "empty", "truncated")),
                retry_after=after,
            ).answer(now)
        if fault == "refusal":
            shape = luck.choice(("list", "other", "html"))
            return Fault(status=luck.choice(REFUSALS), body=shape).answer(now)
        if fault == "html":
            return Fault(status=luck.choice((200, 200, 403, 502)), body="html").answer(now)
        if fault == "truncated":
            return honest._replace(body=body[: luck.randrange(1, max(2, len(body) - 1))])
        if fault == "nothing":
            return honest._replace(body=json.dumps(self.vendor.nothing).encode())
        # what is left: a part of the answer, or none; "stale" without an earlier answer, too
        changes = {
            "cut": {"cut": 3},
            "late": {"delay": 1_000.0},
            "drip": {"drip": 9.0, "body": body + b"  "},
            "shape": {"body": luck.choice(SHAPES)},
            "empty": {"body": b""},
            "many": {"body": MANY},
        }
        return honest._replace(**changes.get(fault, {"body": b"{"}))


def mutated(luck, record, paths, fixed=()):
    """Return a record with some fields of the wrong type, as the dataset's rows name them; keys
    are missing or new, too. fixed: keys that stay."""
    record = json.loads(json.dumps(record))
    names = [name for name in {*paths, *record} if STEP.split(name)[0] not in fixed]
    for name in luck.sample(sorted(names), luck.choice((1, 1, 2, 3))):
        *above, last = steps_to(luck, name)
        place = record
        for step in above:
            place = place.get(step)
            place = place[0] if isinstance(place, list) and place else place
            if not isinstance(place, dict):  # what is above it is of the wrong type already
                place, last = record, above[0]
                break
        if luck.random() < 0.2:
            place.pop(last, None)
        else:
            place[last] = json.loads(json.dumps(luck.choice((*WRONG, DEEP))))
    return record


def steps_to(luck, path):
    """Return the keys that lead to a field, or to something above it."""
    keys = [key for key in STEP.split(path) if key]
    return keys[: luck.randint(1, len(keys))] if len(keys) > 1 else keys


def tag(name, api, start):
    """Return what identifies a report: its name, API and the start of its hours."""
    return f"report {name} {api or ''} {start}"
