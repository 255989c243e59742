"""Batches read from the spool are bounded, whatever a plugin makes of a payload; a crash between
two of them neither loses nor duplicates events."""

import gzip
import itertools
import json

import pytest
from centurylink_ips import PLUGIN as IPS
from pingintelligence import PLUGIN as ABS

from siemtap.core import bounds
from siemtap.core.errors import ConfigError, Malformed
from siemtap.core.events import ids_of
from siemtap.core.manifest import fill_in
from siemtap.core.model import Payload, Records, Unit
from siemtap.core.settings import CommonSettings
from siemtap.edge.receive.spool import Spool
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.engine import feeds
from siemtap.engine.feeds import spooled_batches
from siemtap.engine.mapper import batch_mapper
from siemtap.engine.protocols import Feed
from siemtap.engine.pump import pump
from siemtap.engine.sinks import CheckpointAfter, SkipDelivered
from siemtap.testing.contract import SteppedIds
from siemtap.testing.world import NOON, Crash, Fuse, Memory

EVENT, OTHER = IPS.datasets


class Payloads:
    """A spool that returns all its payloads in one read."""

    def __init__(self, *bodies, **headers):
        self.payloads = [
            (
                body
                if isinstance(body, Payload)
                else Payload(
                    body,
                    "webhook",
                    received=NOON,
                    headers={name.replace("_", "-"): value for name, value in headers.items()},
                )
            )
            for body in bodies
        ]
        self.forgotten = []

    def read(self, cursor, at_most):
        return ([], cursor) if cursor else (self.payloads, {"offset": 1})

    def delete_before(self, cursor):
        self.forgotten.append(cursor)


def record_for_each_word(payload):
    """Make a record of each word."""
    yield Records(EVENT, payload.body.decode().split())


def test_batches_are_limited_in_records_and_the_last_moves_the_cursor(monkeypatch):
    monkeypatch.setattr(feeds, "BATCH_RECORDS", 10)
    spool = Payloads(b"a " * 25, b"b " * 4, b"c")
    batches = list(spooled_batches(spool, {}, record_for_each_word, EVENT))
    assert [len(batch.records) for batch in batches] == [10, 10, 10] and [
        batch.cursor for batch in batches
    ] == [{}, {}, {"offset": 1}]
    assert [record for batch in batches for record in batch.records] == ["a"] * 25 + ["b"] * 4 + [
        "c"
    ] and spool.forgotten == [{"offset": 1}]


def test_batches_are_limited_in_bytes(monkeypatch):
    monkeypatch.setattr(feeds, "BATCH_BYTES", 100)
    assert [
        len(batch.records)
        for batch in spooled_batches(Payloads(*[b"x" * 40] * 7), {}, record_for_each_word, EVENT)
    ] == [3, 3, 1]
    packed = list(
        spooled_batches(
            Payloads(*[b"x"] * 3, content_encoding="gzip"), {}, record_for_each_word, EVENT
        )
    )
    assert [len(batch.records) for batch in packed] == [
        1,
        1,
        1,
    ], "a compressed byte may expand to many"


def test_batches_of_several_datasets(monkeypatch):
    monkeypatch.setattr(feeds, "BATCH_RECORDS", 3)
    batches = list(
        spooled_batches(
            Payloads(b"x", b"y"),
            {},
            lambda payload: [Records(EVENT, [1, 2]), Records(OTHER, [3, 4, 5, 6, 7])],
            EVENT,
        )
    )
    assert [batch.cursor for batch in batches] == [{}] * (len(batches) - 1) + [
        {"offset": 1}
    ] and all(len(batch.records) <= 3 for batch in batches)
    assert sorted(
        record for batch in batches if batch.dataset is OTHER for record in batch.records
    ) == [3, 3, 4, 4, 5, 5, 6, 6, 7, 7]


def test_records_of_any_plugin_are_limited(monkeypatch):
    """A plugin returns any number of batches and records; beyond the limit the text of the
    payload is kept."""
    monkeypatch.setattr(bounds, "MAX_RECORDS", 10)
    endless = (Records(EVENT, ["a", "b", "c"]) for _ in itertools.count())
    (batch,) = spooled_batches(Payloads(b"what came"), {}, lambda payload: endless, EVENT)
    assert batch.records == [*"abcabcabca", "what came"]
    (batch,) = spooled_batches(
        Payloads(b"what came", b"next"),
        {},
        lambda payload: [
            Records(EVENT, [number for number in range(11)] if payload.body != b"next" else ["n"])
        ],
        EVENT,
    )
    assert batch.records == [*range(10), "what came", "n"]


@pytest.mark.parametrize(
    "error",
    [
        Malformed("no gzip"),
        KeyError("x"),
        ZeroDivisionError(),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x"),
        MemoryError(),
        RecursionError(),
    ],
    ids=repr,
)
def test_payload_that_breaks_the_plugin_is_kept_as_text(error):
    def receive(payload):
        yield Records(EVENT, ["half"])
        raise error

    assert [
        batch.records for batch in spooled_batches(Payloads(b"\xffwhat came"), {}, receive, EVENT)
    ] == [["\\xffwhat came"]]
    packed = gzip.compress(b"what came")
    ((text,),) = [
        batch.records
        for batch in spooled_batches(Payloads(packed, content_encoding="gzip"), {}, receive, EVENT)
    ]
    assert text.startswith("base64:H4sI")


