"""An answer that a cluster does not give is no success: nothing is accepted for want of a
refusal, nothing is "not there" for want of a hit, and nobody dies of it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.outputs import Around, elasticsearch
from siemtap.outputs.cluster import Settings
from siemtap.outputs.elasticsearch import Elasticsearch, Opensearch

UNIT = Unit("it", "apptrana.attack")
STREAM = "logs-apptrana.attack-default"


def event(number):
    return {
        "@timestamp": "2026-03-04T10:00:00.000Z",
        "data_stream": {"type": "logs", "dataset": "apptrana.attack", "namespace": "default"},
        "event": {
            "id": f"{number:032x}",
            "kind": "event",
            "dataset": "apptrana.attack",
            "module": "apptrana",
        },
    }


EVENTS = [event(number) for number in range(3)]


class Strange(ThreadingHTTPServer):
    """Answers every request with `status` and `body`; a refresh and what is in `known` as a
    cluster would."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body, self.kind, self.asked, self.refresh = (
            200,
            b"{}",
            "application/json",
            [],
            {"_shards": {"failed": 0}},
        )
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        server = self.server
        server.asked.append(self.path)
        status, body, kind = server.status, server.body, server.kind
        if "/_refresh" in self.path:
            status, body, kind = 200, json.dumps(server.refresh).encode(), "application/json"
        self.send_response(status)
        self.send_header("x-elastic-product", "Elasticsearch")
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = answer

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def server():
    server = Strange()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", params=["one request", "several requests"])
def output(request, server):
    """It gives up at the first "not now"."""
    stopping = threading.Event()
    stopping.set()
    more = {"bulk_max_size": 1, "worker": 2} if request.param == "several requests" else {}
    it = Elasticsearch(
        fill_in(Settings, {"hosts": [f"http://127.0.0.1:{server.server_port}"], **more}),
        Around(stopping=stopping),
    )
    yield it
    it.close()


def sent(output):
    """How many events go into one request."""
    return 1 if output.wish.bulk_max_size == 1 else len(EVENTS)


def put(server, body, status=200, kind="application/json"):
    server.status, server.kind = status, kind
    server.body = (
        body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "surrogatepass")
    )


def delivered(output):
    """(accepted, refused), or the error that keeps the cursor where it is."""
    output.most = output.wish.bulk_max_size
    try:
        refused = output.deliver(UNIT, EVENTS, None)
    except (Retry, ConfigError, AuthError) as error:
        return error
    assert all(isinstance(reason, str) for _, reason in refused)
    return len(EVENTS) - len(refused), len(refused)


def items(*parts, errors=None):
    failed = any(not isinstance(part, dict) or "error" in part for part in parts)
    return {
        "errors": failed if errors is None else errors,
        "items": [{"create": part} for part in parts],
    }


GOOD = {"status": 201}
WRONG = {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}}
THERE = {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "there"}}

# fmt: off
ITEMS = [   # one of the lines' answers, beside good ones
    {}, {"status": 0}, {"status": None}, {"status": True}, {"status": "201"}, {"status": 201.0}, {"status": [201]}, {"status": {}}, {"status": -1}, {"status": 100}, {"status": 202}, {"status": 204}, {"status": 299},
    {"status": 301}, {"status": 399}, {"status": 600}, {"status": 2010}, {"status": 10**30}, {"status": 200, "error": {"type": "x", "reason": "y"}}, {"status": 201, "error": "x"}, {"status": 201, "error": None}, {"status": 201, "error": {}},
    {"status": 400}, {"status": 400, "error": {}}, {"status": 400, "error": None}, {"status": 400, "error": "x"}, {"status": 400, "error": []}, {"status": 400, "error": {"type": None}}, {"status": 400, "error": {"type": ""}},
    {"status": 400, "error": {"type": ["x"]}}, {"status": 409}, {"status": 409, "error": {"type": "other_exception"}}, {"status": 500}, {"error": {"type": "x"}}, {"status": 507, "error": {"type": "x"}}, None, 7, "x", [], [GOOD], True]
