"""The webhook: what is answered to whom, when; nobody holds up anybody."""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time

import pytest
from tls import make

from siemtap.core.errors import ConfigError
from siemtap.edge import listen
from siemtap.edge import spool as spools
from siemtap.edge.clock import SYSTEM
from siemtap.edge.listen import Door, Listener
from siemtap.edge.spool import Spool
from siemtap.runners.receiving import Ears

SECRET = "3f9c1d7ab2e04c58"


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def listener(spool):
    listener = Listener("127.0.0.1", 0)
    listener.app.doors.append(Door("acme", SECRET, spool, largest=10_000))
    yield listener
    listener.close()


def post(
    listener,
    path=f"/acme/{SECRET}",
    body=b"{}",
    method="POST",
    headers=None,
    context=None,
    timeout=10,
):
    port = int(listener.address.rsplit(":", 1)[1])
    made = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    )
    with contextlib.closing(made) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer


def kept(spool):
    return spool.read({}, 100_000)[0]


def test_204_means_it_is_on_disk(listener, spool):
    before = time.time() * 1000
    answer = post(
        listener,
        f"/acme/{SECRET}/ACME/web%2001",
        b'{"a":1}',
        headers={"Content-Type": "application/json", "Cookie": "no"},
    )
    assert answer.status == 204 and answer.headers.get("content-length") is None
    (payload,) = kept(spool)
    assert (payload.body, payload.channel, payload.path, payload.peer, payload.headers) == (
        b'{"a":1}',
        "webhook",
        "ACME/web%2001",
        "127.0.0.1",
        {"content-type": "application/json"},
    )
    assert before - 1 <= payload.received <= time.time() * 1000 + 1 and listener.app.doors[
        0
    ].counts == {"kept": 1}
    assert (
        post(listener, "/acme/ACME", headers={"X-Siemtap-Secret": SECRET}).status == 204
        and kept(spool)[1].path == "ACME"
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
def test_a_wrong_secret_is_404_whatever_else(listener, spool, path, headers, method):
    assert (
        post(listener, path, headers=headers, method=method).status == 404
        and kept(spool) == []
        and listener.app.refused == 1
    )


def test_methods_sizes_and_emptiness(listener, spool):
    answer = post(listener, method="GET", body=None)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert (
        post(listener, body=b"x" * 10_001).status == 413
        and post(listener, body=iter([b"x" * 6_000] * 3)).status == 413
    )
    assert post(listener, body=b"").status == 400 and kept(spool) == []
    assert (
        post(listener, body=iter([b"x" * 5_000] * 2)).status == 204
        and len(kept(spool)[0].body) == 10_000
    )
    assert (
        listener.app.doors[0].counts == {"too_large": 2, "empty": 1, "kept": 1}
        and listener.app.reading == 0
    )


def test_only_from_networks_that_are_allowed(listener):
    door = listener.app.doors[0]
    door.networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
    assert post(listener).status == 404
    door.networks += (ipaddress.ip_network("127.0.0.0/8"),)
    assert post(listener).status == 204
    assert (
        door.lets_in("::ffff:192.0.2.9")
        and door.lets_in("2001:db8::1%eth0")
        and not door.lets_in("nobody")
        and not door.lets_in("::1")
    )


def test_a_full_spool_is_503_and_opens_again(tmp_path):
    spool, listener = Spool(tmp_path, most=400_000), Listener("127.0.0.1", 0)
    listener.app.doors.append(Door("acme", SECRET, spool))
    try:
        answers = [post(listener, body=b"x" * 30_000) for _ in range(20)]
        kept_ = [answer for answer in answers if answer.status == 204]
        refused = [answer for answer in answers if answer.status == 503]
        assert (
            len(kept_) + len(refused) == 20
            and refused
            and refused[0].headers["retry-after"] == "30"
        )
        found, cursor = spool.read({}, 1_000)
        assert len(found) == len(kept_)
        spool.forget(cursor)
        assert post(listener).status == 204
    finally:
        listener.close()
        spool.close()


def test_a_disk_that_fails_is_503_and_not_204(listener, spool, monkeypatch):
    really = spools._sync
    monkeypatch.setattr(
        spools, "_sync", lambda file: (_ for _ in ()).throw(OSError(5, "Input/output error"))
    )
    assert post(listener).status == 503
    monkeypatch.setattr(spools, "_sync", really)
    assert post(listener, body=b"again").status == 204 and [one.body for one in kept(spool)] == [
        b"again"
    ]


def test_two_doors_one_socket(listener, tmp_path):
    other = Spool(tmp_path / "other")
    listener.app.doors.append(Door("acme", "another-secret-of-mine", other))
    assert post(listener, "/acme/another-secret-of-mine").status == 204 and len(kept(other)) == 1
    other.close()


def test_senders_of_an_input_that_stops_are_told_to_try_again(
    listener, spool, tmp_path, monkeypatch
):
    """503 for the right secret, for as long as it takes to begin again; 404 for any other, and
    afterwards."""
    door, other = (
        listener.app.doors[0],
        Door("acme", "another-secret-of-mine", Spool(tmp_path / "other")),
    )
    listener.app.doors.append(other)
    ears = Ears(SYSTEM)
    ears.listeners["127.0.0.1", 0, "", ""] = listener
    ears.drop(door)
    answer = post(listener)
    assert (
        (answer.status, answer.headers["retry-after"], kept(spool)) == (503, "30", [])
        and door.counts == {"closing": 1}
        and post(listener, f"/acme/{SECRET}x").status == 404
    )
    again = Door("acme", SECRET, spool)
    listener.app.doors.append(again)
    assert post(listener).status == 204 and again.counts == {"kept": 1}, "the newer one of two"
    listener.app.doors.remove(again)
    monkeypatch.setattr(listen, "CLOSING", 0.0)
    assert post(listener).status == 404
    ears.drop(other)
    assert ears.listeners == {} and not listener.thread.is_alive()
    other.spool.close()


def quickest(listener, context=None):
    began = time.monotonic()
    assert post(listener, context=context).status == 204
    return time.monotonic() - began


def test_silent_slow_and_half_mad_peers_hold_up_nobody(listener, monkeypatch):
    monkeypatch.setattr(listen, "PATIENCE", 1.5)
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
        peers = [stack.enter_context(socket.create_connection((host, port))) for _ in range(400)]
        for number, peer in enumerate(peers):
            with contextlib.suppress(OSError):
                peer.sendall(starts[number % len(starts)])
        times = sorted(quickest(listener) for _ in range(20))
        assert times[10] < 0.1, times
        deadline = time.monotonic() + 15
        for peer in peers:  # every one of them is let go
            peer.settimeout(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(ConnectionError):
                while peer.recv(65536):
                    pass
        # the peer sees the end before the application does
        while listener.app.reading and time.monotonic() < deadline:
            time.sleep(0.02)
        assert time.monotonic() < deadline and listener.app.reading == 0


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tls"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_https_and_no_old_tls(spool, certificate):
    listener = Listener("127.0.0.1", 0, str(certificate / "cert.pem"), str(certificate / "key.pem"))
    listener.app.doors.append(Door("acme", SECRET, spool))
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    try:
        assert (
            listener.address.startswith("https://")
            and post(listener, context=context).status == 204
        )
        port = int(listener.address.rsplit(":", 1)[1])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        assert sorted(quickest(listener, context) for _ in range(10))[5] < 0.1
        for peer in silent:
            peer.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            post(listener, context=old)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            post(listener)  # plain HTTP to the TLS port
        assert len(kept(spool)) == 11
    finally:
        listener.close()


def test_what_cannot_listen_says_so(listener, tmp_path):
    port = int(listener.address.rsplit(":", 1)[1])
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        Listener("127.0.0.1", port)
    with pytest.raises(ConfigError, match="certificate"):
        Listener("127.0.0.1", 0, str(tmp_path / "no.pem"), str(tmp_path / "no.key"))


def test_many_at_once_are_all_kept(listener, spool):
    failed = []

    def some(start):
        port = int(listener.address.rsplit(":", 1)[1])
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", port, timeout=20)
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
    assert not failed and sorted(int(one.body) for one in kept(spool)) == list(range(500))
