"""A proxy in front of a store, which answers for it: honestly, not at all, or rudely at random.

What it passes on and what it answers are two things: a request may reach the store, and the answer
say that it did not. One lie is not told, because nobody could tell: that an event is stored which
is not.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

PAGE = b"<!doctype html><html><body>A proxy says: try again later.</body></html>"
# fmt: off
SHAPES = (
    b"", b" ", b"null", b"[]", b"{}", b"true", b"17", b'"ok"', b"{", b"NaN", b"\xff\xfe", b'{"items":', b'{"items":null}', b'{"items":{}}', b'{"items":[null]}',
    b'{"errors":false}', b'{"errors":false,"items":[]}', b'{"acks":[]}', b'{"acks":{}}', b'{"code":null}', b'{"code":"0"}', b'{"text":"Success"}',
    b'{"hits":null}', b'{"hits":{"hits":"no"}}', b"[" * 3_000, b'{"error":{"type":7,"reason":[]}}',
)
# fmt: on
STATUSES = (408, 413, 425, 429, 429, 500, 502, 503, 503, 504)
ITEMS = (  # (status, type, reason) of an event that the store did not get
    (429, "es_rejected_execution_exception", "rejected execution of primary operation"),
    (503, "unavailable_shards_exception", "primary shard is not active"),
    (503, "no_shard_available_action_exception", "no shard available"),
    (400, "document_parsing_exception", "the campaign says that it cannot be parsed"),
)
CODES = (  # (HTTP status, code, text)
    (200, 9, "Server is busy"),
    (200, 8, "Internal server error"),
    (200, 26, "Queue at capacity"),
    (200, 6, "Invalid data format"),
    (400, 6, "Invalid data format"),
    (503, 9, "Server is busy"),
    (503, 23, "Server is shutting down"),
    (429, 26, "Queue at capacity"),
    (500, 8, "Internal server error"),
)

ACKS = "/services/collector/ack"


class Reply(NamedTuple):
    """An answer, and how it is sent. `cut`: bytes of the body before the connection is reset.
    `drip`: real seconds between two bytes."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    cut: int | None = None
    drip: float = 0.0
    retry_after: str = ""


