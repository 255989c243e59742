"""CenturyLink's pipelines on a real node: generated JSON events and syslog lines become the same
events as in Python."""

import base64
import json
import random

from centurylink_ips.formats import records
from ingest import ADDRESSES, ODD, TIMES, differences, document, processed, put

from siemtap.core.compile import bind
from siemtap.core.convert import millis_of
from siemtap.core.manifest import fill_in
from siemtap.core.model import Payload
from siemtap.render import registry

EVENT = {
    "hostName": "VA1ACMEWEB01",
    "startTime": "2026-03-04T10:02:13.417Z",
    "reason": "1000128 - Example Traversal Filter",
    "action": "Reset",
    "protocol": "TCP",
    "sourceIP": "203.0.113.45",
}
MESSAGE = (
    b"GET /a?token=abc&q=1 HTTP/1.1\r\nHost: www.example.com\r\nAuthorization: Bearer\xff abc\r\n\tdef\r\n"
    b'COOKIE : sid=abc; x="y"\r\nset-cookie:abc\r\nX-Api-Key:\r\n abc\r\nX-Forwarded-For: 203.0.113.77'
    b"\r\n\r\nuser=bob&password=abc;session='a b'&x=\"1\""
)
PACKETS = (
    *(MESSAGE[at:] for at in range(0, len(MESSAGE), 7)),
    *(MESSAGE[:at] for at in range(1, len(MESSAGE), 11)),
    b"abc\r\n def\nHost: x",
    b"=abc&x=1",
    b"kie: abc",
    b" : abc",
    b"abc\r\n",
    b"abc\n",
    b"cookie\x00:\x85abc\rtoken = x",
    b"auth:\n\n author: x\nauthorization: y",
    b"GET http://u:p@s@h/ HTTP/1.1\r\nReferer: x://@h ://a@://b@c/@ \xe9://\xe9@",
    b"x://" + b"u" * 256 + b"@h y://" + b"u" * 257 + b"@h",
    b"a = b\npassword = abc\n'pwd'\t=\t 'a b' c\nuser[token]=abc&session%5Bx%5D= y",
    b"password = abc\nc = d",
    b"password =\t abc d",
    b"\\n",
    b"",
)
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
        "9999999999999999999",
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
        *(base64.b64encode(packet).decode() for packet in PACKETS),
    ),
    "sourcePort": (80, "80", 65_536, -1, "x"),
    "destinationPort": (443, "0"),
    "sourceIP": ADDRESSES,
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


