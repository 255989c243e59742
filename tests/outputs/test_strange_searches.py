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

ALL = {"total": 2, "successful": 2, "skipped": 0, "failed": 0}
# fmt: off
SEARCHES = [
    # OpenSearch: a shard that is not there is neither; elastic/elasticsearch#47700
    {"timed_out": False, "_shards": {**ALL, "successful": 1}}, {"timed_out": False, "_shards": {"failed": 0}}, {"timed_out": False, "_shards": {"total": "2", "successful": "2", "failed": 0}},
    {}, [], None, 7, "x", {"hits": {"hits": []}}, {"timed_out": False}, {"timed_out": True, "_shards": ALL}, {"timed_out": False, "_shards": {"failed": 1}}, {"timed_out": False, "_shards": {"failed": False}}, {"timed_out": False, "_shards": {}},
    {"timed_out": False, "_shards": 0}, {"timed_out": 0, "_shards": ALL}, {"timed_out": "false", "_shards": ALL, "hits": {"hits": []}}, {"timed_out": False, "_shards": ALL, "hits": []},
    {"timed_out": False, "_shards": ALL, "hits": {"hits": {}}}, {"timed_out": False, "_shards": ALL, "hits": {"hits": [7]}}, {"timed_out": False, "_shards": ALL, "hits": {"hits": [{}]}},
    {"timed_out": False, "_shards": ALL, "hits": {"hits": [{"_id": 7}]}}, {"timed_out": False, "_shards": ALL, "hits": {"hits": [{"_id": "f" * 32, "_source": 7, "sort": []}]}}, {"timed_out": False, "_shards": ALL, "hits": {"hits": None}}]
# fmt: on


def complete_answer(*ids, **more):
    return {
        "timed_out": False,
        "_shards": ALL,
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
        server.refresh = {"_shards": ALL}


@pytest.mark.parametrize("body", [b"<html>", b"{}", {"Message": "not authorized"}])
def test_a_403_of_a_proxy_says_nothing_of_rights(server, output, body):
    put(server, body, 403)
    with pytest.raises((AuthError, Retry)):
        output.holds(UNIT, EVENTS)
    assert output.has_any(UNIT, EVENTS) and not output.refused


def test_complete_search_answer(server, output):
    put(server, complete_answer(EVENTS[1]["event"]["id"]))
    assert output.holds(UNIT, EVENTS) == {EVENTS[1]["event"]["id"]} and list(
        output.read(UNIT, "default", 0, 10**13)
    ) == [{}]
    put(server, {"timed_out": False, "_shards": ALL})
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
            "_shards": st.just(ALL) | JSON,
            "hits": st.fixed_dictionaries({"hits": JSON}) | JSON,
        },
    ),
    status=st.sampled_from([200, 200, 200, 404, 500]),
)
def test_any_search_answer(server, output, answer, status):
    output.refused.clear()
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
