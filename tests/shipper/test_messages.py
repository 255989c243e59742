"""Messages of what an admin does wrong first, and of what a stranger sends."""

import logging
import socket
import ssl
import threading
from types import SimpleNamespace

import pytest
import tls
from shipper import clocks

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Batch, Payload
from siemtap.core.settings import CommonSettings, Connection
from siemtap.core.windows import HOUR
from siemtap.edge import schemas
from siemtap.edge.client.http import Http, connect
from siemtap.edge.client.messages import Reply, Request
from siemtap.engine.feeds import _records_of
from siemtap.engine.mapper import batch_mapper
from siemtap.render import registry
from siemtap.render.event_check import SchemaCheck
from siemtap.shipper import progress
from siemtap.testing.world import NOON

# fixtures
make_shipper = clocks.make_shipper
URL = "https://api.example.com/x"


@pytest.fixture
def tls_port(tmp_path):
    tls.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            try:
                context.wrap_socket(peer, server_side=True).close()
            except OSError:
                peer.close()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def ask(url, **settings):
    http = connect(Connection(timeout=10_000, **settings))
    http.json(http.get(url))


def test_plain_http_to_a_tls_port(tls_port):
    with pytest.raises(Retry, match="if the server expects TLS, write https://"):
        ask(f"http://127.0.0.1:{tls_port}/x")


@pytest.mark.parametrize(
    "body",
    [
        b"<html><center>The plain HTTP request was sent to HTTPS port</center></html>",
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"You're speaking plain HTTP to an SSL-enabled server port.",
    ],
)
def test_a_tls_port_that_answers_plain_http(body):
    http = Http(lambda request, seconds: Reply(400, {"content-type": "text/html"}, body))
    with pytest.raises(ConfigError, match="expects TLS at this port: write https://"):
        http.ask(Request("GET", "http://api.example.com:8443/x"))
    http.ask(Request("GET", URL))


def test_https_to_a_plain_port():
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = server.accept()
        peer.recv(1000)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.close()

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(ConfigError, match="does not speak TLS at this port"):
        ask(f"https://127.0.0.1:{server.getsockname()[1]}/x")
    server.close()


def test_a_ca_file_without_a_certificate(tls_port, tmp_path):
    (tmp_path / "empty.pem").write_text("no certificate\n")
    with pytest.raises(ConfigError, match="`ca_file` cannot be used: .*NO_CERT"):
        ask(f"https://localhost:{tls_port}/x", ca_file=str(tmp_path / "empty.pem"))


def test_a_missing_ca_file_is_no_refused_login(make_shipper, caplog):
    stepped = make_shipper()
    error = ConfigError("`ca_file` cannot be read: /missing.pem", "POST https://x")

    def send(request, seconds):
        raise error

    stepped.send = send
    stepped.start().run_turns(1)
    assert stepped.states()[0].error.startswith("ConfigError: ")
    assert "AuthError" not in caplog.text


def test_a_refused_login_has_no_time_window(make_shipper):
    stepped = make_shipper(client_secret="wrong").start().run_turns(1)
    error = stepped.states()[0].error
    assert error.startswith("AuthError: POST https://vendor.example.com/"), error


@pytest.mark.parametrize("channel", ["udp", "webhook"])
def test_garbage_keeps_its_peer_and_its_text(channel):
    plugin = registry.plugin("centurylink_ips")
    settings = plugin.settings()
    payload = Payload(b'hello "world"\t\\o/', channel, "", "192.0.2.7", NOON)
    (part,) = _records_of(
        payload, lambda payload: plugin.receive(settings, payload), plugin.datasets[0]
    )
    map_batch = batch_mapper(
        plugin, settings, CommonSettings(), {}, lambda: "2026-03-04T12:00:00.000Z"
    )
    (event,) = map_batch(Batch(part.dataset, part.records, {}, NOON))
    assert event["event"]["kind"] == "pipeline_error"
    assert event["event"]["original"] == 'hello "world"\t\\o/'
    assert event["error"]["message"].endswith("; 192.0.2.7 sent it")
    check = SchemaCheck(schemas.read("event.schema.json"), [part.dataset])
    assert check(event) is None, check(event)


def test_the_percentage_of_a_backfill_never_goes_back(caplog, monkeypatch):
    """A cycle that is cut short starts in the middle of the backfill."""
    monkeypatch.setattr(progress, "LOG_EVERY", -1.0)
    caplog.set_level(logging.INFO, "siemtap")
    time = SimpleNamespace(now=lambda: 100 * HOUR)
    running = SimpleNamespace(
        host=SimpleNamespace(clock=time), time_range=None, settings=SimpleNamespace(lag=0)
    )
    backfill = progress.Backfill(is_terminal=False)
    for first, until in ((10, 11), (10, 40), (39, 39), (39, 41), (39, 60), (59, 61)):
        state = SimpleNamespace(unit="waf", first=first * HOUR, until=until * HOUR)
        backfill(running, state)
    shares = [record.args[1] for record in caplog.records]
    assert len(shares) == 6 and shares == sorted(shares)
