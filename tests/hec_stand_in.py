"""A strict stand-in for Splunk's HTTP Event Collector, written from Splunk's documentation:

FORMAT    Getting Data In, "Format events for HTTP Event Collector"
ACK       Getting Data In, "About HTTP Event Collector Indexer Acknowledgment"
CODES     Getting Data In, "Troubleshoot HTTP Event Collector", "Possible error codes"
REST      REST API Reference, "Input endpoints", services/collector/…
LIMITS    limits.conf, stanza [http_input]

What no page says is marked "reported": seen at a real Splunk by others (mockdr measured 10.4.2; moby
issue 35862; Vector's source splunk_hec).
"""

import gzip
import json
import ssl
import threading
import time
import uuid
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "b5a79aad-d822-46cc-80d1-819f80d7bfb0"
# CODES: code -> (HTTP status, text)
CODES = {
    0: (200, "Success"),
    1: (403, "Token disabled"),
    2: (401, "Token is required"),
    3: (401, "Invalid authorization"),
    4: (403, "Invalid token"),
    5: (400, "No data"),
    6: (400, "Invalid data format"),
    7: (400, "Incorrect index"),
    8: (500, "Internal server error"),
    9: (503, "Server is busy"),
    10: (400, "Data channel is missing"),
    11: (400, "Invalid data channel"),
    12: (400, "Event field is required"),
    13: (400, "Event field cannot be blank"),
    14: (400, "ACK is disabled"),
    15: (400, "Error in handling indexed fields"),
    16: (400, "Query string authorization is not enabled"),
    17: (200, "HEC is healthy"),
    18: (503, "HEC is unhealthy, queues are full"),
    19: (503, "HEC is unhealthy, ack service unavailable"),
    20: (503, "HEC is unhealthy, queues are full, ack service unavailable"),
    21: (400, "Invalid token"),
    22: (400, "Token disabled"),
    23: (503, "Server is shutting down"),
    24: (200, "Approaching queue capacity"),
    25: (200, "Approaching ack capacity"),
    26: (429, "Queue at capacity"),
    27: (429, "ACK channel at capacity"),
}
METADATA = ("host", "source", "sourcetype", "index")


class Refused(Exception):
    """A request that is answered with a code. `more`: further members of the answer."""

    def __init__(self, code, **more):
        super().__init__(code)
        self.code, self.more = code, more


