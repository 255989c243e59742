"""`int` and `float` as converters in a pipeline on a real node: the numbers that Python makes, and
what Python refuses."""

import math

import requests
from ingest import ODD

from siemtap.core.compile import bind
from siemtap.core.convert import instant, millis_of
from siemtap.core.rows import Dataset, Field
from siemtap.elastic.painless import script

UNTIL = "2026-03-04T10:05:00.000Z"
TWINS = """
String time_of(Map r) { return instant(r.get('time')) }
def as_it_is(def r) { return r }
"""
NUMBERS = (
    *ODD,
    2.9,
    -2.9,
    -0.5,
    1e300,
    1e18,
    2**63 - 1,
    -(2**63),
    2**53 + 1,
    9_007_199_254_740_993.0,
    "+5",
    "- 5",
    "--5",
    "1_000",
    "1__0",
    "_1",
    "1_",
    "1_000.2_5",
    "1_.5",
    "٣",
    "１２.５",
    "2.9",
    ".5",
    "5.",
    ".",
    "1e3",
    "1E-3",
    "1e",
    "1e400",
    "1f",
    "1.5d",
    "0x10",
    "0x1p3",
    "inf",
    "-Infinity",
    "NaN",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "0.1000000000000000055511151231257827",
)


def time_of(record):
    return instant(record["time"])


def as_it_is(record):
    return record


NUMBERS_OF = Dataset(
    "acme.event",
    clock=time_of,
    redact=as_it_is,
    identity=("id",),
    rows=(
        Field("whole", "acme.whole", int),
        Field("broken", "acme.broken", float),
        Field("list[].n", "acme.list", int),
    ),
    expected_keys=("time", "id"),
)


def fits(number):
    """Return whether a number fits a field: the shipper rejects an event with another one."""
    if isinstance(number, int):
        return -(2**63) <= number < 2**63
    return math.isfinite(number)


def wanted(convert, value):
    """Return the number that Python makes of a value; None without one."""
    value = value.strip() if isinstance(value, str) else value
    try:
        number = None if value in (None, "", "-") else convert(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return number if number is None or fits(number) else None


def test_numbers(node):
    records = [
        {"id": str(place), "time": UNTIL, "whole": value, "broken": value, "list": [{"n": value}]}
        for place, value in enumerate(NUMBERS)
    ]
    source = {"script": {"lang": "painless", "source": script(NUMBERS_OF, TWINS)}}
    documents = [{"_source": {"_record": record, "_conf": {"until": UNTIL}}} for record in records]
    answer = requests.post(
        f"{node.url}/_ingest/pipeline/_simulate",
        json={"pipeline": {"processors": [source]}, "docs": documents},
        timeout=60,
    )
    assert answer.ok, str(answer.json()["error"].get("caused_by"))[:3000]
    map_record = bind(NUMBERS_OF, None)
    for value, record, result in zip(NUMBERS, records, answer.json()["docs"]):
        event = result["doc"]["_source"]
        whole, broken = wanted(int, value), wanted(float, value)
        made = event.get("acme", {})
        assert (made.get("whole"), made.get("broken")) == (whole, broken), repr(value)
        assert made.get("list") == (None if whole is None else [whole]), repr(value)
        python = map_record(record, millis_of(UNTIL), None)
        if all(fits(n) for n in (python.get("acme", {}).get(x, 0) for x in ("whole", "broken"))):
            assert python.get("acme", {}) == made and python["event"]["id"] == event["event"]["id"]
