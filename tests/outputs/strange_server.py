"""A server that returns the answers of a test, and the result that an output returns for them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hypothesis import strategies as st

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.model import Unit

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


class StrangeServer(ThreadingHTTPServer):
    """A server that answers every request with `status` and `body`. It answers a refresh and the
    requests in `known` as a cluster does."""

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

    def log_message(self, *arguments):
        pass


def sent(output):
    """Return the number of events in a request."""
    return 1 if output.settings.bulk_max_size == 1 else len(EVENTS)


def put(server, body, status=200, kind="application/json"):
    server.status, server.kind = status, kind
    server.body = (
        body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "surrogatepass")
    )


def delivered(output):
    """Return the numbers of (accepted, rejected) events, or the error that stops the checkpoint."""
    output.bulk.most = output.settings.bulk_max_size
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
BODIES = [b"", b" ", b"{", b'{"items":', b"\xff\xfe", b"<html>login</html>", b"null", b"[" * 5000 + b"]" * 5000, b'{"items":' + b"[" * 980 + b"]" * 980 + b"}", b'{"error":' + b'{"caused_by":' * 960 + b"1" + b"}" * 961, b"NaN", b'{"a":1}{"b":2}', b'{"items": [{"create": {"status": 1e400}}]}']
# fmt: on


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