WHOLE = [   # the whole answer
    {}, [], None, 7, "x", True, {"items": []}, {"errors": False}, {"errors": False, "items": []}, {"errors": False, "items": {}}, {"errors": False, "items": 3}, {"errors": False, "items": "xyz"}, {"errors": False, "items": None},
    {"errors": False, "items": [{}, {}, {}]}, {"items": [{}]}, {"errors": False, "items": [{"create": GOOD}] * 2}, {"errors": False, "items": [{"create": GOOD}] * 4}, {"items": [{"create": GOOD}] * 3}, {"errors": 0, "items": [{"create": GOOD}] * 3},
    {"errors": "false", "items": [{"create": GOOD}] * 3}, {"errors": True, "items": [{"create": GOOD}] * 3}, {"errors": False, "items": [{"create": WRONG}] * 3}, {"errors": False, "items": [{"create": THERE}] * 3}, {"errors": None, "items": [{"create": GOOD}] * 3},
    {"errors": False, "items": [{"index": GOOD}] * 3}, {"errors": False, "items": [{"create": GOOD, "index": GOOD}] * 3}, {"errors": False, "items": [GOOD] * 3}, {"errors": False, "items": [[GOOD]] * 3}, {"acknowledged": True}, {"error": None}, {"status": 200}]
BODIES = [b"", b" ", b"{", b'{"items":', b"\xff\xfe", b"<html>login</html>", b"null", b"[" * 5000 + b"]" * 5000, b'{"items":' + b"[" * 980 + b"]" * 980 + b"}", b'{"error":' + b'{"caused_by":' * 960 + b"1" + b"}" * 961, b"NaN", b'{"a":1}{"b":2}', b'{"items": [{"create": {"status": 1e400}}]}']
# fmt: on


@pytest.mark.parametrize("item", ITEMS, ids=json.dumps)
def test_a_line_without_a_proper_verdict_is_not_accepted(server, output, item):
    for place in range(3):
        parts = [GOOD] * sent(output)
        parts[place % len(parts)] = item
        for errors in (None, True, False):
            put(server, items(*parts, errors=errors))
            assert isinstance(delivered(output), Retry)


@pytest.mark.parametrize("status", [200, 201, 202, 203])
@pytest.mark.parametrize("body", WHOLE, ids=json.dumps)
def test_an_answer_of_another_shape_accepts_nothing(server, output, body, status):
    if sent(output) == 1 and isinstance(body, dict) and isinstance(body.get("items"), list):
        body = {**body, "items": body["items"][:1] if len(body["items"]) == 3 else body["items"]}
    put(server, body, status)
    assert isinstance(delivered(output), Retry)


@pytest.mark.parametrize(
    "status", [200, 204, 206, 299, 302, 400, 404, 409, 413, 418, 429, 500, 503, 507, 599]
)
def test_a_body_that_is_no_answer(server, output, status):
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
            # A proxy's 413 says of one event alone that it is too large, in whatever words.
            assert isinstance(outcome, (Retry, ConfigError)) or (
                status == 413 and outcome == (0, 3)
            ), (body[:50], kind, outcome)


def test_proper_verdicts(server, output):
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


def test_what_has_no_verdict_at_all_waits(server, output, monkeypatch):
    """By construction: whatever is wrong in what judges an answer, a line that nobody judged is
    not accepted."""
    monkeypatch.setattr(output, "_send_all", lambda parts: [])
    assert isinstance(delivered(output), Retry)
    monkeypatch.setattr(output, "_send_all", lambda parts: [elasticsearch.Verdict([], [], "", 2)])
    assert isinstance(delivered(output), Retry)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([200, 201, 400, 409, "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "items",
                    "errors",
                    "error",
                    "status",
                    "create",
                    "index",
                    "type",
                    "reason",
                    "caused_by",
                    "hits",
                    "_id",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
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


def proper(outer):
    """What the reference says of an item, written a second time: True accepted, False refused
    for good, None neither."""
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
        and kind != "cluster_block_exception"
        else None
    )


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(answer=ANSWER)
@example(answer={"errors": False, "items": [{"create": {"status": 201}}] * 3})
@example(answer={"errors": True, "items": [{"create": GOOD}, {"create": WRONG}, {"create": THERE}]})
@example(answer={"items": [{}]})
@example(answer={"items": [{}, {}, {}]})
def test_any_answer(server, output, answer):
    put(server, answer)
    outcome = delivered(output)
    if isinstance(outcome, tuple):
        parts = answer["items"] * (3 if sent(output) == 1 else 1)
        assert answer["errors"] is any(
            "error" in item for outer in answer["items"] for item in outer.values()
        )
        assert outcome == (
            [proper(part) for part in parts].count(True),
            [proper(part) for part in parts].count(False),
        )


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    answer=ANSWER,
    status=st.sampled_from([201, 302, 400, 401, 403, 404, 406, 409, 413, 418, 429, 500, 503]),
)
def test_any_answer_of_any_status(server, output, answer, status):
    put(server, answer, status)
    outcome = delivered(output)
    if isinstance(outcome, tuple) and status != 201:  # each event, alone, was refused with a reason
        assert outcome == (0, 3) and (status == 413 or (status == 400 and isinstance(answer, dict)))


