"""PingIntelligence's pipelines on a real node: generated log lines and reports become the same
events as in Python, and show no secret."""

import json
import random
from functools import partial

from agent_sends import pieces
from ingest import ODD, TOOLS, differences, document, processed, put
from pingintelligence.attack_log import parse_log_line
from pingintelligence.attacks import Query, flatten
from pingintelligence.report_types import REPORTS
from pingintelligence.reports import record as report_record

from siemtap.core.compile import bind
from siemtap.core.convert import millis_of
from siemtap.core.manifest import fill_in
from siemtap.render import registry

LINE = {
    "timestamp": "1772618533417",
    "attack_identifier_type": "IP",
    "attack_value": "203.0.113.45",
    "attack_id": "8",
    "description": "API Probing Replay Attack Type 1",
    "attacked_api": "shop",
    "attack_scope": "SINGLE_API",
}
LOGGED = {
    "timestamp": (1772618533, "1772618533.5", "1772618533417", "soon", 1772618533417.0),
    "attack_identifier_type": (
        "Cookie",
        "oauth token",
        "API Key",
        "user name",
        "IP",
        "Fingerprint",
        " ip ",
        "a client's name",
        "client certificate",
        5,
    ),
    "attack_value": ("x" * 64, "ab" * 32, "secret", "203.0.113.9", "2001:db8::1", "anna"),
    "attack_id": (8, "8", "16", 999, "\u0664", "\u00b2", "08", "9" * 12),
    "attack_scope": ("MULTI_API", "multi", "x"),
    "protocol": ("HTTP", "ws"),
    "attacked_api": ("MULTI_API", "all", ""),
    "attack_key": ("JSESSIONID", ""),
}
HIDDEN = "EXAMPLE-SECRET-IN-CLEAR"
# Values under undocumented keys, with and without a secret.
FOREIGN = (
    HIDDEN,
    [HIDDEN],
    {"a": HIDDEN},
    {"cookies": {"JSESSIONID": [HIDDEN, 5]}, "ips": ["192.0.2.7", HIDDEN], "count": 3},
    [{"token": HIDDEN, "count": 2, "access_time": "x"}],
    f"/a?token={HIDDEN}",
    123456789,
    12345678901,
    2**70,
    -5,
    1e10,
    0.25,
    "12345678",
    "1234567890",
    "192.0.2.164:3001",
    "192.0.2.1:",
    True,
    None,
    "",
    {"path": f"/a;jsessionid={HIDDEN}", "user": "anna", "x": {"y": [[{"z": HIDDEN}]]}},
    {"": {"?": HIDDEN, "a?b": 1}},
    f"https://abs:{HIDDEN}@h/a",
    f"abs:{HIDDEN};@h/users/@me",
    "https://h/users/@me?",
    {"refreshTokens": {HIDDEN: 1}, "cookies": {"JSESSIONID": [5], "x y": [6], "z": 7}},
    {"jwt": [{HIDDEN: {"count": 1}, "count": 2, "": 3}]},
)
# Values under the name of a secret, with a secret as a key.
KEYED = (
    {HIDDEN: 9},
    {HIDDEN: {"count": 1}},
    [{HIDDEN: {"count": 1}, "method": "GET"}],
    {"a": [{HIDDEN: [1]}]},
)
KEYS = (
    "session_id",
    "new",
    "@who",
    "@when",
    "name",
    "line",
    "element",
    "identifier",
    "source",
    "cookie",
    "tokens",
    "a?b",
    "count",
    "details",
    "x\ty",
)
AROUND = (
    "session_id",
    "tokens",
    "api_keys",
    "cookie",
    "cookies",
    "jwt",
    "X-API-Key",
    "refresh_tokens",
)
BEFORE = (
    "pi-attack-info-",
    "pi-attack-info-",
    "",
    "Mar  4 10:02:13 abs01 pi-attack-info-",
    "a {b} ",
    f"{HIDDEN} ",
)


def generated_line(rng):
    """Return a line as ABS may write it, with odd parts."""
    entry = dict(LINE) if rng.random() < 0.9 else {}
    for name in rng.sample(list(LOGGED), rng.randint(0, len(LOGGED))):
        entry[name] = rng.choice(LOGGED[name]) if rng.random() < 0.9 else rng.choice(ODD)
    for name in rng.sample(KEYS, rng.choice((0, 0, 1, 3))):
        entry[name] = rng.choice(FOREIGN)
    if rng.random() < 0.2:
        entry[rng.choice(AROUND)] = rng.choice(KEYED)
    line = rng.choice(BEFORE) + json.dumps(
        entry,
        ensure_ascii=rng.random() < 0.5,
        separators=rng.choice(((",", ":"), (", ", ": "), (" ,\t", " : "))),
    )
    if rng.random() < 0.2:
        start = rng.choice((0, rng.randint(0, len(line) - 1)))
        line = line[start : rng.choice((len(line), rng.randint(start, len(line))))]
    if rng.random() < 0.05:
        line = line.replace('"', rng.choice(("'", '""', '\\"')), rng.choice((1, -1)))
    return line if line.strip() else "x"