class RudeProxy(ThreadingHTTPServer):
    """The proxy. `mode`: honest, rude, or one of the ways to be away: silent (no answer), reset;
    `close` and `open` its port for a connection that is refused.

    counts: how often it did what. spoiled: event.id -> how often an event reached the store and the
    answer did not say so, or its acknowledgement was not passed on. now: the time of `Retry-After`, in seconds.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, upstream, seed=1, share=0.5, now=time.time, port=0, state=None):
        self.upstream, self.share, self.now = urlsplit(upstream).netloc, share, now
        self.mode = "honest"
        self.lock = threading.Lock()
        new = random.Random(seed), Counter(), Counter(), {}
        # unacknowledged: (channel, ackId) -> events of a request that HEC has answered with it
        self.luck, self.counts, self.spoiled, self.unacknowledged = state or new
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=[0.02], daemon=True)
        self.thread.start()

    def close(self):
        """Close the port; connections end with their next request."""
        self.mode = "reset"
        self.shutdown()
        self.server_close()

    def opened(self):
        """Return a proxy that goes on at the same port."""
        state = (self.luck, self.counts, self.spoiled, self.unacknowledged)
        return RudeProxy(
            f"http://{self.upstream}", 0, self.share, self.now, self.server_port, state
        )

    def handle_error(self, request, client_address):
        """Ignore clients that disconnect."""

    def pass_on(self, method, path, headers, body):
        """Return (status, body, kind) of the store."""
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        named = {
            name: value
            for name, value in headers.items()
            if name.lower() not in ("host", "content-length", "connection")
        }
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("content-type", "")
        finally:
            connection.close()

    def answer(self, method, path, headers, body):
        """Return the Reply for a request; None to hang up."""
        with self.lock:
            mode = self.mode
            rude = mode == "rude" and self.luck.random() < self.share
            seed = self.luck.random()
        if mode in ("silent", "reset"):
            self.count(mode)
            self.spoil(self.asked(path, headers, body))
            if mode == "silent":
                time.sleep(30)
            return None
        if not rude:
            reply = Reply(*self.pass_on(method, path, headers, body))
            self.note_acknowledgements(path, headers, body, reply)
            return reply
        luck = random.Random(seed)
        self.spoil(self.asked(path, headers, body))
        events = lines_of(path, headers, body)
        kinds = ["cut", "none", "drip", "page", "shape", "status", "status"]
        if events and "/_bulk" in path:
            kinds += 3 * ["items", "number"] + ["errors"]
        elif events:
            kinds += 4 * ["code"]
        elif path.startswith(ACKS):
            kinds += 4 * ["unindexed"]
        kind = luck.choice(kinds)
        self.count(kind)
        return getattr(self, f"answer_{kind}")(luck, events, (method, path, headers, body))

    def count(self, name):
        with self.lock:
            self.counts[name] += 1

    def spoil(self, events):
        with self.lock:
            self.spoiled.update(event.id for event in events)

    # Acknowledgements of HEC

    def asked(self, path, headers, body):
        """Return the events of the requests whose acknowledgement is asked for."""
        if not path.startswith(ACKS):
            return []
        channel = headers.get("x-splunk-request-channel")
        with self.lock:
            each = [self.unacknowledged.get((channel, id), []) for id in json.loads(body)["acks"]]
        return [event for events in each for event in events]

    def note_acknowledgements(self, path, headers, body, reply):
        channel = headers.get("x-splunk-request-channel")
        if not channel or reply.status != 200:
            return
        answer, events = json.loads(reply.body), lines_of(path, headers, body)
        with self.lock:
            if events:
                self.unacknowledged[channel, answer["ackId"]] = events
            for id, is_indexed in answer.get("acks", {}).items():
                if is_indexed:
                    self.unacknowledged.pop((channel, int(id)), None)

    def spoil_unacknowledged(self):
        """Note that HEC forgets what it has not acknowledged."""
        with self.lock:
            waiting = [event for events in self.unacknowledged.values() for event in events]
            self.unacknowledged.clear()
        self.spoil(waiting)

    def perhaps(self, luck, events, request):
        """Pass a request on, or not; the answer will not tell."""
        if luck.random() < 0.5:
            self.spoil(events)
            self.pass_on(*request)

    # Slow, half and no answers

    def answer_none(self, luck, events, request):
        self.perhaps(luck, events, request)
        return None

    def answer_cut(self, luck, events, request):
        self.spoil(events)
        reply = Reply(*self.pass_on(*request))
        return reply._replace(cut=luck.randrange(len(reply.body) + 1))

    def answer_drip(self, luck, events, request):
        self.spoil(events)  # it may come too late
        reply = Reply(*self.pass_on(*request))
        return reply._replace(drip=luck.choice((0.001, 0.02, 0.2)))

    # Wrong answers

    def answer_page(self, luck, events, request):
        self.perhaps(luck, events, request)
        return Reply(luck.choice((200, 200, 502)), PAGE, "text/html")

    def answer_shape(self, luck, events, request):
        self.perhaps(luck, events, request)
        return Reply(200, luck.choice(SHAPES))

    def answer_status(self, luck, events, request):
        status = luck.choice(STATUSES)
        if status != 413:  # whoever says so has not read the body
            self.perhaps(luck, events, request)
        seconds = luck.choice((1, 5, 20))
        after = luck.choice(("", str(seconds), "-1", "soon", "date"))
        if after == "date":
            after = email.utils.formatdate(self.now() + seconds, usegmt=True)
        body, kind = luck.choice(((PAGE, "text/html"), (b"{}", "application/json"), (b"", "")))
        return Reply(status, body, kind, retry_after=after)

    # Lies: 200 with errors inside

    def answer_items(self, luck, events, request):
        """Some events do not reach the store, and their items say so."""
        failed = {
            number: luck.choice(ITEMS) for number in range(len(events)) if luck.random() < 0.3
        }
        method, path, headers, _ = request
        kept = [event for number, event in enumerate(events) if number not in failed]
        items = []
        if kept:
            plain = {k: v for k, v in headers.items() if k.lower() != "content-encoding"}
            body = b"".join(event.lines for event in kept)
            items = json.loads(self.pass_on(method, path, plain, body)[1])["items"]
        stored = iter(items)
        answers = []
        for number in range(len(events)):
            if number in failed:
                status, kind, reason = failed[number]
                error = {"type": kind, "reason": reason}
                answers.append({"create": {"status": status, "error": error}})
            else:
                answers.append(next(stored))
        errors = any("error" in item["create"] for item in answers)
        return Reply(200, json.dumps({"errors": errors, "items": answers}).encode())

    def answer_number(self, luck, events, request):
        """An item too few or too many."""
        self.spoil(events)
        answer = json.loads(self.pass_on(*request)[1])
        items = answer.get("items", [])
        wrong = items[1:] if luck.random() < 0.5 else [*items, *items[:1]]
        return Reply(200, json.dumps({**answer, "items": wrong}).encode())

    def answer_errors(self, luck, events, request):
        """`errors` contradicts the items."""
        self.spoil(events)
        answer = json.loads(self.pass_on(*request)[1])
        return Reply(200, json.dumps({**answer, "errors": not answer.get("errors")}).encode())

    def answer_code(self, luck, events, request):
        """A code of HEC that is not success, perhaps with status 200."""
        self.perhaps(luck, events, request)
        status, code, text = luck.choice(CODES)
        body = {"text": text, "code": code}
        if code == 6:
            body["invalid-event-number"] = luck.randrange(len(events) + 1)
        return Reply(status, json.dumps(body).encode())

    def answer_unindexed(self, luck, events, request):
        """Nothing is acknowledged, although HEC says `true` only once."""
        answer = json.loads(self.pass_on(*request)[1])
        acks = dict.fromkeys(answer.get("acks", {}), False)
        return Reply(200, json.dumps({"acks": acks}).encode())


class Event(NamedTuple):
    """An event of a request: its id, and its lines."""

    id: str
    lines: bytes


def lines_of(path, headers, body):
    """Return the events of a `_bulk` request, or of a post to HEC; nothing for another request."""
    if headers.get("content-encoding") == "gzip":
        body = zlib.decompress(body, 31)
    if "/_bulk" in path:
        lines = body.splitlines(keepends=True)
        return [
            Event(json.loads(action)["create"]["_id"], action + document)
            for action, document in zip(lines[::2], lines[1::2])
        ]
    if "/services/collector/event" in path:
        return [
            Event(id_of(json.loads(json.loads(line)["event"])), line) for line in body.splitlines()
        ]
    return []


def id_of(event):
    """Return the id of an event, compact as in Splunk or not."""
    return event.get("event.id") or event["event"]["id"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: RudeProxy

    def respond(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with contextlib.suppress(OSError):
            reply = self.server.answer(self.command, self.path, headers, body)
            if reply is None:
                return self.reset()
            self.send(reply)
        return None

    do_GET = do_POST = do_PUT = do_HEAD = respond

    def send(self, reply):
        self.send_response(reply.status)
        self.send_header("x-elastic-product", "Elasticsearch")
        if reply.kind:
            self.send_header("content-type", reply.kind)
        if reply.retry_after:
            self.send_header("retry-after", reply.retry_after)
        self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.cut is not None:
            self.wfile.write(reply.body[: reply.cut])
            self.wfile.flush()
            self.reset()
        elif reply.drip:
            self.wfile.flush()
            for byte in reply.body[:2_000]:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(reply.drip)
            self.wfile.write(reply.body[2_000:])
        else:
            self.wfile.write(reply.body)

    def reset(self):
        """Reset the connection."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *arguments):
        pass
