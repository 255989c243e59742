"""What strangers do to an input: a plugin that fails wherever a payload tells it to, odd parts
and odd values of payloads and answers."""

import json
from collections import Counter
from types import SimpleNamespace

from hypothesis import strategies as st

from siemtap import contract
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.forms import Every
from siemtap.core.mapping import Dataset, Field
from siemtap.core.model import Batch, Payload, Plugin
from siemtap.render.splunk import props

NOW = 1_772_618_533_000


def props_for(plugin):
    return props(plugin, contract.read("event.schema.json"), contract.read("cim.json"))


class Waits:
    """In the place of the event that says stop: no time passes, and it is fields when there is
    nothing more to do, or after too many waits."""

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


# A plugin that fails wherever a payload tells it to

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
TRIED = Counter()


def fail(record, place):
    """`fails`: where, with what, how often (0: always)."""
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except ValueError:
            return
    where, error, times = record.get("fails") or ("", "", 0)
    if where == place and not 0 < times <= TRIED[record["token"]]:
        TRIED[record["token"]] += 1
        raise ERRORS[error]("a text with a secret")


def clock(record):
    fail(record, "clock")
    return "2026-03-04T10:00:00.000Z" if not record.get("time") else record["time"]


def word(record):
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
    yield Batch(EVENT, [record], {}, payload.received)


EVENT = Dataset(
    "mischief.event",
    clock,
    (word,),
    (Field("token", "mischief.token"), Field("whole", "mischief.whole", convert)),
    redact=redact,
)
MISCHIEF = Plugin(
    "mischief",
    Every,
    (EVENT,),
    connect=lambda settings, http: None,
    units=lambda client, settings: [],
    collect=lambda *words: iter(()),
    receive=receive,
    webhook=True,
)


def ids(events):
    return [
        fields.get("event.id") or fields["event"]["id"]
        for fields in (json.loads(indexed.raw) for indexed in events)
    ]


def mischief(number, fails=None, **more):
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
