"""Sockets of syslog: everything that arrives is in the spool, and nobody is read faster than it
is kept."""

import contextlib
import ipaddress
import socket
import ssl
import time

import pytest
from tls import make

from siemtap.core.errors import ConfigError
from siemtap.edge import syslog
from siemtap.edge.spool import Spool
from siemtap.edge.syslog import listener, place


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def listening(said, spool, **more):
    made = listener(said, spool, **more)
    try:
        yield (
            made,
            made.address.rpartition(":")[0].partition("://")[2].strip("[]"),
            int(made.address.rpartition(":")[2]),
        )
    finally:
        made.close()


def kept(spool, number, seconds=10):
    deadline = time.monotonic() + seconds
    found = spool.read({}, 100_000)[0]
    while len(found) < number and time.monotonic() < deadline:
        time.sleep(0.02)
        found = spool.read({}, 100_000)[0]
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_udp(spool, host):
    with listening(f"udp://{host}:0", spool) as (made, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for number in range(500):
                sender.sendto(b"<134>%d" % number, (address, port))
            sender.sendto(b"", (address, port))
            sender.sendto(b" \n", (address, port))
        found = kept(spool, 500)
        assert (
            sorted(int(one.body[5:]) for one in found) == list(range(500))
            and {one.channel for one in found} == {"udp"}
            and {one.peer for one in found} == {address}
        )
        assert made.counts["kept"] == 500 and made.dropped() in (0, None)


def test_udp_from_a_network_that_is_not_allowed(spool):
    with listening(
        "udp://127.0.0.1:0", spool, networks=(ipaddress.ip_network("192.0.2.0/24"),)
    ) as (made, address, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"<134>x", (address, port))
        deadline = time.monotonic() + 5
        while not made.counts["refused"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert made.counts["refused"] == 1 and kept(spool, 1, 0.1) == []


def test_udp_into_a_full_spool_goes_on_when_there_is_room(tmp_path):
    spool = Spool(tmp_path, most=300_000)
    with (
        listening("udp://127.0.0.1:0", spool) as (made, address, port),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for number in range(12):
            sender.sendto(b"<134>" + b"%02d" % number * 15_000, (address, port))
            time.sleep(0.01)
        deadline = time.monotonic() + 5
        while not made.counts["full"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert made.counts["full"]
        cursor, all_found = {}, []
        deadline = time.monotonic() + 10
        while len(all_found) < 12 and time.monotonic() < deadline:
            found, cursor = spool.read(cursor, 100)
            all_found += found
            spool.forget(cursor)
            time.sleep(0.05)
        assert sorted(one.body[5:7] for one in all_found) == sorted(
            b"%02d" % number for number in range(12)
        ), "the kernel's buffer held them meanwhile"
    spool.close()


def test_tcp_counted_and_by_line_and_a_last_line_without_its_end(spool):
    with listening("tcp://127.0.0.1:0", spool) as (made, address, port):
        with socket.create_connection((address, port)) as sender:
            for part in (b"7 <13>", b"on", b"e<13>two\n<13>thr", b"ee\r\n\n10 <13>\n four<13>five"):
                sender.sendall(part)
                time.sleep(0.02)
        found = kept(spool, 5)
        assert [one.body for one in found] == [
            b"<13>one",
            b"<13>two",
            b"<13>three",
            b"<13>\n four",
            b"<13>five",
        ]
        assert {one.channel for one in found} == {"tcp"} and made.counts["kept"] == 5


@pytest.mark.parametrize("drip", [2, 300, 1_000_000])
def test_tcp_of_very_many_short_lines_is_few_payloads(spool, drip):
    """One for 64 bytes, and a hundred at first; the others stand in one together. No line is
    lost."""
    lines = [b"<%d" % (number % 1000) for number in range(200 if drip == 2 else 40_000)]
    said = b"\n".join(lines) + b"\n"
    with listening("tcp://127.0.0.1:0", spool) as (_, address, port):
        with socket.create_connection((address, port)) as sender:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(said), drip):
                sender.sendall(said[start : start + drip])
        deadline = time.monotonic() + 10
        while (
            b"\n".join(one.body for one in spool.read({}, 100_000)[0]) != b"\n".join(lines)
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        found = spool.read({}, 100_000)[0]
        assert b"\n".join(one.body for one in found) == b"\n".join(lines)
        if drip > 1_000:
            assert len(found) <= 100 + len(said) // 64 + 5


def test_tcp_that_cannot_be_followed_is_closed_and_others_go_on(spool):
    with listening("tcp://127.0.0.1:0", spool) as (made, address, port):
        with (
            socket.create_connection((address, port)) as mad,
            socket.create_connection((address, port)) as good,
        ):
            mad.sendall(b"99999999 what")
            mad.settimeout(5)
            assert mad.recv(10) == b""
            good.sendall(b"<13>fine\n")
            assert [one.body for one in kept(spool, 1)] == [b"<13>fine"] and made.counts[
                "malformed"
            ] == 1


def test_a_sender_that_drips_costs_little(spool):
    with (
        listening("tcp://127.0.0.1:0", spool) as (_, address, port),
        socket.create_connection((address, port)) as sender,
    ):
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        before = time.process_time()
        for _ in range(20_000):
            sender.sendall(b"xxxxxxxxxx")
        sender.sendall(b"\n")
        found = kept(spool, 1)
        assert len(found[0].body) == 200_000 and time.process_time() - before < 10


def test_tls_and_peers_that_say_nothing(spool, certificate, monkeypatch):
    monkeypatch.setattr(syslog, "HANDSHAKE", 1.0)
    with listening(
        "tls://127.0.0.1:0",
        spool,
        certificate=str(certificate / "cert.pem"),
        key=str(certificate / "key.pem"),
    ) as (_, address, port):
        silent = [socket.create_connection((address, port)) for _ in range(100)]
        context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        began = time.monotonic()
        with context.wrap_socket(
            socket.create_connection((address, port)), server_hostname="localhost"
        ) as sender:
            sender.sendall(b"<13>hidden\n")
            found = kept(spool, 1)
        assert [(one.body, one.channel) for one in found] == [
            (b"<13>hidden", "tls")
        ] and time.monotonic() - began < 1.0
        for peer in silent:
            peer.settimeout(5)
            with contextlib.suppress(ConnectionError):
                assert peer.recv(10) == b""
            peer.close()


def test_a_stream_is_not_read_while_there_is_no_room(tmp_path):
    spool = Spool(tmp_path, most=300_000)
    with (
        listening("tcp://127.0.0.1:0", spool) as (_, address, port),
        socket.create_connection((address, port)) as sender,
    ):
        sender.settimeout(1.0)
        sent = 0
        # the kernel's buffers fill, then the sender has to wait
        with pytest.raises(socket.timeout):
            while sent < 200_000_000:
                sent += sender.send(b"<13>" + b"x" * 995 + b"\n")
        assert spool.held <= 300_000
        found, cursor = [], {}
        sender.settimeout(30.0)
        deadline = time.monotonic() + 5
        while len(found) < 600 and time.monotonic() < deadline:
            some, cursor = spool.read(cursor, 1_000)
            spool.forget(cursor)
            found += some
            time.sleep(0.01)
        assert len(found) > 500
    spool.close()


@pytest.mark.parametrize(
    "said",
    [
        "5514",
        "udp://",
        "udp://0.0.0.0",
        "http://0.0.0.0:80",
        "tcp://0.0.0.0:99999",
        "udp://0.0.0.0:5514/x",
    ],
)
def test_no_place_to_listen(said):
    with pytest.raises(ConfigError, match="is no place to listen"):
        place(said)


def test_what_cannot_be_bound_or_read_says_so(spool, tmp_path):
    with (
        listening("tcp://127.0.0.1:0", spool) as (_, _, port),
        pytest.raises(ConfigError, match="cannot listen on 127.0.0.1"),
    ):
        listener(f"tcp://127.0.0.1:{port}", spool)
    with pytest.raises(ConfigError, match="cannot listen on udp://192.0.2.1:5514"):
        listener("udp://192.0.2.1:5514", spool)
    with pytest.raises(ConfigError, match="`certificate` and `key` cannot be used"):
        listener("tls://127.0.0.1:0", spool, certificate=str(tmp_path / "none"))
