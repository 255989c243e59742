"""A search without a valid answer tells neither that an event is stored nor that it is missing."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outputs.strange_server import (
    EVENTS,
    JSON,
    UNIT,
    put,
)

from siemtap.core.errors import AuthError, ConfigError, Retry

# fmt: off
SEARCHES = [
    {}, [], None, 7, "x", {"hits": {"hits": []}}, {"timed_out": False}, {"timed_out": True, "_shards": {"failed": 0}}, {"timed_out": False, "_shards": {"failed": 1}}, {"timed_out": False, "_shards": {"failed": False}}, {"timed_out": False, "_shards": {}},
    {"timed_out": False, "_shards": 0}, {"timed_out": 0, "_shards": {"failed": 0}}, {"timed_out": "false", "_shards": {"failed": 0}, "hits": {"hits": []}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": []},
    {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": {}}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [7]}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [{}]}},
    {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [{"_id": 7}]}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [{"_id": "f" * 32, "_source": 7, "sort": []}]}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": None}}]
# fmt: on


def complete_answer(*ids, **more):
    return {
        "timed_out": False,
        "_shards": {"failed": 0},
        "hits": {"hits": [{"_id": id, "_source": {}, "sort": [1]} for id in ids]},
        **more,
    }


@pytest.mark.parametrize("body", SEARCHES, ids=json.dumps)
def test_invalid_search_answers(server, output, body):
    put(server, body)
    with pytest.raises((Retry, ConfigError)):
        output.holds(UNIT, EVENTS)
    with pytest.raises((Retry, ConfigError)):
        list(output.read(UNIT, "default", 0, 10**13))
    assert output.has_any(UNIT, EVENTS) is True, (
        "only a complete answer says that nothing is stored"
    )
    with pytest.raises((Retry, ConfigError)):
        output.ignored({(UNIT, "default")}, 10**12)


@pytest.mark.parametrize(
    "refresh", [{}, [], {"_shards": {"failed": 2}}, {"_shards": {}}, {"_shards": {"failed": "0"}}]
)
def test_failed_refresh(server, output, refresh):
    """An event that the search did not return may still be stored."""
    put(server, complete_answer())
    server.refresh = refresh
    try:
        with pytest.raises(Retry):
            output.holds(UNIT, EVENTS)
        assert output.has_any(UNIT, EVENTS) is True
        with pytest.raises(Retry):
            list(output.read(UNIT, "default", 0, 10**13))
    finally:
        server.refresh = {"_shards": {"failed": 0}}


def test_complete_search_answer(server, output):
    put(server, complete_answer(EVENTS[1]["event"]["id"]))
    assert output.holds(UNIT, EVENTS) == {EVENTS[1]["event"]["id"]} and list(
        output.read(UNIT, "default", 0, 10**13)
    ) == [{}]
    put(server, {"timed_out": False, "_shards": {"failed": 0}})
    assert output.holds(UNIT, EVENTS) == set() and output.has_any(UNIT, EVENTS) is False
    put(server, {"count": 3})
    assert output.ignored({(UNIT, "default")}, 10**12) == 3


@pytest.mark.slow
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    answer=JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "timed_out": st.just(False) | JSON,
            "_shards": st.just({"failed": 0}) | JSON,
            "hits": st.fixed_dictionaries({"hits": JSON}) | JSON,
        },
    ),
    status=st.sampled_from([200, 200, 200, 404, 500]),
)
def test_any_search_answer(server, output, answer, status):
    output.can_search = True
    put(server, answer, status)
    for call in (
        lambda: output.holds(UNIT, EVENTS),
        lambda: output.has_any(UNIT, EVENTS),
        lambda: list(output.read(UNIT, "default", 0, 10**13)),
        lambda: output.ignored({(UNIT, "default")}, 10**12),
    ):
        try:
            call()
        except (Retry, ConfigError, AuthError):
            pass