class Hec(ThreadingHTTPServer):
    """The server. `url`: its address. folder: of cert.pem and key.pem, for TLS. client_ca: the
    authority of the client certificates that it demands.

    ack: whether the token has indexer acknowledgement. indexes: those that the token allows, the
    default first. health: the code of the health endpoint. faults: what happens to the next posts
    of events, first to last: a code; "lost" (indexed, no answer); "dropped" (no answer, not
    indexed); "drip" (an answer that never ends); a function of the handler; None: nothing.
    acks: "at once", "never", a number of polls before `true`, or "lost" (the first poll has no
    answer, which would have had the `true`).
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder=None, client_ca=None, **more):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.token, self.disabled, self.ack, self.indexes = TOKEN, False, False, ("main",)
        self.max_content_length, self.health, self.faults, self.acks = (
            838_860_800,
            17,
            [],
            "at once",
        )
        self.cookie, self.headers = "", {}
        self.indexed, self.requests, self.polls = [], [], []
        self.__dict__.update(more)
        scheme = "http"
        if folder:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
            if client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(client_ca)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server_port}"
        self.restart()
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    def restart(self):
        """Forget all channels, as a restart does: ACK, ids are held in memory."""
        self.channels = {}  # channel -> [polls until the request of this ackId is acknowledged]

    def ids(self):
        """Return event.id of each indexed event."""
        events = [json.loads(event["raw"]) for event in self.indexed]
        return [event.get("event.id") or event["event"]["id"] for event in events]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet

    def do_GET(self):
        path = urlsplit(self.path).path
        if path not in ("/services/collector/health", "/services/collector/health/1.0"):
            return self.unknown()
        # REST names 400 for an invalid token. Reported: the endpoint ignores the token.
        return self.answer(self.server.health)

    def do_POST(self):
        length = self.headers.get("content-length")
        if length is None or not length.isdigit():
            self.close_connection = True
            return self.page(411)
        # LIMITS: max_content_length. Reported: the answer is a page, no JSON.
        if int(length) > self.server.max_content_length:
            self.close_connection = True
            return self.page(413)
        body = self.rfile.read(int(length))
        path = urlsplit(self.path).path.removesuffix("/1.0")
        self.server.requests.append((self.path, dict(self.headers), body))
        try:
            if path in ("/services/collector", "/services/collector/event"):
                return self.events(body)
            if path == "/services/collector/ack":
                return self.query(body)
            return self.unknown()
        except Refused as refused:
            return self.answer(refused.code, **refused.more)

    def authorize(self):
        """FORMAT, "HEC token": the header `Authorization: Splunk <token>`."""
        if "token" in parse_qs(urlsplit(self.path).query):
            raise Refused(16)  # "Query string": off by default
        header = self.headers.get("authorization")
        if not header:
            raise Refused(2)
        scheme, _, token = header.partition(" ")
        if scheme != "Splunk" or not token.strip():
            raise Refused(3)
        if token.strip() != self.server.token:
            raise Refused(4)
        if self.server.disabled:
            raise Refused(1)

    def channel(self):
        """FORMAT, "Channel identifier header": a GUID, in the header or in the URL."""
        query = parse_qs(urlsplit(self.path).query)
        channel = self.headers.get("x-splunk-request-channel") or query.get("channel", [""])[0]
        if not channel:
            raise Refused(10)
        try:
            return str(uuid.UUID(channel))
        except ValueError:
            raise Refused(11) from None

    def events(self, body):
        self.authorize()  # reported: before the channel
        channel = self.channel() if self.server.ack else ""
        encoding = self.headers.get("content-encoding", "")
        if encoding not in ("", "gzip"):
            return self.page(415)
        if encoding:
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError, zlib.error):
                raise Refused(6) from None
        if not body.strip():
            raise Refused(5)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "dropped":
            return self.hang_up()
        if type(fault) is int and fault not in (24, 25):
            raise Refused(fault)
        if callable(fault):
            return fault(self)
        self.index(body)
        more = self.acknowledge(channel) if channel else {}
        if fault == "lost":
            return self.hang_up()
        if fault == "drip":
            return self.drip()
        return self.answer(fault or 0, **more)

    def index(self, body):
        """FORMAT, "Event data": objects one after the other, no comma. Reported: an array is taken.

        Reported: events before the invalid one are indexed, those after it are not. So does Vector's
        source splunk_hec: an object takes what it does not name from the one before it.
        """
        before = {}
        text, at, number = body.decode("utf-8", "strict"), 0, 0
        decoder = json.JSONDecoder()
        while text[at:].strip():
            at += len(text[at:]) - len(text[at:].lstrip())
            try:
                envelope, at = decoder.raw_decode(text, at)
            except ValueError:
                raise Refused(6, **{"invalid-event-number": number}) from None
            for each in envelope if isinstance(envelope, list) else [envelope]:
                if isinstance(each, dict):
                    named = {name: each[name] for name in (*METADATA, "time") if name in each}
                    before = {**before, **named}
                    each = {**before, **each}
                event = self.read(each, number)
                with self.server.lock:
                    self.server.indexed.append(event)
                number += 1

    def read(self, envelope, number):
        """FORMAT, "Event metadata" and "Event data"."""
        where = {"invalid-event-number": number}
        if not isinstance(envelope, dict):
            raise Refused(6, **where)
        if "event" not in envelope:
            raise Refused(12, **where)
        event = envelope["event"]
        if event in (None, {}, []) or (isinstance(event, str) and not event.strip()):
            raise Refused(13, **where)  # reported: null and empty ones, too
        if isinstance(event, (list, bool)) or any(
            not isinstance(envelope.get(name, ""), str) for name in METADATA
        ):
            raise Refused(6, **where)
        try:
            at = float(envelope["time"]) if "time" in envelope else None
        except (TypeError, ValueError):
            raise Refused(15, **where) from None  # reported
        fields = envelope.get("fields", {})
        if not isinstance(fields, dict) or any(isinstance(each, dict) for each in fields.values()):
            raise Refused(15, **where)
        index = envelope.get("index", self.server.indexes[0])
        if index not in self.server.indexes:
            raise Refused(7, **{"invalid-event-number": number + 1})  # reported: one higher
        query = parse_qs(urlsplit(self.path).query)
        return {
            **{name: envelope.get(name) for name in METADATA},
            "index": index,
            "time": at,
            # REST, services/collector/event: auto_extract_timestamp; otherwise the time of arrival
            "is_time_extracted": at is None and query.get("auto_extract_timestamp") == ["true"],
            "raw": event if isinstance(event, str) else json.dumps(event),
        }

    def acknowledge(self, channel):
        """ACK: each request gets an id, from 0 on in each channel."""
        acks = self.server.acks
        polls = {"at once": 0, "lost": 0, "never": None}.get(acks, acks)
        with self.server.lock:
            ids = self.server.channels.setdefault(channel, [])
            ids.append(polls(len(ids)) if callable(polls) else polls)
            return {"ackId": len(ids) - 1}

    def query(self, body):
        """ACK, "Query for indexing status": `true` once, then the id is forgotten; `false` for
        what is not indexed yet and for what is not known."""
        self.authorize()
        if not self.server.ack:
            raise Refused(14)
        channel = self.channel()
        try:
            asked = json.loads(body)["acks"]
            assert all(type(each) is int for each in asked)
        except (ValueError, KeyError, TypeError, AssertionError):
            raise Refused(6) from None
        self.server.polls.append((channel, asked, self.headers.get("cookie", "")))
        ids, acks = self.server.channels.get(channel, []), {}
        with self.server.lock:
            for each in asked:
                left = ids[each] if each < len(ids) else None
                acks[str(each)] = left == 0
                if left is not None:
                    ids[each] = left - 1 if left else None
        if self.server.acks == "lost":
            self.server.acks = "at once"
            return self.hang_up()
        return self.send(200, json.dumps({"acks": acks}).encode(), "application/json")

    # Answers

    def answer(self, code, **more):
        status, text = CODES[code]
        body = json.dumps({"text": text, "code": code, **more}).encode()
        self.send(status, body, "application/json")

    def page(self, status):
        self.send(status, b"<!doctype html><html><body>refused</body></html>", "text/html")

    def unknown(self):
        self.send(404, b'{"text":"The requested URL was not found","code":404}', "application/json")

    def send(self, status, body, kind):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if self.server.cookie:
            self.send_header("set-cookie", self.server.cookie)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True

    def drip(self):
        self.send_response(200)
        self.send_header("content-length", "1000000")
        self.end_headers()
        try:
            for _ in range(600):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def log_message(self, *arguments):
        pass
