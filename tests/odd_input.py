"""Odd input for the tests of the Splunk add-ons: a plugin that fails where a payload tells it
to, and odd parts and values of payloads and responses."""

import json
from collections import Counter
from types import SimpleNamespace

from hypothesis import strategies as st

from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.model import Payload, Plugin, Records
from siemtap.core.rows import Dataset, Field
from siemtap.core.settings import CommonSettings
from siemtap.splunk.build.knowledge import props

NOW = 1_772_618_533_000


def props_for(plugin):
    return props(plugin)


class FakeStopEvent:
    """A stop event whose waits take no time. It is set when `done` returns true, or after `most`
    waits."""

    def __init__(self, done=lambda: False, most=60):
        self.done, self.most, self.waited, self.ended = done, most, [], False

    def is_set(self):
        return self.ended

    def wait(self, seconds):
        self.waited.append(seconds)
        self.ended = self.ended or self.done() or len(self.waited) >= self.most
        return self.ended

    def set(self):
        self.ended = True


def definition(plugin, folder, **stanza):
    return SimpleNamespace(
        inputs={f"{plugin.name}://here": stanza},
        metadata={
            "server_uri": "https://127.0.0.1:8089",
            "session_key": "x",
            "checkpoint_dir": str(folder),
        },
    )


# A plugin that fails where a payload tells it to

ERRORS = {
    error.__name__: error
    for error in (
        ZeroDivisionError,
        StopIteration,
        AssertionError,
        MemoryError,
        RecursionError,
        ValueError,
        OSError,
        EOFError,
        RuntimeError,
        UnicodeError,
        KeyError,
        Exception,
        AttributeError,
    )
}
ERRORS.update({error.__name__: error for error in (ConfigError, AuthError, Malformed, Retry)})
FAILURES = Counter()


def fail(record, place):
    """Raise an error if the record tells so. Its `fails`: stage, error, how often (0: always)."""
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except ValueError:
            return
    stage, error, times = record.get("fails") or ("", "", 0)
    if stage == place and not 0 < times <= FAILURES[record["token"]]:
        FAILURES[record["token"]] += 1
        raise ERRORS[error]("a text with a secret")


def clock(record):
    fail(record, "clock")
    return "2026-03-04T10:00:00.000Z" if not record.get("time") else record["time"]


def token(record):
    fail(record, "identity")
    return record["token"]


def redact(record):
    fail(record, "redact")
    return record


def convert(value):
    fail(value, "row")
    return json.dumps(value)


def receive(settings, payload):
    record = json.loads(payload.body)
    fail(record, "receive")
    yield Records(EVENT, [record])


EVENT = Dataset(
    "failing.event",
    clock,
    (token,),
    (Field("token", "failing.token"), Field("whole", "failing.whole", convert)),
    redact=redact,
)
FAILING_PLUGIN = Plugin(
    "failing",
    CommonSettings,
    (EVENT,),
    connect=lambda settings, http: None,
    units=lambda client, settings: [],
    collect=lambda *arguments: iter(()),
    receive=receive,
    webhook=True,
)


def ids(events):
    return [
        fields.get("event.id") or fields["event"]["id"]
        for fields in (json.loads(indexed.raw) for indexed in events)
    ]


def failing_payload(number, fails=None, **more):
    """Return a payload that makes the plugin fail. `fails`: stage, error, how often (0: always)."""
    record = {"token": f"token-{number}", "fails": fails, **more}
    return Payload(
        json.dumps({**record, "whole": {**record}}).encode(),
        "webhook",
        "",
        "192.0.2.1",
        NOW + number,
        {},
    )


ODD_PARTS = [
    b"Thu Mar 05 03:39:12 UTC 0999",
    b"Thu Mar 05 03:39:12 UTC 9999",
    b"0999-03-05T03:39:12Z",
    b"9999-12-31T23:59:59-23:59",
    b"0001-01-01T00:00:00+23:59",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\\u0000",
    b"\x00",
    b"1e400",
    b"9" * 400,
    b"-9223372036854775809",
    b"[" * 1_200,
    b'{"a":' * 1_200,
    b"CEF:0|",
    b"|",
    b"=",
    b"\n<13>",
    b"null",
    b"NaN",
    b"]]>",
    b"</data>",
    b"\xef\xbf\xbf",
    b"253402300800000",
    b"99999999999999",
    b"\r\n\r\n",
]
TEXT = st.text() | st.text(st.characters(categories=["Cs", "Cc", "Cn"]))


VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.sampled_from([part.decode("utf-8", "replace") for part in ODD_PARTS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
