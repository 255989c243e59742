"""Raw HTTP requests for the tests of the webhook, with both HTTP parsers."""

import contextlib
import re
import socket

import pytest

from siemtap.edge.receive.listener import Listener, WebhookProtocol, WebhookProtocolH11
from siemtap.edge.receive.spool import Spool
from siemtap.edge.receive.webhook import Endpoint

SECRET = "3f9c1d7ab2e04c58"


PATH = f"/acme/{SECRET}"


H2C = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings:"
    " AAMAAABkAAQAoAAAAAIAAAAA\r\n"
)


WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key:"
    " dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


BOTH = pytest.mark.parametrize(
    "listener",
    [WebhookProtocol, WebhookProtocolH11]
    if WebhookProtocol.__mro__[2] is not WebhookProtocolH11.__mro__[2]
    else [WebhookProtocolH11],
    indirect=True,
    ids=lambda protocol: protocol.__name__,
)


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def listener(request, spool):
    listener = Listener("127.0.0.1", 0, protocol=request.param)
    listener.app.endpoints.append(Endpoint("acme", SECRET, spool, max_body_bytes=100_000))
    yield listener
    listener.close()


def head(more="", method="POST", target=PATH, version="1.1", length=None):
    return (
        f"{method} {target} HTTP/{version}\r\nHost:"
        f" a\r\n{more}{'' if length is None else f'Content-Length: {length}' + chr(13) + chr(10)}\r\n".encode()
    )


def request_with_length(body, more="", **how):
    return head(more, length=len(body), **how) + body


def chunked_body(*parts, extension="", trailers=""):
    return (
        b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension.encode(), part) for part in parts)
        + b"0\r\n"
        + trailers.encode()
        + b"\r\n"
    )


def chunked_request(*parts, more="", **how):
    return head("Transfer-Encoding: chunked\r\n" + more) + chunked_body(*parts, **how)


def ask(listener, data, answers, pause=None):
    """Send data and return the final status of each answer, until `answers` of them have arrived
    or the server closes the connection. `pause`: bytes to send after a 100."""
    with socket.create_connection(
        ("127.0.0.1", int(listener.address.rsplit(":", 1)[1])), timeout=300
    ) as peer:
        for piece in data if isinstance(data, list) else [data]:
            with contextlib.suppress(OSError):  # the server may have closed the connection already
                peer.sendall(piece)
        received = b""
        with contextlib.suppress(ConnectionError):
            while len(statuses(received)) < answers and (part := peer.recv(65536)):
                received += part
                if pause and b"100 Continue" in received:
                    peer.sendall(pause)
                    pause = None
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(65536):
                received += part
        return statuses(received)


def statuses(received):
    return [
        int(code)
        for code in re.findall(rb"^HTTP/1\.1 ([0-9]{3}) [^\r]*\r$", received, re.MULTILINE)
        if code[:1] != b"1"
    ]


def bodies(spool):
    return [payload.body for payload in spool.read({}, 100_000)[0]]


GOOD = b'{"a": 1}'
