"""The stream written to splunkd, and the events that a model of splunkd makes of it."""

import io
import json
import logging
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from splunk_breaker import DEFAULTS, break_events, parse_props
from splunk_search import extracted

from siemtap.core.model import Unit
from siemtap.edge.encode import encode
from siemtap.render import registry
from siemtap.splunk.build import knowledge as splunk
from siemtap.splunk.runtime import pipe as splunk_pipe
from siemtap.splunk.runtime.logs import configure_logging
from siemtap.splunk.runtime.names import App
from siemtap.splunk.runtime.pipe import Pipe, PipeClosed, split_utf8
from siemtap.splunk.runtime.splunkd import MAX_ERROR_CHARACTERS, error_summary

PLUGIN = registry.plugin("apptrana")
PROPS = splunk.props(PLUGIN)
UNIT = Unit("first", "apptrana.attack")


def event(number=0, at="2026-03-04T10:02:13.417Z", **more):
    return {
        "@timestamp": at,
        "event": {"id": f"{number:032x}", "dataset": "apptrana.attack", "kind": "alert"},
        **more,
    }


def stream_of(*events, stanza="apptrana://first"):
    """Return a whole stream, with one delivery for each event."""
    out = io.BytesIO()
    pipe = Pipe(PLUGIN, stanza, out)
    for event_ in events:
        pipe.deliver(UNIT, [event_], None)
    pipe.close()
    return out.getvalue()


def ids(events):
    return [
        fields.get("event.id") or fields["event"]["id"]
        for fields in (json.loads(indexed.raw) for indexed in events)
    ]


# The model of splunkd

FRAGMENT = '<event stanza="a://b" unbroken="1"><sourcetype>s</sourcetype><data>{}</data>{}</event>'
RULES = {"s": {"SHOULD_LINEMERGE": "false", "TRUNCATE": "0"}}


def stream(*elements):
    return f"<stream>{''.join(elements)}</stream>"


def test_model_joins_fragments_until_done():
    assert [
        indexed.raw
        for indexed in break_events(
            stream(
                FRAGMENT.format("a", ""),
                FRAGMENT.format("b", "<done/>"),
                FRAGMENT.format("c", "<done/>"),
            ),
            RULES,
        )
    ] == ["ab", "c"]
    with pytest.raises(AssertionError, match="never ended"):
        break_events(stream(FRAGMENT.format('{"a":1}', ""), FRAGMENT.format('{"b":2}', "")), RULES)
    with pytest.raises(AssertionError, match="joined"):
        break_events(
            stream(FRAGMENT.format("a", ""), FRAGMENT.format("b", "").replace(' unbroken="1"', "")),
            RULES,
        )
    with pytest.raises(AssertionError, match="without fragments"):
        break_events(stream(FRAGMENT.format("a", "<done/>").replace(' unbroken="1"', "")), RULES)


def test_model_breaks_and_truncates_lines():
    whole = FRAGMENT.format("one&#10;zwölf", "").replace(' unbroken="1"', "")
    assert [indexed.raw for indexed in break_events(stream(whole), RULES)] == ["one", "zwölf"]
    assert [
        indexed.raw
        for indexed in break_events(stream(whole), {"s": {**RULES["s"], "TRUNCATE": "3"}})
    ] == ["one", "zw"], "rounded down to a whole character"
    with pytest.raises(AssertionError, match="merged"):
        break_events(stream(whole), {})
    assert parse_props("[s]\nTRUNCATE = 0\nLINE_BREAKER = (=)\n") == {
        "s": {"TRUNCATE": "0", "LINE_BREAKER": "(=)"}
    }


# The stream


def test_every_event_is_one_element():
    out = stream_of(
        *(event(number, apptrana={"attack_data": f"line\r\nbreak {number}"}) for number in range(5))
    )
    assert (
        ids(break_events(out, PROPS)) == [f"{number:032x}" for number in range(5)]
        and b"unbroken" not in out
    )


