"""The time-out of a call is for the whole call: a server that goes on sending a little passes every
time-out of a read, and not the deadline."""

import contextlib
import socket
import threading
import time

import pytest
import urllib3
from edge.echo_server import EchoServer, http

from siemtap.core.errors import Retry
from siemtap.edge.deadline import bounded
from siemtap.testing.simulation import Server

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "head": (b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
    "one line of the head": (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk extension": (CHUNKED + b"2;slow=", b"x"),
    "body": (OK + b"Content-Length: 100000\r\n\r\n", b" "),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Slow: 1\r\n"),
    "silence after a part": (b"HTTP/1.1 200 OK\r\n", b""),
}


@pytest.fixture
def dripping(request):
    """Yield the URL of a server that sends a beginning, and then a part every 50 ms for ever."""
    begin, part = DRIPS[request.param]
    over = threading.Event()

    def serve(peer):
        with peer, contextlib.suppress(OSError):
            peer.recv(65536)
            peer.sendall(begin)
            while not over.wait(0.05):
                peer.sendall(part)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()


EVERY = pytest.mark.parametrize("dripping", DRIPS, indirect=True)


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("through", ["directly", "through a proxy"])
def test_call_of_a_vendor_ends(dripping, through):
    url, more = (
        (dripping, {}) if through == "directly" else ("http://api.example.com", {"proxy": dripping})
    )
    client = http(timeout="1s", **more)
    began = time.monotonic()
    with pytest.raises(Retry, match="did not end within 1 s|no answer within 1 s") as error:
        client.json(client.get(f"{url}/x"))
    assert time.monotonic() - began < 15 and error.value.narrower


def test_tunnel_of_a_proxy_ends():
    """The answer to CONNECT is part of the call."""
    over = threading.Event()

    def serve():
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.recv(65536)
            while not over.wait(0.05):
                peer.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        client = http(timeout="1s", proxy=f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(Retry):
            client.json(client.get("https://api.example.com/x"))
        assert time.monotonic() - began < 15
        over.set()


@pytest.mark.slow
def test_connection_is_used_again_after_a_call():
    """A deadline of an earlier call closes no connection of a later one."""
    server = Server(EchoServer())
    client = http(timeout="1s")
    for _ in range(5):
        assert client.json(client.get(f"{server.url}/x")) == {"ok": 1}
        time.sleep(0.4)
    server.close()


def test_errors_show_the_name_of_the_connection_of_urllib3():
    """`ConnectionError HTTPSConnection(host=…)`, as everywhere else, and no name of ours."""
    kept = bounded(urllib3.connection.HTTPSConnection)
    assert str(kept("es.example.com", 9200)).startswith("HTTPSConnection(host=")
