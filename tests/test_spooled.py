"""Out of the spool in batches that are bounded, whatever a plugin makes of a payload; a crash
between two of them loses and doubles nothing."""

import gzip
import itertools
import json

import pytest
from centurylink_ips import PLUGIN as IPS
from pingintelligence import PLUGIN as ABS

from siemtap import engine
from siemtap.core import bounds
from siemtap.core.errors import ConfigError, Malformed
from siemtap.core.forms import Every
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Payload, Unit
from siemtap.core.windows import DAY
from siemtap.edge.arrivals import Arrivals
from siemtap.edge.checkpoints import Checkpoints, Database
from siemtap.edge.spool import Spool
from siemtap.engine import InDoubt, Then, pump, spooled, voice
from world import NOON, Crash, Fuse, Memory

EVENT, OTHER = IPS.datasets


class Payloads:
    """A spool of one read."""

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

    def forget(self, cursor):
        self.forgotten.append(cursor)


def words(payload):
    """A record a word."""
    yield Batch(EVENT, payload.body.decode().split(), {}, payload.received)


def test_batches_are_cut_by_records_and_the_cursor_moves_with_the_last(monkeypatch):
    monkeypatch.setattr(engine, "GATHERED", 10)
    spool = Payloads(b"a " * 25, b"b " * 4, b"c")
    batches = list(spooled(spool, {}, words, EVENT))
    assert [len(batch.records) for batch in batches] == [10, 10, 10] and [
        batch.cursor for batch in batches
    ] == [{}, {}, {"offset": 1}]
    assert [record for batch in batches for record in batch.records] == ["a"] * 25 + ["b"] * 4 + [
        "c"
    ] and spool.forgotten == [{"offset": 1}]


def test_batches_are_cut_by_bytes(monkeypatch):
    monkeypatch.setattr(engine, "GATHERED_BYTES", 100)
    assert [
        len(batch.records) for batch in spooled(Payloads(*[b"x" * 40] * 7), {}, words, EVENT)
    ] == [3, 3, 1]
    packed = list(spooled(Payloads(*[b"x"] * 3, content_encoding="gzip"), {}, words, EVENT))
    assert [len(batch.records) for batch in packed] == [
        1,
        1,
        1,
    ], "a byte of what is packed may be very many"


def test_of_several_datasets(monkeypatch):
    monkeypatch.setattr(engine, "GATHERED", 3)
    batches = list(
        spooled(
            Payloads(b"x", b"y"),
            {},
            lambda payload: [Batch(EVENT, [1, 2], {}, 0), Batch(OTHER, [3, 4, 5, 6, 7], {}, 0)],
            EVENT,
        )
    )
    assert [batch.cursor for batch in batches] == [{}] * (len(batches) - 1) + [
        {"offset": 1}
    ] and all(len(batch.records) <= 3 for batch in batches)
    assert sorted(
        record for batch in batches if batch.dataset is OTHER for record in batch.records
    ) == [3, 3, 4, 4, 5, 5, 6, 6, 7, 7]


def test_a_plugin_without_bounds_is_bounded(monkeypatch):
    """Any number of batches, of records; what is beyond stands in the text of the payload."""
    monkeypatch.setattr(bounds, "RECORDS", 10)
    endless = (Batch(EVENT, ["a", "b", "c"], {}, 0) for _ in itertools.count())
    (batch,) = spooled(Payloads(b"what came"), {}, lambda payload: endless, EVENT)
    assert batch.records == [*"abcabcabca", "what came"]
    (batch,) = spooled(
        Payloads(b"what came", b"next"),
        {},
        lambda payload: [
            Batch(
                EVENT, [number for number in range(11)] if payload.body != b"next" else ["n"], {}, 0
            )
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
def test_a_payload_that_breaks_a_plugin_is_a_text(error):
    def receive(payload):
        yield Batch(EVENT, ["half"], {}, 0)
        raise error

    assert [batch.records for batch in spooled(Payloads(b"\xffwhat came"), {}, receive, EVENT)] == [
        ["\\xffwhat came"]
    ]
    packed = gzip.compress(b"what came")
    ((text,),) = [
        batch.records
        for batch in spooled(Payloads(packed, content_encoding="gzip"), {}, receive, EVENT)
    ]
    assert text.startswith("base64:H4sI")


def test_what_a_person_must_mend_goes_on_up():
    def receive(payload):
        raise ConfigError("no such zone")
        yield

    with pytest.raises(ConfigError):
        list(spooled(Payloads(b"x"), {}, receive, EVENT))


def read(plugin, body, channel="webhook", **headers):
    settings = fill_in(plugin.settings, {})
    return [
        record
        for batch in spooled(
            Payloads(Payload(body, channel, "", "192.0.2.1", NOON, headers)),
            {},
            lambda payload: plugin.receive(settings, payload),
            plugin.datasets[0],
        )
        for record in batch.records
    ]


def test_lines_beyond_the_bound_are_one_text():
    line = b"<134>CEF:0|a|b|c|d|e|f|src=192.0.2.1"
    found = read(
        IPS, b"\n".join([line] * 20 + [b"<1>%03d" % number for number in range(200)]), "udp"
    )
    assert len(found) == 101 and [isinstance(record, dict) for record in found[:20]] == [True] * 20
    assert found[-1].startswith("<1>080\n") and found[-1].endswith("\n<1>199")
    assert [
        record["line"]
        for record in read(ABS, b"\n".join(b"%03d" % number for number in range(150)), "replay")
    ][-1].startswith("100\n101\n")


def test_elements_beyond_the_bound_are_one_text():
    events = [{"hostName": f"h{number}"} for number in range(1_000)]
    found = read(IPS, json.dumps(events).encode())
    assert [record["hostName"] for record in found[:-1]] == [
        f"h{number}" for number in range(len(found) - 1)
    ] and len(found) < 400
    assert json.loads(found[-1]) == events[len(found) - 1 :]


def test_what_a_vendor_sends_is_below_every_bound():
    """The largest body that may be allowed, full of events of the page."""
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
    found = read(
        IPS, json.dumps([{**event, "driverTime": number} for number in range(number)]).encode()
    )
    assert len(found) == number > 10_000 and all(isinstance(record, dict) for record in found)


def test_a_crash_between_the_batches_of_a_read_loses_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "GATHERED", 4)
    settings, output = fill_in(IPS.settings, {}), Memory()
    unit, say = (
        Unit("it", EVENT.name, "received"),
        voice(IPS, settings, fill_in(Every, {}), {}, lambda: None),
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
        arrivals, fuse, unmarked = Arrivals(database, DAY), Fuse(crash_at), set()
        output.fuse, save = fuse, arrivals.save
        arrivals.save = lambda unit, mark, fuse=fuse, save=save: (
            fuse.step(),
            save(unit, mark),
            fuse.step(),
        )

        def fresh(batch, arrivals=arrivals):
            events = say(batch)
            known = arrivals.known(unit, [event["event"]["id"] for event in events])
            return [event for event in events if event["event"]["id"] not in known]

        try:
            mark = Checkpoints(database).load(unit)
            pump(
                unit,
                mark,
                spooled(spool, mark.cursor, lambda payload: IPS.receive(settings, payload), EVENT),
                fresh,
                Then(InDoubt(output, unmarked), arrivals, unmarked),
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
