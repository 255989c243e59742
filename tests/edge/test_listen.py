"""The webhook: its answers, and that slow or silent clients do not delay others."""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time

import pytest
from processes import HANG, wait_for
from tls import make

from siemtap.core.errors import ConfigError
from siemtap.edge.clock import SYSTEM
from siemtap.edge.receive import listener as listener_module
from siemtap.edge.receive import spool as spools
from siemtap.edge.receive import webhook
from siemtap.edge.receive.listener import Listener
from siemtap.edge.receive.receiver import ListenerPool
from siemtap.edge.receive.spool import Spool
from siemtap.edge.receive.webhook import Endpoint

SECRET = "3f9c1d7ab2e04c58"


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def listener(spool):
    listener = Listener("127.0.0.1", 0)
    listener.app.endpoints.append(Endpoint("acme", SECRET, spool, max_body_bytes=10_000))
    yield listener
    listener.close()


def post(
    listener,
    path=f"/acme/{SECRET}",
    body=b"{}",
    method="POST",
    headers=None,
    context=None,
    timeout=300,
):
    port = int(listener.address.rsplit(":", 1)[1])
    if context:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=timeout, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer


def stored(spool):
    return spool.read({}, 100_000)[0]


def test_204_means_stored_on_disk(listener, spool):
    before = time.time() * 1000
    answer = post(
        listener,
        f"/acme/{SECRET}/ACME/web%2001",
        b'{"a":1}',
        headers={"Content-Type": "application/json", "Cookie": "no"},
    )
    assert answer.status == 204 and answer.headers.get("content-length") is None
    (payload,) = stored(spool)
    assert (payload.body, payload.channel, payload.path, payload.peer, payload.headers) == (
        b'{"a":1}',
        "webhook",
        "ACME/web%2001",
        "127.0.0.1",
        {"content-type": "application/json"},
    )
    assert before - 1 <= payload.received <= time.time() * 1000 + 1 and listener.app.endpoints[
        0
    ].counts == {"kept": 1}
    assert (
        post(listener, "/acme/ACME", headers={"X-Siemtap-Secret": SECRET}).status == 204
        and stored(spool)[1].path == "ACME"
    )


@pytest.mark.parametrize(
    "path, headers",
    [
        ("/acme/wrong", {}),
        ("/acme", {}),
        ("/", {}),
        ("/other/" + SECRET, {}),
        (f"/acme/{SECRET}/a/b/c", {}),
        (f"/acme/{SECRET}", {"X-Siemtap-Secret": "wrong"}),
        (f"/{SECRET}/acme", {}),
        (f"/acme/{SECRET[:-1]}", {}),
        (f"/acme/{SECRET}%00", {}),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_wrong_secret_is_404(listener, spool, path, headers, method):
    assert (
        post(listener, path, headers=headers, method=method).status == 404
        and stored(spool) == []
        and listener.app.refused == 1
    )


def test_methods_body_sizes_and_empty_bodies(listener, spool):
    answer = post(listener, method="GET", body=None)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert (
        post(listener, body=b"x" * 10_001).status == 413
        and post(listener, body=iter([b"x" * 6_000] * 3)).status == 413
    )
    assert post(listener, body=b"").status == 400 and stored(spool) == []
    assert (
        post(listener, body=iter([b"x" * 5_000] * 2)).status == 204
        and len(stored(spool)[0].body) == 10_000
    )
    assert (
        listener.app.endpoints[0].counts == {"too_large": 2, "empty": 1, "kept": 1}
        and listener.app.reading == 0
    )


def test_only_allowed_networks_may_send(listener):
    endpoint = listener.app.endpoints[0]
    endpoint.networks = (
        ipaddress.ip_network("192.0.2.0/24"),
        ipaddress.ip_network("2001:db8::/32"),
    )
    assert post(listener).status == 404
    endpoint.networks += (ipaddress.ip_network("127.0.0.0/8"),)
    assert post(listener).status == 204
    assert (
        endpoint.allows("::ffff:192.0.2.9")
        and endpoint.allows("2001:db8::1%eth0")
        and not endpoint.allows("nobody")
        and not endpoint.allows("::1")
    )


def test_full_spool_is_503_until_there_is_room(tmp_path):
    spool, listener = Spool(tmp_path, max_bytes=400_000), Listener("127.0.0.1", 0)
    listener.app.endpoints.append(Endpoint("acme", SECRET, spool))
    try:
        answers = [post(listener, body=b"x" * 30_000) for _ in range(20)]
        accepted = [answer for answer in answers if answer.status == 204]
        refused = [answer for answer in answers if answer.status == 503]
        assert (
            len(accepted) + len(refused) == 20
            and refused
            and refused[0].headers["retry-after"] == "30"
        )
        payloads, cursor = spool.read({}, 1_000)
        assert len(payloads) == len(accepted)
        spool.delete_before(cursor)
        assert post(listener).status == 204
    finally:
        listener.close()
        spool.close()


def test_disk_error_is_503(listener, spool, monkeypatch):
    really = spools.sync
    monkeypatch.setattr(
        spools, "sync", lambda file: (_ for _ in ()).throw(OSError(5, "Input/output error"))
    )
    assert post(listener).status == 503
    monkeypatch.setattr(spools, "sync", really)
    assert post(listener, body=b"again").status == 204 and [
        payload.body for payload in stored(spool)
    ] == [b"again"]


def test_two_endpoints_on_one_socket(listener, tmp_path):
    other = Spool(tmp_path / "other")
    listener.app.endpoints.append(Endpoint("acme", "another-secret-of-mine", other))
    assert post(listener, "/acme/another-secret-of-mine").status == 204 and len(stored(other)) == 1
    other.close()


def test_input_that_stops_answers_503(listener, spool, tmp_path, monkeypatch):
    """503 with the right secret for as long as a restart takes; 404 with a wrong secret, and
    afterwards."""
    endpoint, other = (
        listener.app.endpoints[0],
        Endpoint("acme", "another-secret-of-mine", Spool(tmp_path / "other")),
    )
    listener.app.endpoints.append(other)
    listeners = ListenerPool(SYSTEM)
    listeners.listeners["127.0.0.1", 0, "", ""] = listener
    listeners.drop(endpoint)
    answer = post(listener)
    assert (
        (answer.status, answer.headers["retry-after"], stored(spool)) == (503, "30", [])
        and endpoint.counts == {"closing": 1}
        and post(listener, f"/acme/{SECRET}x").status == 404
    )
    again = Endpoint("acme", SECRET, spool)
    listener.app.endpoints.append(again)
    assert post(listener).status == 204 and again.counts == {"kept": 1}, (
        "the newer of two endpoints"
    )
    listener.app.endpoints.remove(again)
    monkeypatch.setattr(webhook, "CLOSING", 0.0)
    assert post(listener).status == 404
    listeners.drop(other)
    assert listeners.listeners == {} and not listener.thread.is_alive()
    other.spool.close()


@contextlib.contextmanager
def slow_clients(listener, number=400):
    """Open connections that send nothing, half a request or nonsense."""
    host, port = "127.0.0.1", int(listener.address.rsplit(":", 1)[1])
    starts = [
        b"",
        b"POST /acme HTTP/1.1\r\nX-A: ",
        f"POST /acme/{SECRET} HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nhalf".encode(),
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n" * 3,
        b"\0" * 100,
        b"POST / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000,
    ]
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection((host, port))) for _ in range(number)]
        for number, peer in enumerate(peers):
            with contextlib.suppress(OSError):
                peer.sendall(starts[number % len(starts)])
        yield peers


