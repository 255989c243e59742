"""The status page answers whoever else is connected, and only under its own names."""

import contextlib
import socket
import time
import types

import pytest
from edge.test_limits import connections

from siemtap.core.errors import Retry
from siemtap.edge.receive import listener
from siemtap.shipper.status.server import Server


def get(port, path="/health", host="127.0.0.1", seconds=30, more=""):
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as peer:
        name = f"Host: {host}\r\n{more}" if host else ""
        peer.sendall(f"GET {path} HTTP/1.1\r\n{name}Connection: close\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := peer.recv(65536):
                answer += part
    return answer.decode()


@pytest.fixture
def page():
    shipper = types.SimpleNamespace(health=lambda: (True, "ok"))
    server = Server(shipper, "127.0.0.1", 0, ["Siemtap.example.com"])
    yield server
    server.close()


def port_of(page):
    return page.socket.getsockname()[1]


def test_silent_connections_do_not_keep_out_a_probe(page):
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            connections(stack, port_of(page), 100)
            assert get(port_of(page)).startswith("HTTP/1.1 200")


def test_silent_connection_is_closed(monkeypatch):
    monkeypatch.setattr(listener, "REQUEST_TIMEOUT", 0.3)
    server = Server(types.SimpleNamespace(), "127.0.0.1", 0)
    with contextlib.ExitStack() as stack:
        (peer,) = connections(stack, port_of(server), 1)
        began = time.monotonic()
        assert peer.recv(1) == b"" and time.monotonic() - began < 4
    server.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:5066",
        "localhost:5066",
        "[::1]:5066",
        "192.0.2.7",
        "siemtap.EXAMPLE.com.",
        socket.gethostname(),
        "",
    ],
)
def test_own_names(page, host):
    status = get(port_of(page), host=host).split()[1]
    assert status == ("400" if not host else "200")  # HTTP/1.1 demands the header


@pytest.mark.parametrize(
    "host", ["evil.example.com", "evil.example.com:5066", "127.0.0.1.example.com"]
)
@pytest.mark.parametrize("path", ["/", "/stats", "/health", "/events", "/rejected"])
def test_another_name_is_misdirected(page, host, path):
    answer = get(port_of(page), path, host)
    assert answer.startswith("HTTP/1.1 421") and "http.names" in answer


def test_page_cannot_be_framed(page):
    assert "frame-ancestors 'none'" in get(port_of(page))


@pytest.mark.parametrize(
    "site,destination,status",
    [
        ("cross-site", "image", "403"),
        ("cross-site", "iframe", "403"),
        ("cross-site", "empty", "403"),
        ("cross-site", "document", "200"),  # a link
        ("same-origin", "empty", "200"),
        ("none", "document", "200"),
    ],
)
def test_another_site_cannot_embed_or_measure(page, site, destination, status):
    more = f"Sec-Fetch-Site: {site}\r\nSec-Fetch-Dest: {destination}\r\n"
    assert get(port_of(page), more=more).split()[1] == status


def test_store_that_cannot_be_read_is_an_answer():
    def fail():
        raise Retry("siemtap.db was deleted")

    server = Server(types.SimpleNamespace(stats=fail), "127.0.0.1", 0)
    assert "503" in get(port_of(server), "/stats") and "deleted" in get(port_of(server), "/stats")
    server.close()
