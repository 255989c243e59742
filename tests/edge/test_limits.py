"""Peers that connect and say nothing take neither descriptors nor memory from the others."""

import contextlib
import json
import logging
import socket
import subprocess
import sys
import time

import pytest
from edge.raw_requests import SECRET
from edge.test_syslog_listeners import listening, read_payloads
from processes import ENVIRONMENT, wait_for

from siemtap.core.manifest import fill_in
from siemtap.core.settings import Receiving
from siemtap.edge.clock import SYSTEM
from siemtap.edge.receive import limits
from siemtap.edge.receive.receiver import ListenerPool
from siemtap.edge.receive.spool import Spool
from siemtap.edge.receive.webhook import Endpoint
from siemtap.edge.syslog import listener as syslog


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def is_closed(peer):
    with contextlib.suppress(TimeoutError):
        try:
            return peer.recv(1) == b""
        except ConnectionError:
            return True
    return False


def connections(stack, port, number, host="127.0.0.1"):
    peers = []
    for _ in range(number):
        peer = socket.create_connection(("127.0.0.1", port), source_address=(host, 0), timeout=5)
        peers.append(stack.enter_context(peer))
    return peers


def test_syslog_limits_connections_of_all_peers_and_of_one_address(spool, monkeypatch, caplog):
    monkeypatch.setattr(limits, "CONNECTIONS", 20)
    with listening("tcp://127.0.0.1:0", spool) as (tcp, _, port), contextlib.ExitStack() as stack:
        peers = connections(stack, port, 15)
        wait_for(lambda: tcp.socket.refused == 5)
        assert sum(is_closed(peer) for peer in peers[10:]) == 5
        assert "too many (20, half of them" in "".join(tcp.problems())
        (good,) = connections(stack, port, 1, "127.0.0.2")
        good.sendall(b"<134>good\n")
        assert [payload.peer for payload in read_payloads(spool, 1)] == ["127.0.0.2"]
        assert caplog.text.count("is refused") == 1  # one line a minute
        for peer in peers:
            peer.close()
        wait_for(lambda: len(tcp.peers) == 1)
        (again,) = connections(stack, port, 1)
        again.sendall(b"<134>again\n")
        assert len(read_payloads(spool, 2)) == 2
        monkeypatch.setattr(limits, "RECENTLY", 0.0)
        assert list(tcp.problems()) == []  # healthy again


def test_webhook_limits_connections_before_tls(spool, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS", 20)
    pool = ListenerPool(SYSTEM)
    endpoint = Endpoint("acme", SECRET, spool)
    listener = pool.webhook(
        fill_in(Receiving, {"listen": "127.0.0.1:0", "secret": SECRET}), endpoint
    )
    port = int(listener.address.rsplit(":", 1)[1])
    with contextlib.ExitStack() as stack:
        connections(stack, port, 15)
        wait_for(lambda: listener.socket.refused == 5)
        assert "connections to port" in "".join(pool.problems(endpoint))
    pool.drop(endpoint)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", b"<134>begun", b"<134>whole\n<134>begun"])
def test_syslog_closes_a_connection_that_does_not_complete_a_message(spool, monkeypatch, sent):
    monkeypatch.setattr(syslog, "MESSAGE_TIMEOUT", 0.5)
    with listening("tcp://127.0.0.1:0", spool) as (tcp, _, port), contextlib.ExitStack() as stack:
        (peer,) = connections(stack, port, 1)
        peer.sendall(sent)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < began + 30 and not is_closed(peer):
                peer.sendall(b"." if sent else b"")
        assert time.monotonic() - began < 30
        wait_for(lambda: not tcp.peers)
        assert tcp.waiting == 0


@pytest.mark.slow
def test_syslog_keeps_a_relay_that_has_a_pause(spool, monkeypatch):
    monkeypatch.setattr(syslog, "MESSAGE_TIMEOUT", 0.3)
    with listening("tcp://127.0.0.1:0", spool) as (_, _, port), contextlib.ExitStack() as stack:
        (peer,) = connections(stack, port, 1)
        for number in range(3):
            peer.sendall(b"<134>%d\n" % number)
            time.sleep(0.7)
        assert len(read_payloads(spool, 3)) == 3


def test_syslog_limits_incomplete_messages_of_all_peers(spool, monkeypatch, caplog):
    monkeypatch.setattr(syslog, "IN_FLIGHT", 100_000)
    with listening("tcp://127.0.0.1:0", spool) as (tcp, _, port), contextlib.ExitStack() as stack:
        peers = connections(stack, port, 5)
        for peer in peers:
            peer.sendall(b"<134>" + b"x" * 30_000)
            time.sleep(0.1)
        wait_for(lambda: caplog.text.count("incomplete messages of all senders") == 2)
        wait_for(lambda: len(tcp.peers) == 3)
        assert tcp.waiting <= 100_000


def test_datagrams_that_break_the_reader_do_not_end_it(spool, monkeypatch, caplog):
    with listening("udp://127.0.0.1:0", spool) as (udp, _, port):
        with monkeypatch.context() as patched:
            patched.setattr(udp, "_append", lambda payloads, unsynced: 1 / 0)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"<134>poison", ("127.0.0.1", port))
                wait_for(lambda: "datagrams were dropped: ZeroDivisionError" in caplog.text)
        assert list(udp.problems()) == [] and udp.counts["malformed"] == 1


def test_failures_of_accept_are_logged_once_a_minute(caplog):
    log_filter = limits.AsyncioLog()
    try:
        raise OSError(24, "Too many open files")
    except OSError:
        record = logging.LogRecord("asyncio", 40, "", 0, "accept", None, sys.exc_info())
    assert not any(log_filter.filter(record) for _ in range(1_000))
    assert caplog.text.count("Too many open files") == 1 and "Traceback" not in caplog.text


def test_limit_of_open_files_is_raised_and_shared():
    code = (
        "import json, resource; from siemtap.edge.receive import limits\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512)); low = limits.max_connections()\n"
        "limits.raise_file_limit(); soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]\n"
        "print(json.dumps([low, soft, limits.max_connections()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True)
    assert json.loads(done.stdout) == [16, 512, 64]


def ask_health(stack, port):
    (asking,) = connections(stack, port, 1)
    asking.sendall(b"GET /health HTTP/1.0\r\n\r\n")
    answer = b""
    while part := asking.recv(65536):
        answer += part
    return answer
