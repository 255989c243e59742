"""A bulk answer with an unexpected shape is not a success. Without a result an event is neither
accepted nor missing, and no exception escapes."""

import json
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from outputs.strange_server import (
    BODIES,
    GOOD,
    JSON,
    THERE,
    WRONG,
    delivered,
    items,
    put,
    sent,
)

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.outputs import OutputContext
from siemtap.outputs.elasticsearch import bulk
from siemtap.outputs.elasticsearch.output import Opensearch
from siemtap.outputs.elasticsearch.settings import Settings

# fmt: off
ITEMS = [   # the answer for one line, beside valid ones
    {}, {"status": 0}, {"status": None}, {"status": True}, {"status": "201"}, {"status": 201.0}, {"status": [201]}, {"status": {}}, {"status": -1}, {"status": 100}, {"status": 202}, {"status": 204}, {"status": 299},
    {"status": 301}, {"status": 399}, {"status": 600}, {"status": 2010}, {"status": 10**30}, {"status": 200, "error": {"type": "x", "reason": "y"}}, {"status": 201, "error": "x"}, {"status": 201, "error": None}, {"status": 201, "error": {}},
    {"status": 400}, {"status": 400, "error": {}}, {"status": 400, "error": None}, {"status": 400, "error": "x"}, {"status": 400, "error": []}, {"status": 400, "error": {"type": None}}, {"status": 400, "error": {"type": ""}},
    {"status": 400, "error": {"type": ["x"]}}, {"status": 409}, {"status": 409, "error": {"type": "other_exception"}}, {"status": 500}, {"error": {"type": "x"}}, {"status": 507, "error": {"type": "x"}}, None, 7, "x", [], [GOOD], True]
WHOLE = [   # the complete answer
    {}, [], None, 7, "x", True, {"items": []}, {"errors": False}, {"errors": False, "items": []}, {"errors": False, "items": {}}, {"errors": False, "items": 3}, {"errors": False, "items": "xyz"}, {"errors": False, "items": None},
    {"errors": False, "items": [{}, {}, {}]}, {"items": [{}]}, {"errors": False, "items": [{"create": GOOD}] * 2}, {"errors": False, "items": [{"create": GOOD}] * 4}, {"items": [{"create": GOOD}] * 3}, {"errors": 0, "items": [{"create": GOOD}] * 3},
    {"errors": "false", "items": [{"create": GOOD}] * 3}, {"errors": True, "items": [{"create": GOOD}] * 3}, {"errors": False, "items": [{"create": WRONG}] * 3}, {"errors": False, "items": [{"create": THERE}] * 3}, {"errors": None, "items": [{"create": GOOD}] * 3},
    {"errors": False, "items": [{"index": GOOD}] * 3}, {"errors": False, "items": [{"create": GOOD, "index": GOOD}] * 3}, {"errors": False, "items": [GOOD] * 3}, {"errors": False, "items": [[GOOD]] * 3}, {"acknowledged": True}, {"error": None}, {"status": 200}]
# fmt: on


@pytest.mark.parametrize("item", ITEMS, ids=json.dumps)
def test_line_without_a_valid_result_is_not_accepted(server, output, item):
    for place in range(3):
        parts = [GOOD] * sent(output)
        parts[place % len(parts)] = item
        for errors in (None, True, False):
            put(server, items(*parts, errors=errors))
            assert isinstance(delivered(output), Retry)


@pytest.mark.parametrize("status", [200, 201, 202, 203])
@pytest.mark.parametrize("body", WHOLE, ids=json.dumps)
def test_answer_of_another_shape_accepts_nothing(server, output, body, status):
    if sent(output) == 1 and isinstance(body, dict) and isinstance(body.get("items"), list):
        body = {**body, "items": body["items"][:1] if len(body["items"]) == 3 else body["items"]}
    put(server, body, status)
    assert isinstance(delivered(output), Retry)


@pytest.mark.slow
@pytest.mark.parametrize(
    "status", [200, 204, 206, 299, 302, 400, 404, 409, 413, 418, 429, 500, 503, 507, 599]
)
def test_body_that_is_not_a_bulk_answer(server, output, status):
    for body in BODIES:
        for kind in (
            "application/json",
            "application/vnd.elasticsearch+json;compatible-with=8",
            "text/html",
            "text/plain",
            "image/png",
            "",
        ):
            put(server, body, status, kind)
            outcome = delivered(output)
            # A 413 of a proxy means that a single event is too large, whatever its body.
            assert isinstance(outcome, (Retry, ConfigError)) or (
                status == 413 and outcome == (0, 3)
            ), (body[:50], kind, outcome)


def test_valid_results(server, output):
    number = sent(output)
    for part, expected in (
        (GOOD, (3, 0)),
        ({"status": 200}, (3, 0)),
        ({"status": 201, "failure_store": "used"}, (3, 0)),
        (THERE, (3, 0)),
        (WRONG, (0, 3)),
    ):
        put(server, items(*[part] * number))
        assert delivered(output) == expected
    if number == 3:
        put(server, items(GOOD, WRONG, THERE))
        assert delivered(output) == (2, 1)
    for status, expected in (
        (429, Retry),
        (503, Retry),
        (500, Retry),
        (599, Retry),
        (404, ConfigError),
        (403, AuthError),
        (401, AuthError),
    ):
        put(server, items(*[{"status": status, "error": {"type": "x"}}] * number))
        assert isinstance(delivered(output), expected)