def test_generated_json_events(node):
    """Sent as JSON, with odd values in every field. An agent sends a number beyond 64 bits as a
    float."""
    plugin, rng = registry.plugin("centurylink_ips"), random.Random(7)
    dataset, settings, arrived = (
        plugin.datasets[0],
        fill_in(plugin.settings, {"json_timezone": "Europe/Berlin", "decode_data": True}),
        "2026-03-04T10:05:00.000Z",
    )
    put(node, plugin, dataset)
    map_record, sent, wanted = bind(dataset, settings, {"data_stream.namespace": "default"}), [], []
    for _ in range(2_000):
        event, values_by_field = rng.choice(((EVENT, PUSHED), (MANAGERS, OF_MANAGER)))
        body = dict(event) if rng.random() < 0.8 else {}
        for name in rng.sample(list(values_by_field), rng.randint(1, 12)):
            body[name] = (
                rng.choice(values_by_field[name]) if rng.random() < 0.7 else rng.choice(ODD)
            )
        if rng.random() < 0.2:
            body["new"] = rng.choice(ODD)
        if rng.random() < 0.05:
            text = rng.choice(TEXTS)
            body = {"Type": "Notification", "TopicArn": "arn", "Message": f"<134>{text}"}
        (record,) = records(
            settings,
            Payload(
                json.dumps(body).encode(), "webhook", "ACME", "192.0.2.99", millis_of(arrived), {}
            ),
        )
        sent.append(body)
        wanted.append(map_record(record, millis_of(arrived), None))
    got = processed(
        node,
        dataset,
        [
            document(
                plugin,
                dataset,
                settings,
                "http_endpoint",
                {"_record": body, "@timestamp": arrived},
                path="ACME",
            )
            for body in sent
        ],
    )
    difference = differences(wanted, got, sent)
    assert not difference, difference


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
    "<134>Mar  4 10:02:13 2026 dsm01 ",
    "<134>Mar 04 10:02:13.5 2026 DeepSec Logs ",
    "<134>2026-03-04 10:02:13 +0100 Deep Security Manager [a] ",
    "<134>2026-03-04T10:02:13Z Deep Security  ds[7]: ",
    "<134>2026-03-04T10:02:13Z dsm01 some text ds: ",
    "<134>2026-03-04T10:02:13Z a | b ",
    "<13>Mar  4 10:02:14 2026-03-04T10:02:13Z dsm01 ",
    "Mar  4 10:02:15 r3 2026-03-04T10:02:15Z r2 Mar  4 10:02:14 r1 Mar  4 10:02:13 dsm01 ",
    "<13>Mar  4 10:02:14 r 1 2026-03-04T10:02:13Z dsm01 CEF - - - ",
    "<134>1 2026-03-04T10:02:13Z dsm01 CEF - - - ",
    "<134>1 2026-03-04T10:02:13Z dsm01 LEEF: - - - ",
    "<13>" * 12 + "Mar  4 10:02:13 dsm01 ",
    "\u0662<13>Mar  4 10:02:13 a ",
    "<\u0661\u0663>Mar  4 10:02:13 a ",
    "<13>Mar \u0664 10:02:13 a ",
)
OWN_TIMES = (
    "1772618533417",
    "1772618533",
    "17726185334175",
    "Mar 04 2026 10:02:13",
    "Mar 04 2026 10:02:13.250 UTC",
    "Mar 4 10:02:13 CET",
    "Mar 04 10:02:13 2026",
    "Mar 04 2026 10:02:13 GMT+01:00",
    "Mar 04 2026 10:02:13 +19:00",
    "Mar 04 2026 10:02:13 x",
    "Foo 04 2026 10:02:13",
    "2026-03-04T10:02:13.25+01:00",
    "2026-03-04 10:02:13 -0500",
    "Wed Mar 04 10:02:13 EST 2026",
    "soon",
)
FORMED_TIMES = (
    ("2026-03-04 10:02:13", "yyyy-MM-dd HH:mm:ss"),
    ("04/03/26 01:02:13 PM +0100", "dd/MM/yy hh:mm:ss a Z"),
    ("20260304100213.123", "yyyyMMddHHmmss.SSS"),
    ("2026-03-04T10:02:13.123+01", "yyyy-MM-dd'T'HH:mm:ss.SSSX"),
    ("Wed, 4 march 10:02", "EEE, d MMMM HH:mm"),
    ("4 o'clock", "H 'o''clock'"),
    ("13/13/2026 10:02:13", "dd/MM/yyyy HH:mm:ss"),
    ("10:02 4 Mar abc", "HH:mm d MMM z"),
    ("1772618533000", "yyyy"),
    ("Mar 04 2026 10:02:13", "'"),
    ("Mar 04 2026 10:02:13", "x" * 65),
)
PATHS = (
    "C:\\new\\report",
    "c:\\windows\\tmp\\",
    "C:\\\\new\\\\report\\\\",
    "\\\\server\\new",
    "\\\\\\\\server\\\\new",
    "a\\=b\\|c",
    "/srv/a b",
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
    " 0|Trend Micro|Deep Security Agent|20|20|a|5|fname=C:\\new\\a src=192.0.2.1",
    " 2.0|Trend Micro|Deep Security Agent|20|20|x=1\ty=2",
    *(
        f"CEF:0|a|Deep Security Agent|c|20|e|5|{key}={time} msg=x"
        for time in OWN_TIMES
        for key in ("rt", "start", "end")
    ),
    *(
        f"LEEF:2.0|a|Deep Security Agent|c|20|devTime={time}\tdevTimeFormat={form}\tsev=1"
        for time, form in FORMED_TIMES
    ),
    *(
        f"CEF:0|a|Deep Security Agent|c|20|e|5|{key}={path}{rest}"
        for path in PATHS
        for key in ("filePath", "cs3Label=Infected Resource cs3", "msg")
        for rest in ("", " act=x")
    ),
    "LEEF:2.0|a|b|c|20|^|x=1^fname=C:\\\\new\\\\a",
    "LEEF:2.0|a|b|c|20||x=1\ty=2",
    "LEEF:2.0|a|b|c|20|0x5e|x=a|b^y=c=d",
    "LEEF: 2.0|a|b|c|20|x09|x=1\ty=2",
    "LEEF:2.0|a|b|c|20|x=1 y=2 z=a b",
    "LEEF:2.0|a|b|c|20|x=1 y=2",
    "LEEF:2.0|a|b|c|20|x=1#011y=2<009>z=3",
    "LEEF:2.0|a|b|c|20|cat=a|b",
    "CEF:0|a|b|c|20|e|5|msg=x msg=y\\ act=z",
    "CEF:0|a|b|c|20|e|5|x=1 TrendMicroDsPacketData=R0VU\\nIC8= act=y\\\\",
    "LEEF:1.0|CEF:|b|c|d|x=1",
    "CEF:0|a",
    "no format at all",
    "dsm01 CEF:0|a|b|c|20|e|f|in=5",
    "CEF:0|a|b|c|\u00b2\u0663|e|f|in=\u0665 out=\u00b2",
    "LEEF:1.0|a|b|c|\u0661\u0660|x=1",
)


def test_generated_syslog_lines(node):
    """Every header with every text, some of them truncated or with a changed word: one event
    each, with the same id."""
    plugin, rng = registry.plugin("centurylink_ips"), random.Random(7)
    dataset, settings, arrived = (
        plugin.datasets[0],
        fill_in(plugin.settings, {"syslog_timezone": "Europe/Berlin"}),
        "2026-03-04T10:05:00.000Z",
    )
    put(node, plugin, dataset)
    map_record, lines, wanted = (
        bind(dataset, settings, {"data_stream.namespace": "default"}),
        [head + text for head in HEADS for text in TEXTS],
        [],
    )
    for line in rng.choices(lines, k=2_000):
        at = rng.randrange(len(line))
        lines.append(
            rng.choice((line[:at], line[:at] + rng.choice('x :{}<>|=0\\"[') + line[at + 1 :]))
        )
    lines = [line for line in lines if line.strip("\0 \t")]
    for line in lines:
        (record,) = records(
            settings, Payload(line.encode(), "udp", "", "192.0.2.99", millis_of(arrived), {})
        )
        wanted.append(map_record(record, millis_of(arrived), None))
    documents = [
        document(plugin, dataset, settings, "udp", {"message": line, "@timestamp": arrived})
        for line in lines
    ]
    wrong = differences(wanted, processed(node, dataset, documents), lines)
    assert not wrong, wrong
    by_header = {
        line: event["event"]["id"]
        for line, event in zip(lines, wanted)
        if event.get("centurylink_ips", {}).get("time_source", "syslog") in ("syslog", "arrival")
    }
    assert len(set(by_header.values())) > len(by_header) * 0.5
