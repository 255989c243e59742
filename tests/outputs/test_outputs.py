"""The contract of an output: events are safe when `deliver` returns, all or none of them, and `holds`
returns the ids of stored events."""

import json
import threading

import orjson
import pytest
from hec_stand_in import Hec
from outputs.output_stores import UNIT, collector, event, files, lines, store
from validation import RefusingCheck

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Unit
from siemtap.edge.encode import encode
from siemtap.edge.store.rejected import RejectedEvents
from siemtap.outputs import validated as checked
from siemtap.outputs.types import OUTPUTS, OutputType


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_delivered_events_are_stored_after_a_restart(kind, tmp_path, database):
    make = (lambda: store(database)) if kind == "sqlite" else (lambda: files(tmp_path))
    output = make()
    output.deliver(UNIT, [event(number) for number in range(700)], None)
    output.close()
    again = make()
    assert again.holds(UNIT, [event(number) for number in (0, 699, 700)]) == {
        f"{0:032x}",
        f"{699:032x}",
    }
    assert again.holds(UNIT, []) == set()
    again.close()


def test_events_that_splunk_received_are_indexed_once():
    """HEC cannot say what it has, so `holds` is None, and the promise is the answer 200."""
    with Hec() as hec:
        output = collector(hec)
        output.deliver(UNIT, [event(number) for number in range(700)], None)
        assert hec.ids() == [f"{number:032x}" for number in range(700)]
        assert output.holds(UNIT, [event(0)]) is None
        output.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "file", "splunk_hec", "splunk_hec with ack"])
def test_threads_deliver_concurrently(kind, tmp_path, database):
    hec = Hec(ack="ack" in kind)
    if kind == "sqlite":
        output = store(database)
    elif kind == "file":
        output = files(tmp_path, rotate_every_bytes=20_000)
    else:
        output = collector(hec, bulk_max_bytes=2_000)
    threads = [
        threading.Thread(
            target=lambda part=part: [
                output.deliver(UNIT, [event(part * 100 + number)], None) for number in range(20)
            ]
        )
        for part in range(8)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    if kind == "sqlite":
        actual = [row[0] for row in database.read("SELECT id FROM event")]
    elif kind == "file":
        actual = [stored["event"]["id"] for stored in lines(output)]
    else:
        actual = hec.ids()
    hec.__exit__()
    assert len(actual) == len(set(actual)) == 160
    output.close()


def test_invalid_events_are_stored_with_the_reason_and_others_are_delivered(database):
    kept, rejected_numbers = [], []

    class Output:
        together = False

        def deliver(self, unit, events, mark):
            kept.extend(events)
            return []

    rejected_events = RejectedEvents(database)
    output = checked.ValidateEvents(
        Output(),
        RefusingCheck(lambda event: "odd" if event["event"]["id"].endswith("1") else None),
        rejected_events,
        rejected_numbers.append,
    )
    output.deliver(UNIT, [event(1), event(2), event(3)], None)
    output.deliver(UNIT, [event(1)], None)
    assert kept == [event(2), event(3)] and rejected_numbers == [1, 1]
    (row,) = rejected_events.all()
    assert (row.event, row.reason, row.unit) == (event(1), "odd", Unit("it", "acme.event"))
    rejected_events.delete([row.id])
    assert rejected_events.count() == 0


@pytest.mark.parametrize(
    "value",
    [
        {"a": "ü\u2028"},
        {"a": 2**70},
        {"a": [1.5, None, True]},
        {"a\x85": "\x80\x9f\xa0\ufffe\uffff\ufffd\x7f"},
    ],
)
def test_events_are_encoded_as_json_in_utf_8(value):
    line = encode(value).decode("utf-8")
    assert json.loads(line) == json.loads(json.dumps(value)) and not set(
        "\n\r\x85\x80\ufffe\uffff"
    ) & set(line)


SURROGATE = chr(0xD800)


@pytest.mark.parametrize(
    "value, replaced",
    [
        ({"a": "\ud800"}, {"a": "\ufffd"}),
        ({"a": ["x", {"b": "1\udc002"}], "tags": ["waf"]}, {"a": ["x", {"b": "1\ufffd2"}]}),
        (
            {"a": {SURROGATE: 1, "\udc00": 2, "b": 3}},
            {"a": {"\ufffd": 1, "\ufffd\ufffd": 2, "b": 3}},
        ),
        ({"a": "\ud83d\ude00 \udc00 \x00"}, {"a": "\ufffd\ufffd \ufffd \x00"}),
    ],
)
def test_a_lone_surrogate_is_replaced_and_the_event_says_so(value, replaced):
    """A strict reader, such as orjson, refuses an escaped one."""
    event = orjson.loads(encode(value))
    assert event.pop("tags") == [*value.get("tags", ()), "replaced_surrogate"]
    assert event == replaced
    assert "tags" not in orjson.loads(encode({"a": "\ufffd", "b": 2**70}))


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_says_why_it_cannot_be_read_back_or_can(output):
    assert bool(output.load().unreadable) != hasattr(output.load(), "read")


@pytest.mark.parametrize(
    "defect,error,sentence",
    [
        ("import no_such_client", ConfigError, "No module named 'no_such_client'; install"),
        ("raise OSError(24, 'Too many open files')", Retry, "cannot be read: Too many open files"),
    ],
    ids=["a package is missing", "no descriptors"],
)
def test_an_output_that_cannot_be_loaded_is_a_sentence(
    tmp_path, monkeypatch, defect, error, sentence
):
    (tmp_path / "defective_output.py").write_text(defect)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error, match=f"^the output's module defective_output .*{sentence}"):
        OutputType(None, "defective_output:Output").load()