# Searches: an answer that is none is no "not there", and no "there"

# fmt: off
SEARCHES = [
    {}, [], None, 7, "x", {"hits": {"hits": []}}, {"timed_out": False}, {"timed_out": True, "_shards": {"failed": 0}}, {"timed_out": False, "_shards": {"failed": 1}}, {"timed_out": False, "_shards": {"failed": False}}, {"timed_out": False, "_shards": {}},
    {"timed_out": False, "_shards": 0}, {"timed_out": 0, "_shards": {"failed": 0}}, {"timed_out": "false", "_shards": {"failed": 0}, "hits": {"hits": []}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": []},
    {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": {}}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [7]}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [{}]}},
    {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [{"_id": 7}]}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [{"_id": "f" * 32, "_source": 7, "sort": []}]}}, {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": None}}]
# fmt: on


def whole(*ids, **more):
    return {
        "timed_out": False,
        "_shards": {"failed": 0},
        "hits": {"hits": [{"_id": id, "_source": {}, "sort": [1]} for id in ids]},
        **more,
    }


@pytest.mark.parametrize("body", SEARCHES, ids=json.dumps)
def test_a_search_that_is_none(server, output, body):
    put(server, body)
    with pytest.raises((Retry, ConfigError)):
        output.holds(UNIT, EVENTS)
    with pytest.raises((Retry, ConfigError)):
        list(output.read(UNIT, "default", 0, 10**13))
    with pytest.raises((Retry, ConfigError)):
        output.ignored({(UNIT, "default")}, 10**12)


@pytest.mark.parametrize(
    "refresh", [{}, [], {"_shards": {"failed": 2}}, {"_shards": {}}, {"_shards": {"failed": "0"}}]
)
def test_a_refresh_that_failed(server, output, refresh):
    """What a search did not see may be there all the same."""
    put(server, whole())
    server.refresh = refresh
    try:
        with pytest.raises(Retry):
            output.holds(UNIT, EVENTS)
        with pytest.raises(Retry):
            list(output.read(UNIT, "default", 0, 10**13))
    finally:
        server.refresh = {"_shards": {"failed": 0}}


def test_a_whole_search(server, output):
    put(server, whole(EVENTS[1]["event"]["id"]))
    assert output.holds(UNIT, EVENTS) == {EVENTS[1]["event"]["id"]} and list(
        output.read(UNIT, "default", 0, 10**13)
    ) == [{}]
    put(server, {"timed_out": False, "_shards": {"failed": 0}})
    assert output.holds(UNIT, EVENTS) == set()
    put(server, {"count": 3})
    assert output.ignored({(UNIT, "default")}, 10**12) == 3


@settings(
    max_examples=200,
    deadline=None,
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
def test_any_answer_to_a_search(server, output, answer, status):
    output.can_hold = True
    put(server, answer, status)
    for call in (
        lambda: output.holds(UNIT, EVENTS),
        lambda: list(output.read(UNIT, "default", 0, 10**13)),
        lambda: output.ignored({(UNIT, "default")}, 10**12),
    ):
        try:
            call()
        except (Retry, ConfigError, AuthError):
            pass


@pytest.mark.parametrize("status", [200, 400, 500])
def test_opensearch_is_asked_for_its_stream_first(server, status):
    stopping = threading.Event()
    stopping.set()
    it = Opensearch(
        fill_in(Settings, {"hosts": [f"http://127.0.0.1:{server.server_port}"]}),
        Around(stopping=stopping),
    )
    for body in [*BODIES, b"[]", b"7", b'{"data_streams": 7}']:
        put(server, body, status)
        assert isinstance(delivered(it), (Retry, ConfigError))
    it.close()
