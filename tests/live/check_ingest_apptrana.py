"""AppTrana's pipelines on a real node: generated records become the same events as in Python."""

import json
import random

import pytest
from ingest import ADDRESSES, ODD, TIMES, differences, document, processed, put

from siemtap.core.compile import bind
from siemtap.core.convert import millis_of
from siemtap.core.manifest import fill_in
from siemtap.core.rows import Given
from siemtap.render import registry

WORDS = {
    "attackerIP": ADDRESSES,
    "attackTime": (
        1772618533091,
        1772618533,
        1772618533.091,
        "1772618533.0919",
        "04/Mar/2026:10:02:13 +0000",
        "[04/Mar/2026:10:02:13,5 -0530]",
        "31/Feb/2026:10:02:13",
        "04/mar/2026:10:02:13",
        "2026-03-04T10:02:13.417Z",
        "2026-03-04 10:02:13",
        "2026-03-04T10:02Z",
        "2026-03-04T10:02:13,5+0530",
        "2026-03-04T23:59:59.999-08:00",
        "2026-02-30T10:00:00Z",
        "2026-03-04",
        "soon",
        "2026-03-04T10:02:13.123456789Z",
        *TIMES,
    ),
    "requestHeader": (
        '"Host":"a","User-Agent":"b"',
        '"Host":"a", "Host":"b"',
        '"Cookie":"secret","X":"-"',
        '"X":"a "quoted" word","Cookie":"s"',
        "Cookie: s=1",
        '"A":1,"B":[1,{"c":null}],"C":2.5',
        '"A":"\\u00fc\\n\\"","Referer":"r"',
        '"A":"1",',
        '"Content-Type":"Text/HTML; charset=x"',
        ",,{}",
        '"A":"x","a":"y"',
        '"Set-Cookie":"x","authorization":"y"',
        '{"A":"b"}',
        '"A":"tab\there"',
        '"A":"1","A":"2","a":"3"',
        '"name":"Cookie","value":"s","name":"Host"',
        '"a":"b"a":"b"a":"b"a":"bz',
        '"A":"b" Cookie s", "C":"d:e"',
        '"A" : "b"c=d" ,"\u0130cookie":"x"',
        "Bearer s3cret",
        "X-Token: s",
        " {'a': 1}",
        "s3cret",
        "a" * 65,
        '\u0130 cookie \\\\" = s',
    ),
    "responseHeader": (
        '"Content-Length":"12"',
        '"Content-Length":"-1"',
        '"Content-Length":"1234567890123456"',
        '"Content-Type":";"',
        "nothing",
    ),
    "tlsVersion": ("TLSv1.2", "tls1.2", "SSLv3", "TLSv1."),
    "requestProtocol": ("HTTP/1.1", "HTTP", "h2", "HTTP/2"),
    "attackUri": (
        "/a?b=c?d",
        "?x",
        "/",
        "//",
        " /a b ",
        "https://h/a?b",
        "HTTP://u:p@[2001:db8::1]:8443?x",
        "https://u:p/w@h:1/",
        "x+y://h:99999/",
        "https://h h/@",
        "1a://h",
        "a://b@",
    ),
    "hostName": ("h", "h:443", "[2001:db8::1]:1", "2001:db8::1", "h:x", "a@b", "h "),
    "severity": ("2", 2, "9", 2.0, "x"),
    "eventType": ("Block", "Log", "Alert", "BLOCK", " blocked ", "logged"),
    "target": (
        "REQUEST_COOKIES:sid",
        "REQUEST_COOKIES_NAMES:sid",
        "REQUEST_HEADERS:Authorization",
        "ARGS:\u0130",
        ["RESPONSE_HEADERS:Set-Cookie"],
    ),
    "statusCode": (200, "406", 0, "0", "x"),
    "attackData": (
        "x" * 8_192,
        "😀" * 8_193,
        "y" * 9_000,
        "Matched Data: a found within REQUEST_COOKIES:b: c",
        "found within ",
        ["a", {"Cookie": "b"}],
    ),
    "attackerGeo": ("in", "IN", "IND", "India"),
    "requestId": ("a b", 5, " "),
}