def test_silent_slow_and_broken_clients_do_not_delay_others(listener, monkeypatch):
    monkeypatch.setattr(listener_module, "REQUEST_TIMEOUT", 10.0 * HANG)
    with slow_clients(listener):
        assert [post(listener).status for _ in range(20)] == [204] * 20
    wait_for(lambda: listener.app.reading == 0)


@pytest.mark.slow
def test_connections_of_silent_slow_and_broken_clients_are_closed(listener, monkeypatch):
    monkeypatch.setattr(listener_module, "REQUEST_TIMEOUT", 1.5)
    with slow_clients(listener) as peers:
        for peer in peers:
            peer.settimeout(HANG)
            with contextlib.suppress(ConnectionError):
                while peer.recv(65536):
                    pass
        # the client sees the end before the application does
        wait_for(lambda: listener.app.reading == 0)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tls"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_https_rejects_old_tls_versions(spool, certificate):
    listener = Listener("127.0.0.1", 0, str(certificate / "cert.pem"), str(certificate / "key.pem"))
    listener.app.endpoints.append(Endpoint("acme", SECRET, spool))
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    try:
        assert (
            listener.address.startswith("https://")
            and post(listener, context=context).status == 204
        )
        port = int(listener.address.rsplit(":", 1)[1])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        assert [post(listener, context=context).status for _ in range(10)] == [204] * 10
        for peer in silent:
            peer.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            post(listener, context=old)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            post(listener)  # plain HTTP to the TLS port
        assert len(stored(spool)) == 11
    finally:
        listener.close()


def test_listen_errors_are_reported(listener, tmp_path):
    port = int(listener.address.rsplit(":", 1)[1])
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        Listener("127.0.0.1", port)
    with pytest.raises(ConfigError, match="certificate"):
        Listener("127.0.0.1", 0, str(tmp_path / "no.pem"), str(tmp_path / "no.key"))


def test_concurrent_requests_are_all_stored(listener, spool):
    failed = []

    def some(start):
        port = int(listener.address.rsplit(":", 1)[1])
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        ) as connection:
            for number in range(start, start + 50):
                connection.request("POST", f"/acme/{SECRET}", str(number).encode())
                answer = connection.getresponse()
                answer.read()
                if answer.status != 204:
                    failed.append(answer.status)

    threads = [threading.Thread(target=some, args=[start]) for start in range(0, 500, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and sorted(int(payload.body) for payload in stored(spool)) == list(range(500))
