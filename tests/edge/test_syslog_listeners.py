"""Syslog listeners: everything received is in the spool, and no stream is read faster than it
can be stored."""

import contextlib
import socket
import ssl
import time

import pytest
from processes import HANG, wait_for
from tls import make

from siemtap.core.errors import ConfigError
from siemtap.core.manifest import fill_in
from siemtap.core.settings import Receiving
from siemtap.edge.receive import spool as spools
from siemtap.edge.receive.addresses import parse_syslog
from siemtap.edge.receive.spool import Spool
from siemtap.edge.syslog import listener as syslog
from siemtap.edge.syslog.listener import open_listener


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def listening(address, spool, **settings):
    server = open_listener(address, fill_in(Receiving, settings), spool)
    try:
        yield (
            server,
            server.address.rpartition(":")[0].partition("://")[2].strip("[]"),
            int(server.address.rpartition(":")[2]),
        )
    finally:
        server.close()


def read_payloads(spool, number, seconds=HANG):
    deadline = time.monotonic() + seconds
    payloads = spool.read({}, 100_000)[0]
    while len(payloads) < number and time.monotonic() < deadline:
        time.sleep(0.02)
        payloads = spool.read({}, 100_000)[0]
    return payloads


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_udp(spool, host):
    with listening(f"udp://{host}:0", spool) as (udp, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for number in range(500):
                sender.sendto(b"<134>%d" % number, (address, port))
            sender.sendto(b"", (address, port))
            sender.sendto(b" \n", (address, port))
        payloads = read_payloads(spool, 500)
        assert (
            sorted(int(payload.body[5:]) for payload in payloads) == list(range(500))
            and {payload.channel for payload in payloads} == {"udp"}
            and {payload.peer for payload in payloads} == {address}
        )
        assert udp.counts["kept"] == 500 and udp.dropped() in (0, None)


def test_datagrams_that_the_disk_did_not_take_are_stored_again(spool, monkeypatch, caplog):
    really, failures = spools.sync, iter(range(3))

    def failing(file):
        if next(failures, None) is not None:
            raise OSError(5, "Input/output error")
        really(file)

    monkeypatch.setattr(spools, "sync", failing)
    with listening("udp://127.0.0.1:0", spool) as (udp, address, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(100):
                sender.sendto(b"<134>%d" % number, (address, port))
        bodies = [payload.body for payload in read_payloads(spool, 100)]
        assert sorted(bodies) == sorted(b"<134>%d" % number for number in range(100))
        assert udp.counts["kept"] == 100 and udp.counts["full"] > 0
    assert "Input/output error; nothing was kept; datagrams may be lost" in caplog.text


def test_datagrams_that_the_disk_never_took_are_told_at_the_end(spool, monkeypatch, caplog):
    def failing(file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(spools, "sync", failing)
    with listening("udp://127.0.0.1:0", spool) as (udp, address, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"<134>x", (address, port))
        wait_for(lambda: udp.counts["full"])
    assert "1 datagrams are lost: the disk did not take them" in caplog.text
    assert not udp.counts["kept"]


def test_udp_from_a_network_that_is_not_allowed(spool):
    with listening("udp://127.0.0.1:0", spool, networks=["192.0.2.0/24"]) as (udp, address, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"<134>x", (address, port))
        wait_for(lambda: udp.counts["refused"])
        assert udp.counts["refused"] == 1 and read_payloads(spool, 1, 0.1) == []


def test_udp_resumes_when_a_full_spool_has_room(tmp_path):
    spool = Spool(tmp_path, max_bytes=300_000)
    with (
        listening("udp://127.0.0.1:0", spool) as (udp, address, port),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for number in range(12):
            sender.sendto(b"<134>" + b"%02d" % number * 15_000, (address, port))
            time.sleep(0.01)
        wait_for(lambda: udp.counts["full"])
        cursor, received = {}, []
        deadline = time.monotonic() + HANG
        while len(received) < 12 and time.monotonic() < deadline:
            payloads, cursor = spool.read(cursor, 100)
            received += payloads
            spool.delete_before(cursor)
            time.sleep(0.05)
        assert sorted(payload.body[5:7] for payload in received) == sorted(
            b"%02d" % number for number in range(12)
        ), "the buffer of the kernel must hold them meanwhile"
    spool.close()


def test_tcp_with_both_framings_and_an_unfinished_last_line(spool):
    with listening("tcp://127.0.0.1:0", spool) as (tcp, address, port):
        with socket.create_connection((address, port)) as sender:
            for part in (b"7 <13>", b"on", b"e<13>two\n<13>thr", b"ee\r\n\n10 <13>\n four<13>five"):
                sender.sendall(part)
                time.sleep(0.02)
        payloads = read_payloads(spool, 5)
        assert [payload.body for payload in payloads] == [
            b"<13>one",
            b"<13>two",
            b"<13>three",
            b"<13>\n four",
            b"<13>five",
        ]
        assert {payload.channel for payload in payloads} == {"tcp"} and tcp.counts["kept"] == 5


@pytest.mark.parametrize("drip", [2, 300, 1_000_000])
def test_many_short_lines_over_tcp_become_few_payloads(spool, drip):
    """One payload for every 64 bytes and a hundred more; the other lines share one. No line is
    lost."""
    lines = [b"<%d" % (number % 1000) for number in range(200 if drip == 2 else 40_000)]
    stream = b"\n".join(lines) + b"\n"
    with listening("tcp://127.0.0.1:0", spool) as (_, address, port):
        with socket.create_connection((address, port)) as sender:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(stream), drip):
                sender.sendall(stream[start : start + drip])
        wait_for(
            lambda: (
                b"\n".join(payload.body for payload in spool.read({}, 100_000)[0])
                == b"\n".join(lines)
            )
        )
        payloads = spool.read({}, 100_000)[0]
        if drip > 1_000:
            assert len(payloads) <= 100 + len(stream) // 64 + 5


def test_tcp_connection_with_invalid_framing_is_closed_without_affecting_others(spool):
    with listening("tcp://127.0.0.1:0", spool) as (tcp, address, port):
        with (
            socket.create_connection((address, port)) as broken,
            socket.create_connection((address, port)) as good,
        ):
            broken.sendall(b"99999999 what")
            broken.settimeout(HANG)
            assert broken.recv(10) == b""
            good.sendall(b"<13>fine\n")
            assert [payload.body for payload in read_payloads(spool, 1)] == [
                b"<13>fine"
            ] and tcp.counts["malformed"] == 1


def test_slow_sender_uses_little_cpu(spool):
    with (
        listening("tcp://127.0.0.1:0", spool) as (_, address, port),
        socket.create_connection((address, port)) as sender,
    ):
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        before = time.process_time()
        for _ in range(20_000):
            sender.sendall(b"xxxxxxxxxx")
        sender.sendall(b"\n")
        payloads = read_payloads(spool, 1)
        assert len(payloads[0].body) == 200_000 and time.process_time() - before < 10


def listening_with_tls(spool, certificate):
    return listening(
        "tls://127.0.0.1:0",
        spool,
        certificate=str(certificate / "cert.pem"),
        key=str(certificate / "key.pem"),
    )


def test_tls_with_silent_clients(spool, certificate, monkeypatch):
    monkeypatch.setattr(syslog, "HANDSHAKE", 10.0 * HANG)
    with (
        listening_with_tls(spool, certificate) as (_, address, port),
        contextlib.ExitStack() as stack,
    ):
        for _ in range(100):
            stack.enter_context(socket.create_connection((address, port)))
        context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        with context.wrap_socket(
            socket.create_connection((address, port)), server_hostname="localhost"
        ) as sender:
            sender.sendall(b"<13>hidden\n")
            payloads = read_payloads(spool, 1)
        assert [(payload.body, payload.channel) for payload in payloads] == [(b"<13>hidden", "tls")]


def test_connections_of_silent_clients_are_closed(spool, certificate, monkeypatch):
    monkeypatch.setattr(syslog, "HANDSHAKE", 0.5)
    with listening_with_tls(spool, certificate) as (_, address, port):
        silent = [socket.create_connection((address, port)) for _ in range(100)]
        for peer in silent:
            peer.settimeout(HANG)
            with contextlib.suppress(ConnectionError):
                assert peer.recv(10) == b""
            peer.close()


@pytest.mark.slow
def test_stream_is_not_read_while_the_spool_is_full(tmp_path, caplog):
    spool = Spool(tmp_path, max_bytes=300_000)
    with (
        listening("tcp://127.0.0.1:0", spool) as (tcp, address, port),
        socket.create_connection((address, port)) as sender,
    ):
        sender.settimeout(1.0)
        sent = 0
        # the buffers of the kernel fill, then the sender blocks
        with pytest.raises(socket.timeout):
            while sent < 200_000_000:
                sent += sender.send(b"<13>" + b"x" * 995 + b"\n")
        assert spool.size <= 300_000
        stored, cursor = [], {}
        # what was taken of the last line is no line yet
        deadline = time.monotonic() + HANG
        while len(stored) < sent // 1_000 and time.monotonic() < deadline:
            some, cursor = spool.read(cursor, 1_000)
            spool.delete_before(cursor)
            stored += some
            time.sleep(0.01)
        assert len(stored) == sent // 1_000 > 500
        logged = [line for line in caplog.messages if "the sender waits" in line]
        assert tcp.counts["full"] and len(logged) == 1, "the first of each hundred attempts"
    spool.close()


@pytest.mark.parametrize(
    "address",
    [
        "5514",
        "udp://",
        "udp://0.0.0.0",
        "http://0.0.0.0:80",
        "tcp://0.0.0.0:99999",
        "udp://0.0.0.0:5514/x",
    ],
)
def test_invalid_listen_addresses(address):
    with pytest.raises(ConfigError, match="is not an address to listen on"):
        parse_syslog(address)


def test_address_or_certificate_errors_are_reported(spool, tmp_path):
    with (
        listening("tcp://127.0.0.1:0", spool) as (_, _, port),
        pytest.raises(ConfigError, match="cannot listen on 127.0.0.1"),
    ):
        open_listener(f"tcp://127.0.0.1:{port}", Receiving(), spool)
    with pytest.raises(ConfigError, match="cannot listen on udp://192.0.2.1:5514"):
        open_listener("udp://192.0.2.1:5514", Receiving(), spool)
    settings = fill_in(Receiving, {"certificate": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="`certificate` cannot be used: No such file"):
        open_listener("tls://127.0.0.1:0", settings, spool)