def test_generated_log_lines(node):
    """Lines of attack.log. No secret is shown, wherever it is."""
    plugin, rng = registry.plugin("pingintelligence"), random.Random(7)
    dataset, arrived = plugin.datasets[0], "2026-03-04T10:05:00.000Z"
    put(node, plugin, dataset)
    for changed in ({"hash_identifiers": False}, {"role": "admin", "keep_original": True}):
        settings, sent, wanted = (
            fill_in(plugin.settings, changed),
            [generated_line(rng) for _ in range(2_000)],
            [],
        )
        map_record = bind(dataset, settings, {"data_stream.namespace": "default"})
        wanted = [
            map_record(record, millis_of(arrived), None)
            for line in sent
            for record in parse_log_line(line, settings)
        ]
        got = processed(
            node,
            dataset,
            [
                document(
                    plugin,
                    dataset,
                    settings,
                    "filestream",
                    {"message": line, "@timestamp": arrived},
                )
                for line in sent
            ],
        )
        difference = differences(wanted, got, sent)
        assert not difference, difference
        shown = [
            event
            for event in got
            if event.get("pingintelligence", {}).get("identifier", {}).get("type") != "username"
        ]
        assert not [
            (line, event)
            for line, event in zip(sent, got)
            if event in shown and HIDDEN.lower() in json.dumps(event).lower()
        ][:1]
        assert len({event["event"]["kind"] for event in got}) == 2


REPORTED = {
    "company": "ping identity",
    "attack_type": "Data Exfiltration Attack",
    "description": "client pulling an unusual\n amount of data",
    "api_name": "shop",
    "later_date": "Wed Mar 04 18:00:00:000 2026",
    "earlier_date": "Wed Mar 04 08:00:00:000 2026",
    "cookies": [
        {
            "cookie": "c1",
            "details": [
                {"access_time": "Wed Mar 04 08:44:13:417 2026", "attack_code": "varA(Tx, 26)"}
            ],
        }
    ],
    "ips": [{"ip": "192.0.2.50", "access_time": ["Wed Mar 04 08:44:59:935 2026"]}],
}


def test_generated_reports(node):
    """Attack reports, through the part of the program that splits them, and the report
    `metrics`."""
    plugin, rng = registry.plugin("pingintelligence"), random.Random(7)
    settings, until = (
        fill_in(plugin.settings, {"keep_original": True, "report_details": True}),
        "2026-03-04T18:00:00.000Z",
    )
    reports = []
    for number in range(400):
        # each piece has its own id
        report = json.loads(
            json.dumps(REPORTED).replace("08:44", f"{number // 60:02d}:{number % 60:02d}")
        )
        for place in rng.sample(
            [report, report["cookies"][0], report["cookies"][0]["details"][0], report["ips"][0]], 2
        ):
            place[
                rng.choice(
                    [key for key in KEYS if key not in ("details", "cookie", "tokens", "name")]
                )
            ] = rng.choice(
                [value for value in FOREIGN if not isinstance(value, int) or abs(value) < 2**53]
            )
        if rng.random() < 0.3:
            rng.choice(
                [report, report["cookies"][0], report["cookies"][0]["details"][0], report["ips"][0]]
            )[rng.choice([key for key in AROUND if key != "cookie"])] = rng.choice(KEYED)
        reports.append(
            report
            if rng.random() < 0.9
            else rng.choice(
                (
                    [HIDDEN],
                    {"verdicts": [{"jwt": HIDDEN}]},
                    {"tokens": [{HIDDEN: 9}]},
                    {"tokens": [{"token": {HIDDEN: 9}, HIDDEN: [], "count": 1}]},
                    {"x": {"cookie": {"a": HIDDEN}}, "n": 5},
                )
            )
        )
    dataset = plugin.datasets[0]
    put(node, plugin, dataset)
    map_record, wanted, docs = bind(dataset, settings, {"data_stream.namespace": "default"}), [], []
    sent_by_program = partial(
        document,
        plugin,
        settings=settings,
        channel="cel",
        tags=["preserve_original_event"],
        until=until,
    )
    for report in reports:
        wanted += [
            map_record(record, millis_of(until), None)
            for record in flatten([report], Query(0, "shop"), settings)
        ]
    docs = [
        sent_by_program(dataset, body={"message": json.dumps({**piece["record"], "count": 1})})
        for piece in pieces(TOOLS / "mito", reports, 0, "shop", settings)
    ]
    got = processed(node, dataset, docs)
    difference = differences(wanted, got)
    assert not difference, difference
    assert HIDDEN not in json.dumps(got) and len(got) > 500
    dataset = plugin.dataset("pingintelligence.report")
    put(node, plugin, dataset)
    map_record, bodies = (
        bind(dataset, settings, {"data_stream.namespace": "default"}),
        [
            {"name": "api_metrics", "summary": {"total_requests": 3}, "details": report}
            for report in reports
        ],
    )
    wanted = [
        map_record(record, millis_of(until), None)
        for body in bodies
        for record in report_record(
            REPORTS["metrics"], body, "shop", "a", "b", millis_of(until), settings
        )
    ]
    got = processed(
        node,
        dataset,
        [
            sent_by_program(
                dataset,
                body={
                    "message": json.dumps(
                        {
                            "body": body,
                            "name": "api_metrics",
                            "api": "shop",
                            "earlier": "a",
                            "later": "b",
                        }
                    )
                },
                report_details=True,
            )
            for body in bodies
        ],
    )
    difference = differences(wanted, got, bodies)
    assert not difference, difference
    assert HIDDEN not in json.dumps(got)