def test_every_event_is_one_element_with_splunks_default_settings():
    """As on an indexer without the add-on: events are broken in the same way, up to TRUNCATE."""
    out = stream_of(event(1, apptrana={"attack_data": "x" * 5_000}), event(2))
    assert ids(
        break_events(out, {"apptrana:attack": {**DEFAULTS, "SHOULD_LINEMERGE": "false"}})
    ) == [f"{number:032x}" for number in (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [9_999, 10_001, 999_999, 1_000_001, 1_300_000, 12_000_000])
def test_long_event_is_not_split(size):
    """An event longer than Splunk's TRUNCATE and than an element, between two others."""
    text = "ü<&>😀x" * (size // 11)
    first, long, last = break_events(
        stream_of(event(1), event(2, apptrana={"attack_data": text}), event(3)), PROPS
    )
    assert (
        ids([first, long, last]) == [f"{number:032x}" for number in (1, 2, 3)]
        and json.loads(long.raw)["apptrana.attack_data"] == text
        and long.time == first.time
    )


def test_elements_are_at_most_max_element_bytes(monkeypatch):
    monkeypatch.setattr(splunk_pipe, "MAX_ELEMENT_BYTES", 100)
    out = stream_of(event(1, apptrana={"attack_data": "ü" * 500}), event(2))
    elements = list(ElementTree.fromstring(out))
    assert len(elements) > 10 and all(
        len(element.findtext("data").encode()) <= 100 for element in elements[:-1]
    )
    assert ids(break_events(out, PROPS)) == [f"{number:032x}" for number in (1, 2)]


@given(st.text(), st.integers(4, 9))
def test_pieces_do_not_split_characters(text, most):
    cut = list(split_utf8(text.encode("utf-8", "replace"), most))
    assert b"".join(cut) == text.encode("utf-8", "replace") and all(
        0 < len(piece) <= most and piece.decode() for piece in cut
    )


@pytest.mark.parametrize(
    "stanza", ['apptrana://q"uote', "apptrana://'both\"", "apptrana://<&>", "apptrana://100%sure"]
)
def test_stanza_with_any_name(stanza):
    (only,) = break_events(stream_of(event(1), stanza=stanza), PROPS)
    assert only.stanza == only.source == stanza


@pytest.mark.parametrize(
    "at, seconds",
    [
        ("2026-03-04T10:02:13.417Z", 1772618533.417),
        ("1970-01-01T00:00:00.000Z", 0.0),
        ("9999-12-31T23:59:59.999Z", 253402300799.999),
        ("1969-12-31T23:59:59.999Z", None),
        ("0999-03-05T03:39:12.000Z", None),
        ("999-03-05T03:39:12.000Z", None),
        ("10000-01-01T00:00:00.000Z", None),
        ("", None),
        ("soon", None),
    ],
)
def test_time_outside_splunkds_range_is_omitted(at, seconds):
    (only,) = break_events(stream_of(event(1, at)), PROPS)
    assert only.time == seconds and json.loads(only.raw)["@timestamp"] == at


def deep(levels):
    value = "end"
    for _ in range(levels):
        value = {"a": [value]}
    return value


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Cn"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(ODD, ODD)
@example("\ud800", {"\udfff": "\x00\ufffe"})
@example(2**70, object())
def test_event_with_any_value_and_its_neighbours_are_written(value, other):
    out = stream_of(
        event(1), event(2, apptrana={"extra": value, "attack_data": other}, message=value), event(3)
    )
    assert ids(break_events(out, PROPS)) == [f"{number:032x}" for number in (1, 2, 3)]


@pytest.mark.slow
def test_event_that_cannot_be_encoded_is_known_as_such_however_long_it_is():
    long = {"extra": deep(100_000), "attack_data": "x" * 9_000}
    (only,) = break_events(stream_of({"apptrana": long, **event(1)}), PROPS)
    fields = extracted(only.raw)
    assert fields["event.kind"] == ["pipeline_error"] and fields["event.id"]


@pytest.mark.slow
def test_event_that_cannot_be_encoded_is_logged(caplog):
    caplog.set_level(logging.ERROR, "siemtap")
    (only,) = break_events(
        stream_of(event(1, apptrana={"extra": deep(100_000), "website": "shop.example.com"})), PROPS
    )
    fields = json.loads(only.raw)
    assert (
        fields["event"]["kind"] == "pipeline_error"
        and fields["apptrana"]["website"] == "shop.example.com"
        and "cannot be encoded" in fields["error"]["message"]
    )
    assert (
        "RecursionError at " in caplog.text
        and len(caplog.text) < 2 * MAX_ERROR_CHARACTERS
        and caplog.text.count("\n") == 1
    )


class FailingFile(io.BytesIO):
    """A file that accepts `most` bytes, then raises `error`."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error = most, error

    def write(self, data):
        if self.tell() + len(data) > self.most:
            super().write(data[: self.most - self.tell()])
            raise self.error
        return super().write(data)


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(32, "Broken pipe"),
        OSError(28, "No space left on device"),
        OSError(22, "Invalid argument"),
        ValueError("I/O operation on closed file"),
    ],
)
def test_nothing_is_written_after_a_failed_write(error):
    out = FailingFile(1_000, error)
    pipe = Pipe(PLUGIN, "apptrana://first", out)
    with pytest.raises(PipeClosed):
        pipe.deliver(UNIT, [event(number) for number in range(10)], None)
    before = out.getvalue()
    out.most = 10**6
    pipe.close()
    assert out.getvalue() == before


def test_log_accepts_any_name_and_text(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLUNK_HOME", str(tmp_path))
    (tmp_path / "var/log/splunk").mkdir(parents=True)
    log = logging.getLogger("siemtap")
    before = log.handlers[:], log.level, log.propagate
    try:
        configure_logging(App("TA-test", "ta_test", "apptrana"), "apptrana://100%sure")
        log.error("half a pair: %s", "\ud800")
        log.handlers[0].close()
    finally:
        log.handlers[:], log.level, log.propagate = before
    assert (
        (tmp_path / "var/log/splunk/ta_test_apptrana.log")
        .read_text()
        .endswith("input=apptrana://100%sure half a pair: \\ud800\n")
    )


def test_error_is_logged_in_one_line_without_its_text():
    def fails(depth):
        return fails(depth - 1) if depth else int("a secret\nof two lines" * 1_000)

    with pytest.raises(ValueError) as caught:
        fails(50)
    line = error_summary(caught.value)
    assert (
        line.startswith("ValueError at test_pipe.py:")
        and line.count("fails") == 4
        and "secret" not in line
        and "\n" not in line
    )
    assert (
        error_summary(OSError(28, "No space left on device", "/data/x"))
        == "OSError: No space left on device: /data/x"
    )


def test_json_encoder_of_the_add_on_equals_that_of_the_shipper(monkeypatch):
    """An add-on has no orjson."""
    import siemtap.edge.encode as module

    quick = encode(event(1, message="ü\x85\ufffe"))
    monkeypatch.setattr(module, "orjson", None)
    assert encode(event(1, message="ü\x85\ufffe")) == quick


def test_no_delivery_succeeds_after_an_incomplete_element():
    """After a write that fails inside an element, no unit's delivery succeeds."""

    class FailingOnce(io.BytesIO):
        broken = False

        def write(self, data):
            if not self.broken and self.tell():
                self.broken = True
                super().write(bytes(data)[: len(data) // 2])
                raise BlockingIOError
            return super().write(data)

    out = FailingOnce()
    pipe = Pipe(PLUGIN, "apptrana://first", out)
    pipe.deliver(UNIT, [event(1)], None)
    for number in (2, 3):
        with pytest.raises(PipeClosed):
            pipe.deliver(UNIT, [event(number)], None)
    assert b"%032x" % 3 not in out.getvalue()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_null(number, monkeypatch):
    """As in the shipper. Splunk extracts no fields from JSON with NaN or infinity."""
    odd = event(
        1, apptrana={"extra": {"x": [number, 1.5], "y": {"z": number}, "text": "half \ud800"}}
    )
    faster = encode(odd)
    monkeypatch.setattr("siemtap.edge.encode.orjson", None)
    plain = encode(odd)
    assert faster == plain

    def refuse(constant):
        raise AssertionError(constant)

    extra = json.loads(plain, parse_constant=refuse)["apptrana"]["extra"]
    assert extra["x"] == [None, 1.5] and extra["y"] == {"z": None}
