"""A simulated vendor whose answers go wrong at random: late, repeated, out of order, empty,
enormous, cut, of the wrong type, HTML, without the right token.

What it says is written down: `served` are the ids in answers that can be read, `withheld` those
that an answer left out though it looked like a success, `shown` the markers of records of the wrong
shape, which are added to honest answers.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pingintelligence.report_types import REPORTS

from siemtap.core.convert import instant, millis_of
from siemtap.core.rows import paths_read
from siemtap.core.windows import DAY, HOUR, MINUTE
from siemtap.testing.simulation import Answer, Fault
from siemtap.testing.vendor import within

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
            if honest.status != 200 or "oken" in request.url:  # a login
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
    record = dict(record)
    names = [name for name in {*paths, *record} if name not in fixed]
    for name in luck.sample(sorted(names), luck.choice((1, 1, 2, 3))):
        if luck.random() < 0.2:
            record.pop(name, None)
        else:
            record[name] = luck.choice((*WRONG, DEEP))
    return record


def tag(name, api, start):
    """Return what identifies a report: its name, API and the start of its hours."""
    return f"report {name} {api or ''} {start}"


class Vendor:
    """What the campaign knows of a vendor: what its answers hold, and how to spoil them."""

    requests_until_outage = 5_000

    def call_of(self, request):
        """Return what a request asks for, without its time range."""
        parts = urlsplit(request.url)
        query = {name: value for name, value in parse_qsl(parts.query) if "date" not in name}
        return f"{parts.path} {query}"

    def mutants(self, rude, key, start, stop, now):
        """Yield (generator, time, marker) for each mutant with start <= time <= stop. They are a
        function of the minute, so that a time that is read again has the same."""
        for minute in range(start // MINUTE, stop // MINUTE + 1):
            luck = random.Random(f"{rude.seed}/{key}/{minute}")
            time = minute * MINUTE + luck.randrange(1, 60) * 1000 + 7
            if luck.random() < MUTANTS and start <= time <= stop and time <= now:
                yield luck, time, f"mutant-{key}-{minute}"


class Apptrana(Vendor):
    name, nothing = "apptrana", {"successMessage": "Success", "data": []}
    datasets = {"apptrana.attack"}
    settings = {"concurrency": 1, "lookback": "1h", "datasets": ["attack", "activity"]}
    knobs = {"rate": 1.0, "late": [0.0, 0.0, 20.0, 83.0], "order": "shuffled"}
    margin, overlap = 5 * MINUTE, 225_000

    def start_of(self, request):
        asked = json.loads(request.body)
        if "startTime" in asked:
            return int(asked["startTime"])
        return millis_of(instant(asked["startDate"].replace("Z", ":00Z")))

    def knobs_of(self, seed):
        return {**self.knobs, "seed": seed}

    def revoke(self, simulated, request):
        simulated.revoked.add(request.headers.get("Authorization", "")[7:])

    def ids(self, simulated, request, honest, now):
        if not request.url.endswith("getAttackInfo"):
            return set()
        from apptrana.simulator_attacks import Attack

        rows = json.loads(honest.body).get("data") or []
        return {
            Attack(0, 0, row["websiteName"].strip(), record).id
            for row in rows
            for record in row["attacks"]
        }

    def lists(self, body):
        return [row["attacks"] for row in body.get("data") or []] if isinstance(body, dict) else []

    def add_mutants(self, rude, request, body, now):
        if not request.url.endswith("getAttackInfo"):
            return set()
        from apptrana import PLUGIN

        paths = paths_read(PLUGIN.dataset("apptrana.attack"))
        asked = json.loads(request.body)
        markers = set()
        window = int(asked["startTime"]), int(asked["endTime"])
        for luck, time, marker in self.mutants(rude, "attack", *window, now):
            record = rude.simulated.record(luck, "shop.example.com", time)
            record = mutated(luck, record, paths, ("requestId", "websiteName"))
            if luck.random() < 0.2:
                record.pop("requestId")  # then the whole record is its identity
            else:
                record["requestId"] = marker
            body["data"][0]["attacks"].append({**record, "campaign": marker})
            markers.add(marker)
        return markers


class PingIntelligence(Vendor):
    name, nothing = "pingintelligence", []
    datasets = {"pingintelligence.attack"}
    requests_until_outage = 15_000
    knobs = {
        "late": [0.0, 600.0, 1500.0],
        "rate": 0.01,
        "role": "admin",
        "real_time_in_zero": False,
    }
    settings = {
        "concurrency": 1,
        "reports": sorted(REPORTS),
        "report_details": True,
        "lookback": "2h",
    }
    margin, overlap = 45 * MINUTE, 30 * MINUTE

    def start_of(self, request):
        query = dict(parse_qsl(urlsplit(request.url).query))
        text = query.get("earlier_date") or query.get("ealier_date")
        return millis_of(instant(f"{text}:00Z")) if text else 0

    def knobs_of(self, seed):
        return self.knobs

    def revoke(self, simulated, request):
        for name in [name for name in request.headers if name.startswith("x-abs")]:
            request.headers[name] = "revoked"

    def ids(self, simulated, request, honest, now):
        parts = urlsplit(request.url)
        query = dict(parse_qsl(parts.query))
        if not parts.path.endswith("/abs/attack"):
            return self.report_in(query, honest)
        start, stop = (simulated.parse_date(query[f"{n}_date"]) for n in ("earlier", "later"))
        return {
            simulated.id_of(attack)
            for attack in simulated.happened(query.get("api", ""), start, stop + MINUTE)
            if attack.readable <= now
            and within(simulated.knobs.edges, attack.time, start, stop)
            and simulated.has_type(attack, int(query["type"]))
        }

    def report_in(self, query, honest):
        """Return the tag of another report, as `tag` writes it."""
        body = json.loads(honest.body)
        start = query.get("earlier_date") or query.get("ealier_date")
        if "name" not in body or body["name"] == "api_admin":
            return set()
        return {tag(body["name"], query.get("api"), start or "")}

    def lists(self, body):
        if isinstance(body, list):
            return [body]
        return [value for value in (body or {}).values() if isinstance(value, list)]

    def add_mutants(self, rude, request, body, now):
        parts = urlsplit(request.url)
        query = dict(parse_qsl(parts.query))
        if parts.path.endswith("/abs/attack") and query.get("type") == "0":
            return self.add_attacks(rude, query, body, now)
        is_other = "abs/attack" not in parts.path and "admin" not in parts.path
        if is_other and isinstance(body, dict) and not rude.quiet and rude.luck.random() < 0.1:
            name = rude.luck.choice([key for key in body if key != "name"])
            body[name] = rude.luck.choice((*WRONG, DEEP))
        return set()

    def add_attacks(self, rude, query, body, now):
        simulated, markers = rude.simulated, set()
        start, stop = (simulated.parse_date(query[f"{n}_date"]) for n in ("earlier", "later"))
        api = query.get("api", "")
        for luck, time, marker in self.mutants(rude, f"abs {api}", start, stop, now - 25 * MINUTE):
            detail = {"access_time": simulated.timestamp(time), "attack_code": "varA(Tx, 25)"}
            detail["attack_deviation"] = "varA(700%)"
            element = {"username": marker, "campaign": marker, "details": [detail]}
            report = {
                "company": "ping identity",
                "api_name": api or "all",
                "attack_type": "Data Exfiltration",
                "usernames": [element],
            }
            place = luck.choice(("element", "detail", "report"))
            wrong = luck.choice((*WRONG, DEEP))
            if place == "element":
                element[luck.choice(("details", "access_time", "n", "ip"))] = wrong
            elif place == "detail":
                detail[luck.choice(("access_time", "attack_code", "attack_deviation"))] = wrong
            else:
                report[luck.choice(("company", "description", "attack_type", "other"))] = wrong
            body.append(report)
            markers.add(marker)
        return markers


VENDORS = {vendor.name: vendor for vendor in (Apptrana(), PingIntelligence())}