# As Elasticsearch and OpenSearch say it: ShardLimitValidator, IndexClosedException, IngestService.
OF_THE_CLUSTER = [
    ("validation_exception", "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open;"),
    ("validation_exception", "Validation Failed: 1: this action would add [2] total shards, but this cluster currently has [1000]/[1000] maximum shards open;"),
    ("index_closed_exception", "closed"),
    ("illegal_argument_exception", "pipeline with id [siemtap-apptrana.attack] does not exist"),
]  # fmt: skip


@pytest.mark.parametrize("kind, reason", OF_THE_CLUSTER)
def test_events_wait_for_what_the_cluster_lacks(server, output, kind, reason):
    """Whatever the status: no event is the reason, so none is rejected."""
    put(server, items(*[{"status": 400, "error": {"type": kind, "reason": reason}}] * 3))
    assert isinstance(delivered(output), Retry)
    put(server, {"error": {"type": kind, "reason": reason}, "status": 400}, 400)
    assert isinstance(delivered(output), Retry)


def test_events_without_a_result_wait(server, output, monkeypatch):
    """Whatever is wrong in the code that reads the answer, a line without a result is not
    accepted."""
    monkeypatch.setattr(output.bulk, "send", lambda parts: [])
    assert isinstance(delivered(output), Retry)
    monkeypatch.setattr(output.bulk, "send", lambda parts: [bulk.Verdict([], [], "", 2)])
    assert isinstance(delivered(output), Retry)


STATUS = st.sampled_from(
    [200, 201, 202, 400, 401, 403, 404, 409, 413, 429, 500, 503]
) | st.integers(-1, 1000)
ERROR = (
    st.fixed_dictionaries(
        {
            "type": (
                st.sampled_from(
                    [
                        "version_conflict_engine_exception",
                        "cluster_block_exception",
                        "index_closed_exception",
                        "document_parsing_exception",
                    ]
                )
                | JSON
            )
        },
        optional={"reason": JSON, "caused_by": JSON},
    )
    | JSON
)
ITEM = st.fixed_dictionaries(
    {}, optional={"status": STATUS | JSON, "error": ERROR, "failure_store": st.just("used") | JSON}
)
OUTER = (
    st.fixed_dictionaries({"create": ITEM | st.just(GOOD) | st.just(WRONG) | st.just(THERE)})
    | st.dictionaries(st.sampled_from(["create", "index"]), ITEM, max_size=2)
    | JSON
)
ANSWER = (
    st.fixed_dictionaries(
        {},
        optional={
            "errors": st.booleans() | JSON,
            "items": st.lists(OUTER, min_size=3, max_size=3) | st.lists(OUTER, max_size=4) | JSON,
            "error": ERROR,
        },
    )
    | JSON
)


def expected_result(outer):
    """Return the result of an item by the reference, implemented a second time: True if
    accepted, False if rejected for good, else None."""
    try:
        ((verb, item),) = outer.items()
        status = item["status"]
    except (AttributeError, ValueError, KeyError, TypeError):
        return None
    if verb != "create" or isinstance(status, bool) or not isinstance(status, int):
        return None
    if "error" not in item:
        return True if status in (200, 201) else None
    kind = item["error"].get("type") if isinstance(item["error"], dict) else None
    if not isinstance(kind, str) or not kind:
        return None
    if status == 409:
        return True if kind == "version_conflict_engine_exception" else None
    return (
        False
        if 400 <= status < 500
        and status not in (401, 403, 404, 429)
        and kind not in ("cluster_block_exception", "index_closed_exception")
        else None
    )


@pytest.mark.slow
@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(answer=ANSWER)
@example(answer={"errors": False, "items": [{"create": {"status": 201}}] * 3})
@example(answer={"errors": True, "items": [{"create": GOOD}, {"create": WRONG}, {"create": THERE}]})
@example(answer={"items": [{}]})
@example(answer={"items": [{}, {}, {}]})
def test_any_items(server, output, answer):
    put(server, answer)
    outcome = delivered(output)
    if isinstance(outcome, tuple):
        parts = answer["items"] * (3 if sent(output) == 1 else 1)
        assert answer["errors"] is any(
            "error" in item for outer in answer["items"] for item in outer.values()
        )
        assert outcome == (
            [expected_result(part) for part in parts].count(True),
            [expected_result(part) for part in parts].count(False),
        )


@pytest.mark.slow
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    answer=ANSWER,
    status=st.sampled_from([201, 302, 400, 401, 403, 404, 406, 409, 413, 418, 429, 500, 503]),
)
def test_any_answer_with_any_status(server, output, answer, status):
    put(server, answer, status)
    outcome = delivered(output)
    if (
        isinstance(outcome, tuple) and status != 201
    ):  # each event, sent alone, was rejected with a reason
        assert outcome == (0, 3) and (status == 413 or (status == 400 and isinstance(answer, dict)))


@pytest.mark.parametrize("status", [200, 400, 500])
def test_opensearch_data_stream_is_checked_first(server, status):
    stopping = threading.Event()
    stopping.set()
    opensearch = Opensearch(
        fill_in(Settings, {"hosts": [f"http://127.0.0.1:{server.server_port}"]}),
        OutputContext(stopping=stopping),
    )
    for body in [*BODIES, b"[]", b"7", b'{"data_streams": 7}']:
        put(server, body, status)
        assert isinstance(delivered(opensearch), (Retry, ConfigError))
    opensearch.close()
