"""The pipelines of Elastic's packages on a real node: every record of every case becomes the event that the Python mapping makes of it, id included."""

import json
import random
from importlib import import_module

import pytest
import requests
from search_node import Node

from cases import folders, played
from siemtap.core.convert import millis_of
from siemtap.core.manifest import fill_in
from siemtap.core.mapping import Given
from siemtap.render import painless
from siemtap.runners import plugins

DATASETS = ("apptrana.attack",)


@pytest.fixture(scope="module")
def node():
    with Node() as found:
        yield found


def put(node, dataset):
    """The dataset's mapping as a pipeline."""
    source = painless.script(dataset, import_module(f"{dataset.namespace}.ingest").TWINS)
    assert len(source.encode()) < 65_535, "Elasticsearch takes no longer script"
    answer = requests.put(f"{node.url}/_ingest/pipeline/{dataset.name}", json={"processors": [{"script": {"tag": "mapping", "lang": "painless", "source": source}}]}, timeout=60)
    assert answer.ok, answer.text[:3000]


def made(node, dataset, rows):
    """What the pipeline makes of (settings, record, end of its window, namespace)."""
    docs = [{"_source": {"_record": record, "_conf": {**{name: getattr(settings, name) for name in painless.settings_of(dataset)}, "until": until, "also": {"data_stream.namespace": namespace}}}}
            for settings, record, until, namespace in rows]
    answer = requests.post(f"{node.url}/_ingest/pipeline/{dataset.name}/_simulate", data=json.dumps({"docs": docs}), headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.ok, answer.text[:3000]
    return [one["doc"]["_source"] if "doc" in one else one for one in answer.json()["docs"]]


def differences(names, wanted, got):
    found = {}
    for name, one, other in zip(names, map(flat, wanted), map(flat, got)):
        if one != other:
            found.setdefault(name, []).append({key: (one.get(key), other.get(key)) for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)})
    kinds = {path: (number, str(pair)[:300], name[:1500]) for number, path, pair, name in ((sum(path in one for all in found.values() for one in all), path, pair, name) for name, all in found.items() for one in all for path, pair in one.items())}
    return f"{len(found)} records: {json.dumps(kinds, indent=1)}"[:6000] if found else ""


@pytest.mark.parametrize("name", DATASETS)
def test_every_record_of_every_case(node, name):
    plugin = plugins.plugin(name.partition(".")[0])
    dataset = plugin.dataset(name)
    put(node, dataset)
    rows = [(folder.name, *one) for folder in folders() if folder.parents[1].name == plugin.name for one in played(folder, plugin) if one[1] is dataset]
    got = made(node, dataset, [(settings, record, until, event["data_stream"]["namespace"]) for _, settings, _, record, until, event in rows])
    said = differences([row[0] for row in rows], [row[-1] for row in rows], got)
    assert len(rows) > 25 and not said, said


ODD = (None, "", "-", " - ", 0, 1, -5, 2.0, 2.5, True, False, [], ["x"], {}, {"a": 1}, "x", " x\u00a0", "\u2003", "1.0", "07", "-3", "Ünïcödé 😀", "a\x00b\x7f\x85", "\ufeff", "2026-03-04T10:02:13.417Z", "'\"\\/")
WORDS = {
    "attackerIP": ("203.0.113.9", "256.1.1.1", "1.2.3", "01.2.3.4", "2001:DB8::0001", "::", "::1", "1::", "2001:db8:0:0:1:0:0:1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "::ffff:192.0.2.1", "64:ff9b::192.0.2.33",
                   "fe80::1%eth0", "1:::2", "12345::", "2001:db8::1::2", "0:0:0:0:0:0:0:0", "1:0:0:2:0:0:0:3", "1::2:3:4:5:6:7", ":1:2:3:4:5:6:7"),
    "attackTime": ("2026-03-04T10:02:13.417Z", "2026-03-04 10:02:13", "2026-03-04T10:02Z", "2026-03-04T10:02:13,5+0530", "2026-03-04T23:59:59.999-08:00", "2026-02-30T10:00:00Z", "2026-03-04", "soon", "2026-03-04T10:02:13.123456789Z"),
    "requestHeader": ('"Host":"a","User-Agent":"b"', '"Host":"a", "Host":"b"', '"Cookie":"secret","X":"-"', '"X":"a "quoted" word","Cookie":"s"', "Cookie: s=1", '"A":1,"B":[1,{"c":null}],"C":2.5', '"A":"\\u00fc\\n\\"","Referer":"r"',
                      '"A":"1",', '"Content-Type":"Text/HTML; charset=x"', ",,{}", '"A":"x","a":"y"', '"Set-Cookie":"x","authorization":"y"', '{"A":"b"}', '"A":"tab\there"'),
    "responseHeader": ('"Content-Length":"12"', '"Content-Length":"-1"', '"Content-Length":"1234567890123456"', '"Content-Type":";"', "nothing"),
    "tlsVersion": ("TLSv1.2", "tls1.2", "SSLv3", "TLSv1."), "requestProtocol": ("HTTP/1.1", "HTTP", "h2", "HTTP/2"), "attackUri": ("/a?b=c?d", "?x", "/", "//", " /a b "), "severity": ("2", 2, "9", 2.0, "x"),
    "eventType": ("Block", "Log", "Alert"), "statusCode": (200, "406", 0, "0", "x"), "attackData": ("x" * 8_192, "😀" * 8_193, "y" * 9_000), "attackerGeo": ("in", "IN", "IND", "India"), "requestId": ("a b", 5, " "),
}


def test_records_that_nobody_meant(node):
    """Odd values in every field, in every combination that chance finds: the twins refuse what the converters refuse."""
    plugin, luck = plugins.plugin("apptrana"), random.Random(7)
    dataset, settings = plugin.datasets[0], fill_in(plugin.settings, {"client_id": "x", "client_secret": "y"})
    put(node, dataset)
    say = dataset.bind(settings, {"data_stream.namespace": "default"})
    names = sorted({name for row in dataset.rows if not isinstance(row, Given) for name in ([row.theirs] if isinstance(row.theirs, str) else row.theirs)} | {"attackTime", "websiteName"})
    records = []
    for _ in range(3_000):
        record = {"attackTime": "2026-03-04T10:02:13.417Z"} if luck.random() < 0.8 else {}
        for name in luck.sample(names, luck.randint(1, len(names))):
            record[name] = luck.choice(WORDS[name]) if name in WORDS and luck.random() < 0.6 else luck.choice(ODD)
        if luck.random() < 0.2:
            record[luck.choice(("new", "cookie", "Authorization"))] = luck.choice(ODD)
        records.append(record)
    until = "2026-03-04T10:05:00.000Z"
    wanted = [say(record, millis_of(until), None) for record in records]
    got = made(node, dataset, [(settings, record, until, "default") for record in records])
    said = differences([json.dumps(record) for record in records], wanted, got)
    assert not said, said


def flat(tree, place=""):
    found = {}
    for name, value in tree.items():
        found.update(flat(value, f"{place}{name}.") if isinstance(value, dict) else {f"{place}{name}": value})
    return found