HIDDEN = (
    {"Cookie": "s"},
    {"a": [{" COOKIE ": ["s"], "b": {"c": "Cookie: s"}}]},
    [{"name": "Cookie", "value": "s", "n": 1}],
    {"Key": " authorization ", "x": {}},
    ["Cookie", "s"],
    ["Cookie", "s", "t"],
    {"Vary": "Cookie", "b": 2.5},
    '"Cookie":"s"',
    '{"name":"Cookie","value":"s"}',
    '"h": {"Cookie":"s"}',
    '"h": [{"name":"Cookie","value":"s"}],"a":"b"',
    '"name":"Cookie","value":"s"',
    '"header":"-","Name":"set-cookie","v":"s"',
    "a, Cookie, b",
    "Cookie=s",
    "{'Cookie': 's'}",
)


def test_generated_records(node):
    """Odd values in every field, in random combinations: the Painless functions reject what the
    Python converters reject."""
    plugin, rng = registry.plugin("apptrana"), random.Random(7)
    dataset, settings = (
        plugin.datasets[0],
        fill_in(plugin.settings, {"client_id": "x", "client_secret": "y"}),
    )
    put(node, plugin, dataset)
    map_record = bind(dataset, settings, {"data_stream.namespace": "default"})
    names = sorted(
        {
            name
            for row in dataset.rows
            if not isinstance(row, Given)
            for name in ([row.source] if isinstance(row.source, str) else row.source)
        }
        | {"attackTime", "websiteName"}
    )
    records = []
    for _ in range(3_000):
        record = {"attackTime": "2026-03-04T10:02:13.417Z"} if rng.random() < 0.8 else {}
        for name in rng.sample(names, rng.randint(1, len(names))):
            record[name] = (
                rng.choice(WORDS[name]) if name in WORDS and rng.random() < 0.6 else rng.choice(ODD)
            )
        if rng.random() < 0.2:
            record[rng.choice(("new", "cookie", "Authorization"))] = rng.choice(ODD)
        if rng.random() < 0.3:
            record[rng.choice(("new", " Cookie ", "requestHeaders", *names))] = rng.choice(HIDDEN)
        records.append(record)
    until = "2026-03-04T10:05:00.000Z"
    wanted = [map_record(record, millis_of(until), None) for record in records]
    got = processed(
        node,
        dataset,
        [
            document(plugin, dataset, settings, "cel", {"message": json.dumps(record)}, until=until)
            for record in records
        ],
    )
    difference = differences(wanted, got, records)
    assert not difference, difference


LONG = (
    '"a":"b',
    '"',
    '":"',
    '"a":1,',
    '"a" : "b" ; ',
    "cookie ",
    "\\",
    "1.2.3.4:5, ",
)


@pytest.mark.parametrize("length", [30_000, 60_000])
def test_long_texts_become_the_same_event(node, length):
    """A regular expression would reach the node's limit, and the record would be lost."""
    plugin = registry.plugin("apptrana")
    dataset = plugin.datasets[0]
    settings = fill_in(plugin.settings, {"client_id": "x", "client_secret": "y"})
    put(node, plugin, dataset)
    map_record = bind(dataset, settings, {"data_stream.namespace": "default"})
    texts = [piece * (length // len(piece)) + end for piece in LONG for end in ("", "z")]
    names = ("requestHeader", "responseHeader", "attackerIP", "attackData", "target")
    records = [
        {"attackTime": "2026-03-04T10:02:13.417Z", "requestId": "r", **dict.fromkeys(names, text)}
        for text in texts
    ]
    until = "2026-03-04T10:05:00.000Z"
    wanted = [map_record(record, millis_of(until), None) for record in records]
    assert all(event["event"]["kind"] != "pipeline_error" for event in wanted)
    sent = [
        document(plugin, dataset, settings, "cel", {"message": json.dumps(record)}, until=until)
        for record in records
    ]
    difference = differences(wanted, processed(node, dataset, sent), records)
    assert not difference, str(difference)[:3000]