def test_configuration_error_of_the_plugin_is_raised():
    def receive(payload):
        raise ConfigError("no such zone")
        yield

    with pytest.raises(ConfigError):
        list(spooled_batches(Payloads(b"x"), {}, receive, EVENT))


def read(plugin, body, channel="webhook", **headers):
    settings = fill_in(plugin.settings, {})
    return [
        record
        for batch in spooled_batches(
            Payloads(Payload(body, channel, "", "192.0.2.1", NOON, headers)),
            {},
            lambda payload: plugin.receive(settings, payload),
            plugin.datasets[0],
        )
        for record in batch.records
    ]


def test_lines_beyond_the_limit_become_one_text():
    line = b"<134>CEF:0|a|b|c|d|e|f|src=192.0.2.1"
    records = read(
        IPS, b"\n".join([line] * 20 + [b"<1>%03d" % number for number in range(200)]), "udp"
    )
    assert (
        len(records) == 101 and [isinstance(record, dict) for record in records[:20]] == [True] * 20
    )
    assert records[-1].startswith("<1>080\n") and records[-1].endswith("\n<1>199")
    assert [
        record["line"]
        for record in read(ABS, b"\n".join(b"%03d" % number for number in range(150)), "replay")
    ][-1].startswith("100\n101\n")


def test_elements_beyond_the_limit_become_one_text():
    events = [{"hostName": f"h{number}"} for number in range(1_000)]
    records = read(IPS, json.dumps(events).encode())
    assert [record["hostName"] for record in records[:-1]] == [
        f"h{number}" for number in range(len(records) - 1)
    ] and len(records) < 400
    assert json.loads(records[-1]) == events[len(records) - 1 :]


def test_vendor_payloads_are_below_the_limits():
    """The largest body that may be allowed, full of documented events."""
    event = {
        "packetSize": 78,
        "rank": 9,
        "driverTime": 1_446_652_837_000_000,
        "startTime": "2026-03-04T10:02:13Z",
        "endTime": "2026-03-04T10:02:13Z",
        "action": "Reset",
        "data": "QUFB" * 40,
        "destinationIP": "192.0.2.9",
        "destinationMAC": "00:50:56:00:00:01",
        "destinationPort": 80,
        "direction": "Incoming",
        "eventOrigin": "Agent",
        "flags": "ACK PSH",
        "flow": "Connection Flow",
        "hostName": "web01",
        "iface": "00:50:56:00:00:02",
        "protocol": "TCP",
        "reason": "1000552 - Generic Cross Site Scripting",
        "sourceIP": "198.51.100.7",
        "sourceMAC": "00:50:56:00:00:03",
        "sourcePort": 40_000,
        "tags": "",
        "severity": "Critical",
    }
    number = 8 * 1024**2 // len(json.dumps(event))
    records = read(
        IPS, json.dumps([{**event, "driverTime": number} for number in range(number)]).encode()
    )
    assert len(records) == number > 10_000 and all(isinstance(record, dict) for record in records)


@pytest.mark.slow
def test_crash_between_the_batches_of_a_read_neither_loses_nor_duplicates_events(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(feeds, "BATCH_RECORDS", 4)
    settings, output = fill_in(IPS.settings, {}), Memory()
    unit, map_batch = (
        Unit("it", EVENT.name, "received"),
        batch_mapper(IPS, settings, fill_in(CommonSettings, {}), {}, lambda: None),
    )
    bodies = [
        json.dumps(
            [
                {"hostName": f"h{number}", "driverTime": number}
                for number in range(start, start + size)
            ]
        ).encode()
        for start, size in ((0, 11), (11, 1), (12, 9), (5, 3))
    ]
    steps = 0
    for crash_at in [*range(1, 40), None]:
        spool, database = Spool(tmp_path / "spool"), Database(tmp_path / "siemtap.db")
        if crash_at == 1:
            spool.append(
                [
                    Payload(body, "webhook", received=NOON + place)
                    for place, body in enumerate(bodies)
                ]
            ).result(10)
        fuse, unsaved = Fuse(crash_at), set()
        output.fuse = fuse
        delivered_ids = SteppedIds(database, fuse)

        def known(events, delivered_ids=delivered_ids):
            return delivered_ids.known(unit, ids_of(events))

        try:
            mark = Checkpoints(database).load(unit)
            pump(
                unit,
                mark,
                Feed(
                    spooled_batches(
                        spool, mark.cursor, lambda payload: IPS.receive(settings, payload), EVENT
                    ),
                    known,
                ),
                map_batch,
                CheckpointAfter(
                    SkipDelivered(output, output.holds, unsaved), delivered_ids, unsaved
                ),
            )
        except Crash:
            steps += 1
        spool.close()
        database.close()
    assert (
        steps > 10
        and {event["host"]["name"] for event in output.kept}
        == {f"h{number}" for number in range(21)}
        and max(output.ids().values()) == 1
    )
