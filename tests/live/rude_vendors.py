"""What the campaign of rude vendors (rude_vendor.py) knows of each vendor."""

from __future__ import annotations

import base64
import json
import random
from urllib.parse import parse_qsl, urlsplit

import trend_vision_one
from pingintelligence.report_types import REPORTS
from rude_vendor import DEEP, MUTANTS, WRONG, mutated, tag
from trend_vision_one import simulator_events

from siemtap.core.convert import instant, millis_of
from siemtap.core.identity import identify
from siemtap.core.rows import paths_read
from siemtap.core.windows import HOUR, MINUTE
from siemtap.edge.client.messages import Request
from siemtap.testing.vendor import within


class Vendor:
    """What the campaign knows of a vendor: what its answers hold, and how to spoil them."""

    requests_until_outage = 5_000

    def may(self, rude, start, stop):
        """Return the ids that may be delivered."""
        return rude.ledger(start, stop)

    def behind(self, simulated, request, honest, now):
        """Return the ids on the pages behind an answer, which are not asked for if it has no
        link."""
        return set()

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


class TrendVisionOne(Vendor):
    name, nothing = "trend_vision_one", {"totalCount": 0, "count": 0, "items": []}
    datasets = {"trend_vision_one.alert", "trend_vision_one.detection"}
    requests_until_outage = 3_000
    knobs = {"late": [0.0, 0.0, 20.0, 83.0], "link_life": 1_200.0}
    settings = {"lookback": "3h", "interval": "5m"}
    margin, overlap = 10 * MINUTE, 5 * MINUTE

    def query_of(self, request):
        """Return the query of the first page."""
        query = dict(parse_qsl(urlsplit(request.url).query))
        if "skipToken" in query:
            query = {**json.loads(base64.urlsafe_b64decode(query["skipToken"])), "page": "next"}
        return query

    def call_of(self, request):
        return f"{urlsplit(request.url).path} {self.query_of(request).get('page', 'first')}"

    def window_of(self, request):
        query = self.query_of(request)
        names = ("startDateTime", "endDateTime")
        if request.url.partition("?")[0].endswith("detections"):
            names = ("ingestedStartDateTime", "ingestedEndDateTime")
        start, stop = (millis_of(instant(query[name])) for name in names)
        return start, stop

    def start_of(self, request):
        return self.window_of(request)[0]

    def knobs_of(self, seed):
        return self.knobs

    def revoke(self, simulated, request):
        request.headers["Authorization"] = "Bearer revoked"

    def ids(self, simulated, request, honest, now):
        """Without alerts of a next page: the shipper leaves it out if one of them has changed, and
        then only the ledger has them, as they are."""
        is_alert = self.is_alert(request)
        if is_alert and "skipToken" in request.url:
            return set()
        return self.ids_in(is_alert, honest)

    def is_alert(self, request):
        return request.url.partition("?")[0].endswith("alerts")

    def ids_in(self, is_alert, honest):
        dataset = "trend_vision_one.alert" if is_alert else "trend_vision_one.detection"
        keys = ("id", "updatedDateTime") if is_alert else ("uuid", "ingestedDateTime")
        items = json.loads(honest.body)["items"]
        return {identify(dataset, [item[key] for key in keys]) for item in items}

    def behind(self, simulated, request, honest, now):
        is_alert = self.is_alert(request)
        ids = self.ids_in(is_alert, honest)
        while link := json.loads(honest.body).get("nextLink"):
            honest = simulated.answer(Request("GET", link, request.headers), now)
            ids |= self.ids_in(is_alert, honest)
        return ids

    def may(self, rude, start, stop):
        """Alerts in each of their versions."""
        return rude.ledger(start, stop) | {
            identify("trend_vision_one.alert", [alert["id"], alert["updatedDateTime"]])
            for _, alert in simulator_events.alerts(start, stop, odd=False)
        }

    def lists(self, body):
        return [body["items"]] if isinstance(body, dict) else []

    def add_mutants(self, rude, request, body, now):
        if "skipToken" in request.url:  # they are on the first page
            return set()
        is_alert, markers = self.is_alert(request), set()
        key = "alert" if is_alert else "detection"
        keys = ("id", "updatedDateTime") if is_alert else ("uuid", "ingestedDateTime")
        paths = paths_read(trend_vision_one.PLUGIN.dataset(f"trend_vision_one.{key}"))
        for luck, time, marker in self.mutants(rude, key, *self.window_of(request), now):
            if is_alert:
                state = simulator_events.CHANGES[0][1:]
                record = simulator_events.alert(luck.randrange(10_000), time, time, state, False)
            else:
                age = luck.choice((MINUTE, 5 * HOUR))
                number = luck.randrange(10_000)
                record = simulator_events.detection(number, time - age, time, False)
            record[keys[0]] = marker
            record = mutated(luck, record, paths, [luck.choice(keys)])  # one is its identity
            body["items"].append({**record, "campaign": marker})
            markers.add(marker)
        return markers


VENDORS = {vendor.name: vendor for vendor in (Apptrana(), PingIntelligence(), TrendVisionOne())}
