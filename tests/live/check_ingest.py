"""The pipelines of Elastic's packages on a real node: every record of every case becomes the
event that Python makes of it, id included."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import elastic
import pytest
import requests
from agent_sends import OTHERWISE, documents, evaluated
from centurylink_ips.formats import records
from pingintelligence.attacks import Asked, flatten, of_log
from pingintelligence.ingest import SHARED
from pingintelligence.reports import REPORTS
from pingintelligence.reports import record as report_record
from search_node import Node

from cases import folders
from siemtap.core.convert import millis_of
from siemtap.core.identity import canonical
from siemtap.core.manifest import fill_in
from siemtap.core.mapping import Given
from siemtap.core.model import Payload
from siemtap.render import package, painless
from siemtap.render.elastic import LONGEST_TERM
from siemtap.runners import plugins

TOOLS = Path(os.environ.get("SIEMTAP_ELASTIC_TOOLS", "/nowhere"))
UNKNOWN_HERE = {"geoip"}  # processors that the OpenSearch node does not have
STREAMS = [
    (name, dataset)
    for name, plugin in elastic.packaged().items()
    for dataset in elastic.described(plugin).streams
]


@pytest.fixture(scope="module")
def node():
    with Node() as found:
        yield found


def otherwise_here(step):
    """Elasticsearch knows where ECS has the parts of a flow; OpenSearch wants them named. And
    what a flat_object takes is less than what a flattened field does."""
    if step.get("script", {}).get("tag") == "flat":
        assert step["script"]["source"].endswith(", 0, 0, 0);")
        return {
            "script": {
                **step["script"],
                "source": (
                    step["script"]["source"].replace(", 0, 0, 0);", f", 0, 0, {LONGEST_TERM});")
                ),
            }
        }
    if "community_id" not in step:
        return step
    fields = {
        "source_ip_field": "source.ip",
        "source_port_field": "source.port",
        "destination_ip_field": "destination.ip",
        "destination_port_field": "destination.port",
        "protocol_field": "network.transport",
    }
    return {"community_id": {**step["community_id"], **fields}}


def put(node, plugin, dataset):
    """Both pipelines, as the package has them."""
    found = package.pipelines(plugin, dataset, elastic.described(plugin))
    for name in ("mapping", "default"):
        body = {
            **found[name],
            "processors": [
                otherwise_here(step)
                for step in found[name]["processors"]
                if not UNKNOWN_HERE & set(step)
            ],
        }
        said = json.dumps(body).replace(
            '{{ IngestPipeline \\"mapping\\" }}', f"{dataset.name}-mapping"
        )
        answer = requests.put(
            f"{node.url}/_ingest/pipeline/{dataset.name}-{name}",
            data=said,
            headers={"Content-Type": "application/json"},
            timeout=60,
        )
        assert answer.ok, "\n".join(
            [
                *answer.json()["error"].get("script_stack", []),
                str(answer.json()["error"].get("caused_by")),
                str(answer.json()["error"]["reason"]),
            ]
        )[:3000]


def made(node, dataset, docs):
    """What becomes of an agent's documents, without what the agent itself says; nothing of one
    that is dropped."""
    answer = requests.post(
        f"{node.url}/_ingest/pipeline/{dataset.name}-default/_simulate",
        data=json.dumps({"docs": [{"_source": one} for one in docs]}),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert answer.ok, answer.text[:3000]
    found = []
    for one in answer.json()["docs"]:
        if one is None:
            continue
        assert "doc" in one, one
        event = one["doc"]["_source"]
        assert one["doc"]["_id"] == event["event"].get("id"), json.dumps(event)[:3000]
        assert event["event"].pop("ingested")
        for name in ("agent", "tags"):
            event.pop(name, None)
        for name in ("name", "version", "device", "os"):
            (event.get("user_agent") or {}).pop(name, None)
        found.append(event)
    return found


class DataStream:
    """A data stream with a package's pipelines. `strange`: what became no event of the vendor's."""

    def __init__(self, node, plugin, dataset):
        self.node, self.name, self.strange = node, f"logs-{dataset.name}-default", []
        put(node, plugin, dataset)
        template = {
            "index_patterns": [self.name],
            "data_stream": {},
            "priority": 300,
            "template": {
                "settings": {
                    "default_pipeline": f"{dataset.name}-default",
                    "number_of_replicas": 0,
                },
                "mappings": {
                    "dynamic": False,
                    "properties": {
                        "event": {
                            "properties": {"id": {"type": "keyword"}, "kind": {"type": "keyword"}}
                        }
                    },
                },
            },
        }
        node.ask("PUT", f"/_index_template/{self.name}", json=template).raise_for_status()

    def take(self, documents):
        for at in range(0, len(documents), 2_000):
            lines = "".join(
                f'{{"create": {{}}}}\n{json.dumps(one)}\n' for one in documents[at : at + 2_000]
            )
            answer = self.node.ask(
                "POST",
                f"/{self.name}/_bulk",
                data=lines.encode(),
                headers={"Content-Type": "application/x-ndjson"},
            ).json()
            self.strange += [
                item["create"]
                for item in answer["items"]
                if item["create"]["status"] not in (201, 409)
            ]

    def roll_over(self):
        self.node.ask("POST", f"/{self.name}/_rollover").raise_for_status()

    def ids(self):
        """Id -> how often it is there."""
        self.node.ask("POST", f"/{self.name}/_refresh").raise_for_status()
        found, after = Counter(), None
        while True:
            said = {
                "size": 0,
                "aggs": {
                    "ids": {
                        "composite": {
                            "size": 10_000,
                            "sources": [{"id": {"terms": {"field": "event.id"}}}],
                            **({"after": after} if after else {}),
                        }
                    }
                },
            }
            page = self.node.ask("POST", f"/{self.name}/_search", json=said).json()["aggregations"][
                "ids"
            ]
            found.update({one["key"]["id"]: one["doc_count"] for one in page["buckets"]})
            after = page.get("after_key")
            if not after:
                return found


def differences(wanted, got, sent=()):
    """By id, or in the order in which they were sent, with the first of each kind."""
    if not sent:
        wanted, got = (
            sorted(some, key=lambda event: (event["event"]["id"], canonical(event)))
            for some in (wanted, got)
        )
    if wanted == got:
        return ""
    kinds, first = Counter(), {}
    for number, (one, other) in enumerate(zip(wanted, got)):
        one, other = flat(one), flat(other)
        for said in [
            f"{path}: {one.get(path)!r:.200} became {other.get(path)!r:.200}"
            for path in one.keys() | other.keys()
            if one.get(path) != other.get(path)
        ]:
            kinds[said] += 1
            first.setdefault(said, f", of {sent[number]!s:.600}" if sent else "")
    return f"{len(wanted)} became {len(got)}:\n" + "\n".join(
        f"{count} x {said}{first[said]}" for said, count in kinds.most_common(40)
    )


@pytest.mark.parametrize("name, dataset", STREAMS)
def test_every_record_of_every_case(node, name, dataset):
    plugin = plugins.plugin(name)
    dataset, stream = plugin.dataset(dataset), elastic.described(plugin).streams[dataset]
    put(node, plugin, dataset)
    number, wrong = 0, {}
    for folder in folders():
        if folder.parents[1].name != name:
            continue
        docs, wanted = documents(
            folder, plugin, dataset, {*painless.settings_of(dataset), *stream.reads}, TOOLS / "mito"
        )
        got = made(node, dataset, docs) if docs else []
        if folder.name in OTHERWISE:
            assert len(got) == len(docs) and all(
                event["event"]["kind"] == "pipeline_error" and event["event"]["original"]
                for event in got
            )
        elif said := differences(wanted, got):
            wrong[folder.name] = said
        number += len(got)
        pieces = [json.loads(doc["message"]) for doc in docs if doc["_conf"]["channel"] == "cel"]
        assert {piece["id"] for piece in pieces if isinstance(piece, dict) and "who" in piece} <= {
            event["event"]["id"] for event in got
        }, "the program's ids are those of the events"
    assert number > 2 and not wrong, "\n\n".join(f"{case}: {said}" for case, said in wrong.items())[
        :12000
    ]
    assert f"| `{dataset.name}` | {number}" in (Path(__file__).parents[2] / "README.md").read_text(
        encoding="utf-8"
    ), f"the README's table says otherwise: {number} records"
    print(f"{dataset.name}: {number} records, 0 differences")


@pytest.mark.parametrize("name, dataset", STREAMS)
def test_what_the_shipper_wrote_passes(node, name, dataset):
    plugin = plugins.plugin(name)
    dataset = plugin.dataset(dataset)
    put(node, plugin, dataset)
    event = {
        **json.loads(
            elastic.files(plugin)[f"data_stream/{dataset.name.partition('.')[2]}/sample_event.json"]
        ),
        "agent": {"type": "siemtap"},
    }
    answer = requests.post(
        f"{node.url}/_ingest/pipeline/{dataset.name}-default/_simulate",
        json={"docs": [{"_source": event}]},
        timeout=60,
    ).json()["docs"][0]["doc"]["_source"]
    assert answer["event"].pop("ingested") and {
        name: answer.get(name) for name in event if name != "user_agent"
    } == {name: value for name, value in event.items() if name != "user_agent"}


def test_duplicates_go_where_nobody_wants_them(node):
    plugin = plugins.plugin("apptrana")
    dataset = plugin.datasets[0]
    put(node, plugin, dataset)
    folder = next(folder for folder in folders() if folder.name == "a_blocked_attack")
    (doc, *_), (event, *_) = documents(
        folder, plugin, dataset, painless.settings_of(dataset), TOOLS / "mito"
    )
    (got,) = made(node, dataset, [{**doc, "tags": ["forwarded"]}])
    gone = flat(event).keys() - flat(got).keys()
    assert (
        gone == set(package.duplicates(dataset)) & flat(event).keys() and "apptrana.website" in gone
    )


ODD = (
    None,
    "",
    "-",
    " - ",
    0,
    1,
    -5,
    2.0,
    2.5,
    True,
    False,
    [],
    ["x"],
    {},
    {"a": 1},
    "x",
    " x\u00a0",
    "\u2003",
    "1.0",
    "07",
    "-3",
    "Ünïcödé 😀",
    "a\x00b\x7f\x85",
    "\ufeff",
    "2026-03-04T10:02:13.417Z",
    "'\"\\/",
)
# The first and the last years, before and after they are converted, and offsets that only some
# clocks know.
TIMES = (
    "9999-12-31T23:59:59-12:00",
    "9999-12-31T23:59:59.999Z",
    "9999-12-31 23:59:59",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01 00:00:00",
    "0000-12-31T23:59:59-01:00",
    "0000-01-01T00:00:00.000Z",
    "2026-03-04T10:02:13+19:00",
    "2026-03-04T10:02:13-19:00",
    "2026-03-04T10:02:13+23:59",
    "2026-03-04T10:02:13-2359",
    "2026-03-04T10:02:13+24:00",
    "2026-03-04T10:02:13+05:99",
    "2026-03-04T10:02:13+23:60",
    "2026-03-04T24:00:00Z",
    "2026-03-04T23:59:60Z",
    "\u0662026-03-04T10:02:13Z",
)
WORDS = {
    "attackerIP": (
        "203.0.113.9",
        "256.1.1.1",
        "1.2.3",
        "01.2.3.4",
        "2001:DB8::0001",
        "::",
        "::1",
        "1::",
        "2001:db8:0:0:1:0:0:1",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7",
        "::ffff:192.0.2.1",
        "64:ff9b::192.0.2.33",
        "fe80::1%eth0",
        "1:::2",
        "12345::",
        "2001:db8::1::2",
        "0:0:0:0:0:0:0:0",
        "1:0:0:2:0:0:0:3",
        "1::2:3:4:5:6:7",
        ":1:2:3:4:5:6:7",
    ),
    "attackTime": (
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
    "attackUri": ("/a?b=c?d", "?x", "/", "//", " /a b "),
    "severity": ("2", 2, "9", 2.0, "x"),
    "eventType": ("Block", "Log", "Alert"),
    "statusCode": (200, "406", 0, "0", "x"),
    "attackData": ("x" * 8_192, "😀" * 8_193, "y" * 9_000),
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


def test_records_that_nobody_meant(node):
    """Odd values in every field, in every combination that chance finds: the twins refuse what
    the converters refuse."""
    plugin, luck = plugins.plugin("apptrana"), random.Random(7)
    dataset, settings = (
        plugin.datasets[0],
        fill_in(plugin.settings, {"client_id": "x", "client_secret": "y"}),
    )
    put(node, plugin, dataset)
    say = dataset.bind(settings, {"data_stream.namespace": "default"})
    names = sorted(
        {
            name
            for row in dataset.rows
            if not isinstance(row, Given)
            for name in ([row.theirs] if isinstance(row.theirs, str) else row.theirs)
        }
        | {"attackTime", "websiteName"}
    )
    records = []
    for _ in range(3_000):
        record = {"attackTime": "2026-03-04T10:02:13.417Z"} if luck.random() < 0.8 else {}
        for name in luck.sample(names, luck.randint(1, len(names))):
            record[name] = (
                luck.choice(WORDS[name])
                if name in WORDS and luck.random() < 0.6
                else luck.choice(ODD)
            )
        if luck.random() < 0.2:
            record[luck.choice(("new", "cookie", "Authorization"))] = luck.choice(ODD)
        if luck.random() < 0.3:
            record[luck.choice(("new", " Cookie ", "requestHeaders", *names))] = luck.choice(HIDDEN)
        records.append(record)
    until = "2026-03-04T10:05:00.000Z"
    wanted = [say(record, millis_of(until), None) for record in records]
    conf = {name: getattr(settings, name) for name in painless.settings_of(dataset)}
    got = made(
        node,
        dataset,
        [
            {
                "message": json.dumps(record),
                "_conf": {**conf, "channel": "cel", "until": until},
                "data_stream": {"namespace": "default"},
                "tags": ["preserve_duplicate_custom_fields"],
            }
            for record in records
        ],
    )
    said = differences(wanted, got, records)
    assert not said, said


EVENT = {
    "hostName": "VA1ACMEWEB01",
    "startTime": "2026-03-04T10:02:13.417Z",
    "reason": "1000128 - Example Traversal Filter",
    "action": "Reset",
    "protocol": "TCP",
    "sourceIP": "203.0.113.45",
}
PUSHED = {
    "startTime": (
        "2026-03-04T10:02:13.417Z",
        "2026-03-04 10:02:13",
        "Wed Mar 04 10:02:13 CET 2026",
        "Wed Mar  4 10:02:13 EST 2026",
        1772618533417,
        "1772618533",
        "177261853341725",
        "2026-03-29T02:30:00",
        "soon",
        12,
        9_999_999_999_999_999,
        *TIMES,
        "Wed Mar 04 10:02:13 CET 0000",
        "Fri Dec 31 23:59:59 EST 9999",
        "Fri Dec 31 23:59:59 EST 0000",
        "Mon Jan 01 00:00:00 CET 0001",
        "253402300800",
        "9223372036854775807",
    ),
    "driverTime": (1772618533417250, "1772618533417", 0, -1, "x"),
    "endTime": ("2026-03-04T10:02:14Z", "2026-03-04T10:02:12Z"),
    "rank": (-5, 50, "99", 101, 2**62),
    "packetSize": ("66", -1, "9223372036854775808", 1.5),
    "action": ("Detect Only: Reset", "IDS: x", " block ", "Log Only", 5),
    "severity": ("CRITICAL", "8", 8, "?", " low "),
    "reason": ("1000128 - x", "12 x", "x 12", "1000128"),
    "data": (
        "R0VUIC8=",
        "R0VU IC8=",
        "not base64!",
        "////",
        "R0VUIC8",
        "=" * 4,
        "AAAA" * 5_000,
        "4pyTw6k=",
    ),
    "sourcePort": (80, "80", 65_536, -1, "x"),
    "destinationPort": (443, "0"),
    "sourceIP": WORDS["attackerIP"],
    "destinationIP": ("192.0.2.23", "2001:db8::7", "nowhere"),
    "sourceMAC": ("00:00:5e:00:53:01", "00-00-5E-00-53-01", "0:0:5e", "00:00:00:00:00:00"),
    "protocol": ("TCP", "udp", "ICMP", "SCTP", "x"),
    "direction": ("Incoming", "OUTGOING", "sideways"),
    "iface": ("eth0", "00:00:5E:00:53:01", "00:00:00:00:00:00"),
    "flags": ("SYN DF=1", "  ", "x\ty"),
    "tags": ("a;b,c", ["x", " ", 5], [["x"]]),
    "hostName": ("a", " "),
    "text": ("x",),
    "tenant": ("ACME",),
}
MANAGERS = {
    "Hostname": "VA1ACMEWEB01",
    "LogDate": "2026-03-04T10:02:13Z",
    "Reason": "1000128 - Example Traversal Filter",
    "ActionString": "Reset",
    "SourceIP": "203.0.113.45",
}
OF_MANAGER = {
    "EventType": ("PayloadLog", "PacketLog", "IntegrityEvent", "x"),
    "Action": (0, 129, 200, "x"),
    "ActionString": ("", "Deny"),
    "Flow": (0, 1, 2),
    "Direction": (0, 1, "x"),
    "Protocol": (6, 17, 99),
    "Origin": (0, 1),
    "Frame": (1,),
    "LogDate": PUSHED["startTime"],
    "Hostname": ("b", " "),
    "DriverTime": PUSHED["driverTime"],
    "Rank": PUSHED["rank"],
    "SourceIP": PUSHED["sourceIP"],
    "Flags": PUSHED["flags"],
    "Data": PUSHED["data"],
    "Severity": PUSHED["severity"],
    "TenantName": ("ACME",),
    "EventID": (4711, "x"),
    "Interface": PUSHED["iface"],
    "OriginString": ("Agent", ""),
}


def test_events_that_nobody_meant(node):
    """Pushed as JSON, with odd values in every field. (A number beyond 64 bits is a float by the
    time an agent sends it.)"""
    plugin, luck = plugins.plugin("centurylink_ips"), random.Random(7)
    dataset, settings, arrived = (
        plugin.datasets[0],
        fill_in(plugin.settings, {"json_timezone": "Europe/Berlin", "decode_data": True}),
        "2026-03-04T10:05:00.000Z",
    )
    put(node, plugin, dataset)
    say, sent, wanted = dataset.bind(settings, {"data_stream.namespace": "default"}), [], []
    for _ in range(2_000):
        event, words = luck.choice(((EVENT, PUSHED), (MANAGERS, OF_MANAGER)))
        said = dict(event) if luck.random() < 0.8 else {}
        for name in luck.sample(list(words), luck.randint(1, 12)):
            said[name] = luck.choice(words[name]) if luck.random() < 0.7 else luck.choice(ODD)
        if luck.random() < 0.2:
            said["new"] = luck.choice(ODD)
        (record,) = records(
            settings,
            Payload(
                json.dumps(said).encode(), "webhook", "ACME", "192.0.2.99", millis_of(arrived), {}
            ),
        )
        sent.append(said)
        wanted.append(say(record, millis_of(arrived), None))
    conf = {
        name: getattr(settings, name)
        for name in {
            *painless.settings_of(dataset),
            *elastic.described(plugin).streams[dataset.name].reads,
        }
    }
    got = made(
        node,
        dataset,
        [
            {
                "_record": said,
                "@timestamp": arrived,
                "_conf": {**conf, "channel": "http_endpoint", "path": "ACME"},
                "data_stream": {"namespace": "default"},
                "tags": ["preserve_duplicate_custom_fields"],
            }
            for said in sent
        ],
    )
    said = differences(wanted, got, sent)
    assert not said, said


HEADS = (
    "<134>Mar  4 10:02:13 dsm01 ",
    "<134>2026-03-04T10:02:13.250000Z dsm01 ",
    "<86>2026-03-04T16:32:13+06:30 dsm01 ds[4]: ",
    "<134>2026-03-04 10:02:13,5 ",
    "Mar 04 2026 10:02:13.25 dsm01 ",
    "<134>1 2026-03-04T10:02:13Z dsm01 - - - - ",
    "77 <134>Mar  4 10:02:13 dsm01 ",
    "<13>Mar  4 10:02:14 relay <134>2026-03-04T10:02:13Z dsm01 ",
    "<999>",
    "",
    "<13>",
    "<13>Foo  4 10:02:13 a ",
    "<13>2026-13-04T10:02:13Z a ",
    "<13>Mar 33 10:02:13 a ",
    "<13>Mar  4 0000 10:02:13 a ",
    "<13>1 2026-03-04T10:02:13.1234567891Z a b - - - ",
    "<13>1 1772618533 a b - - - ",
    "<13>Feb 30 10:02:13 a ",
    "<13>Mar  4 10:02:60 a ",
    '<13>1 - - - - - [x@1 a="b"] ',
    "<13>Mar  4 10:02:13 fe80:: ",
    '<13>Mar  4 10:02:13 a "b": ',
    "<13>Mar  4 10:02:13 a {b: ",
    "\ufeff<134>Mar  4 10:02:13 dsm01 ",
    "\ufeff",
    "\ufeff\ufeff<13>Mar  4 10:02:13 a ",
    "<13>\ufeffMar  4 10:02:13 a ",
    *(f"<13>1 {stamp.replace(' ', 'T')} dsm01 - - - - " for stamp in TIMES),
    *(f"<13>{stamp} dsm01 " for stamp in TIMES),
    "<13>Dec 31 9999 23:59:59 a ",
    "<13>Jan  1 0001 00:00:00 a ",
    "\u0662<13>Mar  4 10:02:13 a ",
    "<\u0661\u0663>Mar  4 10:02:13 a ",
    "<13>Mar \u0664 10:02:13 a ",
)
TEXTS = (
    (
        "CEF:0|Trend Micro|Deep Security Agent|20.0.0|1000128|Example|8|dvchost=web01"
        " src=203.0.113.9 act=Reset cs1=a cs1Label=@when"
    ),
    (
        "CEF: 0|Trend Micro|Deep Security Manager|20.0.0|600|User Signed In|3|suser=alice"
        " @element=x msg=a\\=b c\\|d"
    ),
    (
        "LEEF:2.0|Trend Micro|Deep Security"
        " Agent|20.0.0|20|\t|name=Example\tsev=8\t@instant=y\tsrc=203.0.113.9"
    ),
    "LEEF:1.0|CEF:|b|c|d|x=1",
    "CEF:0|a",
    "no format at all",
    "dsm01 CEF:0|a|b|c|20|e|f|in=5",
    "CEF:0|a|b|c|\u00b2\u0663|e|f|in=\u0665 out=\u00b2",
    "LEEF:1.0|a|b|c|\u0661\u0660|x=1",
)


def test_lines_of_syslog_that_nobody_meant(node):
    """Every head before every text, and some of them cut or with a word changed: one event each,
    the same one, id included."""
    plugin, luck = plugins.plugin("centurylink_ips"), random.Random(7)
    dataset, settings, arrived = (
        plugin.datasets[0],
        fill_in(plugin.settings, {"syslog_timezone": "Europe/Berlin"}),
        "2026-03-04T10:05:00.000Z",
    )
    put(node, plugin, dataset)
    map_record, lines, wanted = (
        dataset.bind(settings, {"data_stream.namespace": "default"}),
        [head + text for head in HEADS for text in TEXTS],
        [],
    )
    for line in luck.choices(lines, k=1_000):
        at = luck.randrange(len(line))
        lines.append(
            luck.choice((line[:at], line[:at] + luck.choice('x :{}<>|=0\\"[') + line[at + 1 :]))
        )
    lines = [line for line in lines if line.strip("\0 \t")]
    for line in lines:
        (record,) = records(
            settings, Payload(line.encode(), "udp", "", "192.0.2.99", millis_of(arrived), {})
        )
        wanted.append(map_record(record, millis_of(arrived), None))
    conf = {
        name: getattr(settings, name)
        for name in {
            *painless.settings_of(dataset),
            *elastic.described(plugin).streams[dataset.name].reads,
        }
    }
    documents = [
        {
            "message": line,
            "@timestamp": arrived,
            "_conf": {**conf, "channel": "udp"},
            "data_stream": {"namespace": "default"},
            "tags": ["preserve_duplicate_custom_fields"],
        }
        for line in lines
    ]
    wrong = differences(wanted, made(node, dataset, documents), lines)
    assert not wrong, wrong
    assert len({event["event"]["id"] for event in wanted}) > len(set(lines)) * 0.8


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
# What stands under other keys, with a secret in it or without.
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
# What stands under a secret's own name, with a secret for a key.
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


def as_logged(luck):
    """A line as ABS may write it, and as nobody meant it."""
    said = dict(LINE) if luck.random() < 0.9 else {}
    for name in luck.sample(list(LOGGED), luck.randint(0, len(LOGGED))):
        said[name] = luck.choice(LOGGED[name]) if luck.random() < 0.9 else luck.choice(ODD)
    for name in luck.sample(KEYS, luck.choice((0, 0, 1, 3))):
        said[name] = luck.choice(FOREIGN)
    if luck.random() < 0.2:
        said[luck.choice(AROUND)] = luck.choice(KEYED)
    line = luck.choice(BEFORE) + json.dumps(
        said,
        ensure_ascii=luck.random() < 0.5,
        separators=luck.choice(((",", ":"), (", ", ": "), (" ,\t", " : "))),
    )
    if luck.random() < 0.2:
        start = luck.choice((0, luck.randint(0, len(line) - 1)))
        line = line[start : luck.choice((len(line), luck.randint(start, len(line))))]
    if luck.random() < 0.05:
        line = line.replace('"', luck.choice(("'", '""', '\\"')), luck.choice((1, -1)))
    return line if line.strip() else "x"


def test_lines_that_nobody_meant(node):
    """Of attack.log. No secret is shown, wherever it stands."""
    plugin, luck = plugins.plugin("pingintelligence"), random.Random(7)
    dataset, arrived = plugin.datasets[0], "2026-03-04T10:05:00.000Z"
    put(node, plugin, dataset)
    for changed in ({"hash_identifiers": False}, {"role": "admin", "keep_original": True}):
        settings, sent, wanted = (
            fill_in(plugin.settings, changed),
            [as_logged(luck) for _ in range(2_000)],
            [],
        )
        say = dataset.bind(settings, {"data_stream.namespace": "default"})
        wanted = [
            say(record, millis_of(arrived), None)
            for line in sent
            for record in of_log(line, settings)
        ]
        conf = {
            name: getattr(settings, name)
            for name in {
                *painless.settings_of(dataset),
                *elastic.described(plugin).streams[dataset.name].reads,
            }
        }
        got = made(
            node,
            dataset,
            [
                {
                    "message": line,
                    "@timestamp": arrived,
                    "_conf": {**conf, "channel": "filestream"},
                    "data_stream": {"namespace": "default"},
                    "tags": ["preserve_duplicate_custom_fields"],
                }
                for line in sent
            ],
        )
        said = differences(wanted, got, sent)
        assert not said, said
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


def test_reports_that_nobody_meant(node):
    """Of attacks, through the program's part that takes them to pieces; and the metrics."""
    plugin, luck = plugins.plugin("pingintelligence"), random.Random(7)
    settings, until = (
        fill_in(plugin.settings, {"keep_original": True, "report_details": True}),
        "2026-03-04T18:00:00.000Z",
    )
    reports = []
    for number in range(400):
        # an id of its own
        report = json.loads(
            json.dumps(REPORTED).replace("08:44", f"{number // 60:02d}:{number % 60:02d}")
        )
        for place in luck.sample(
            [report, report["cookies"][0], report["cookies"][0]["details"][0], report["ips"][0]], 2
        ):
            place[
                luck.choice(
                    [key for key in KEYS if key not in ("details", "cookie", "tokens", "name")]
                )
            ] = luck.choice(
                [one for one in FOREIGN if not isinstance(one, int) or abs(one) < 2**53]
            )
        if luck.random() < 0.3:
            luck.choice(
                [report, report["cookies"][0], report["cookies"][0]["details"][0], report["ips"][0]]
            )[luck.choice([key for key in AROUND if key != "cookie"])] = luck.choice(KEYED)
        reports.append(
            report
            if luck.random() < 0.9
            else luck.choice(
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
    say, wanted, docs = dataset.bind(settings, {"data_stream.namespace": "default"}), [], []
    conf = {
        name: getattr(settings, name)
        for name in {
            *painless.settings_of(dataset),
            *elastic.described(plugin).streams[dataset.name].reads,
        }
    }
    rest = {
        "data_stream": {"namespace": "default"},
        "tags": ["preserve_duplicate_custom_fields", "preserve_original_event"],
    }
    for report in reports:
        wanted += [
            say(record, millis_of(until), None)
            for record in flatten([report], Asked(0, "shop"), settings)
        ]
    pieces = evaluated(
        TOOLS / "mito",
        f"state.said.as(said, state.asked.as(asked, {SHARED['$pieces']}))",
        {
            "said": reports,
            "asked": {"type": 0, "api": "shop"},
            "role": settings.role,
            "hash_identifiers": True,
        },
    )
    docs = [
        {
            "message": json.dumps({**piece, "count": 1}),
            "_conf": {**conf, "channel": "cel", "until": until},
            **rest,
        }
        for piece in pieces
    ]
    got = made(node, dataset, docs)
    said = differences(wanted, got)
    assert not said, said
    assert HIDDEN not in json.dumps(got) and len(got) > 500
    dataset = plugin.dataset("pingintelligence.report")
    put(node, plugin, dataset)
    say, bodies = (
        dataset.bind(settings, {"data_stream.namespace": "default"}),
        [
            {"name": "api_metrics", "summary": {"total_requests": 3}, "details": report}
            for report in reports
        ],
    )
    wanted = [
        say(record, millis_of(until), None)
        for body in bodies
        for record in report_record(
            REPORTS["metrics"], body, "shop", "a", "b", millis_of(until), settings
        )
    ]
    got = made(
        node,
        dataset,
        [
            {
                "message": json.dumps(
                    {
                        "said": body,
                        "name": "api_metrics",
                        "api": "shop",
                        "earlier": "a",
                        "later": "b",
                    }
                ),
                "_conf": {**conf, "report_details": True, "channel": "cel", "until": until},
                **rest,
            }
            for body in bodies
        ],
    )
    said = differences(wanted, got, bodies)
    assert not said, said
    assert HIDDEN not in json.dumps(got)


def flat(tree, place=""):
    found = {}
    for name, value in tree.items():
        found.update(
            flat(value, f"{place}{name}.")
            if isinstance(value, dict) and value
            else {f"{place}{name}": value}
        )
    return found
