"""Files of certificates that change on disk are used from the next connection on, by listeners and
by clients."""

import os
import socket
import ssl
from contextlib import closing, contextmanager, suppress

import pytest
import tls

from siemtap.core.errors import ConfigError
from siemtap.core.manifest import fill_in
from siemtap.core.settings import Connection, Receiving
from siemtap.edge.certificates import Followed
from siemtap.edge.client.messages import Request
from siemtap.edge.client.sender import Sender
from siemtap.edge.clock import SYSTEM
from siemtap.edge.receive.listener import Listener
from siemtap.edge.receive.spool import Spool
from siemtap.edge.syslog.listener import open_listener

# asyncio of Python 3.9 warns of each TLS connection that ends with its loop, which is no leak
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function _SSLProtocolTransport"
)


@contextmanager
def webhook(folder, certificate, key):
    listener = Listener("127.0.0.1", 0, certificate, key)
    try:
        yield listener
    finally:
        listener.close()


@contextmanager
def syslog(folder, certificate, key):
    spool = Spool(folder / "spool")
    settings = fill_in(Receiving, {"certificate": certificate, "key": key})
    listener = open_listener("tls://127.0.0.1:0", settings, spool, SYSTEM)
    try:
        yield listener
    finally:
        listener.close()
        spool.close()


def shown(port, name=None):
    """Return the certificate that a listener shows a client, which sends a name or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as plain:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            text = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
            with suppress(OSError):  # a listener that closes first
                connection.unwrap()
            return text


def renew(folder):
    """Replace both files, as certbot does; return the new certificate."""
    new = folder / "new"
    new.mkdir()
    tls.make(new)
    text = (new / "cert.pem").read_text()
    for name in ("cert.pem", "key.pem"):
        os.replace(new / name, folder / name)
    new.rmdir()
    return text


@pytest.fixture(params=[webhook, syslog], ids=["webhook", "syslog"])
def listener(request, tmp_path):
    tls.make(tmp_path)
    paths = (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    with request.param(tmp_path, *paths) as listener:
        yield listener


@pytest.fixture
def port(listener):
    return int(listener.address.rsplit(":", 1)[1])


@pytest.mark.parametrize("name", [None, "siemtap.example.com"])
def test_renewed_certificate_is_used(port, tmp_path, name, caplog):
    caplog.set_level("INFO")
    first = (tmp_path / "cert.pem").read_text()
    assert shown(port, name) == first
    for _ in range(2):
        second = renew(tmp_path)
        assert shown(port, name) == second != first
        assert shown(port, name) == second
    assert caplog.text.count("changed and is used from now on") == 2


def test_certificate_that_cannot_be_used_is_logged_once(port, tmp_path, caplog):
    """While a file is half written, missing, or not of the key beside it, the one before stays."""
    first, key = (tmp_path / "cert.pem").read_text(), (tmp_path / "key.pem").read_text()
    (tmp_path / "cert.pem").write_text(first[:100])
    assert [shown(port) for _ in range(3)] == [first] * 3
    (tmp_path / "cert.pem").unlink()
    assert [shown(port) for _ in range(3)] == [first] * 3
    second = renew(tmp_path)
    (tmp_path / "key.pem").write_text(key)
    assert shown(port) == first
    third = renew(tmp_path)
    assert shown(port) == third != second
    assert caplog.text.count("cannot be used") == 3


def test_a_certificate_that_cannot_be_used_is_a_problem_until_it_can(listener, port, tmp_path):
    """It is one before any sender connects, and ends without a connection, too."""
    assert list(listener.problems()) == []
    key = (tmp_path / "key.pem").read_text()
    second = renew(tmp_path)
    (tmp_path / "key.pem").write_text(key)
    (problem,) = listener.problems()
    assert f"{tmp_path}/cert.pem or {tmp_path}/key.pem cannot be used" in problem
    assert "write a whole certificate and its key" in problem
    (tmp_path / "cert.pem").unlink()
    (problem,) = listener.problems()
    assert "No such file" in problem
    third = renew(tmp_path)
    assert list(listener.problems()) == []
    assert shown(port) == third != second


def test_files_are_read_again_after_a_right_to_read_was_given(tmp_path):
    """It changes neither time nor size."""
    path = tmp_path / "key.pem"
    path.write_text("key")
    refusals = [None, PermissionError(13, "Permission denied"), None]

    def read():
        refusal = refusals.pop(0)
        if refusal:
            raise refusal
        return len(refusals)

    files = Followed(read, {"key": str(path)})
    assert files.latest() == 2 and files.problem() == ""
    path.write_text("another key")
    assert "Permission denied" in files.problem()
    assert files.problem() == "" and files.latest() == 0
    assert refusals == []


def test_the_listener_reads_its_certificate_once(tmp_path, monkeypatch):
    tls.make(tmp_path)
    reads = []
    load = ssl.SSLContext.load_cert_chain

    def counted(context, *args, **more):
        reads.append(args)
        return load(context, *args, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", counted)
    with webhook(tmp_path, str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")) as listener:
        assert listener.address.startswith("https://")
        assert len(reads) == 1


def test_a_client_follows_its_ca_file(tmp_path):
    """Neither renewed authorities nor a file that is half written need a restart."""
    trusted = tmp_path / "ca.pem"
    authorities = [tls.Certificate(name, authority=True) for name in ("Old", "New")]
    nodes = [tls.Certificate("node", by=authority) for authority in authorities]
    chains = [node.write(tmp_path) for node in nodes]
    trusted.write_bytes(authorities[0].pem)
    with tls.listening(chains[0], headers=b"connection: close\r\n") as server:
        url = f"https://127.0.0.1:{server.port}/"
        sender = Sender(fill_in(Connection, {"ca_file": str(trusted)}), 1)

        def status():
            return sender(Request("GET", url, {}, b""), 5.0).status

        assert status() == 200
        trusted.write_bytes(authorities[0].pem[:200])
        assert status() == 200
        (problem,) = sender.problems()
        assert str(trusted) in problem
        server.context.load_cert_chain(chains[1])
        trusted.write_bytes(authorities[1].pem)
        assert status() == 200
        assert list(sender.problems()) == []


@pytest.mark.parametrize("name,reason", [("none.pem", "No such file"), ("", "Is a directory")])
def test_a_client_whose_ca_file_never_could_be_used(tmp_path, name, reason):
    sender = Sender(fill_in(Connection, {"ca_file": str(tmp_path / name)}), 1)
    with pytest.raises(
        ConfigError, match=f"^GET https://.*: `ca_file` cannot be used: {reason}.*; write the path"
    ):
        sender(Request("GET", "https://127.0.0.1:1/", {}, b""), 5.0)


def use_as_server(path):
    Listener("127.0.0.1", 0, path, path)


def use_as_client(path):
    Sender(Connection(), 1, (path, path)).files[0].latest()


def use_with_a_pin(path):
    Sender(fill_in(Connection, {"fingerprint": "ab" * 32}), 1, (path, path)).files[0].latest()


@pytest.mark.parametrize("use", [use_as_server, use_as_client, use_with_a_pin])
def test_an_encrypted_key_is_an_error_and_no_question(tmp_path, use):
    """OpenSSL would ask the terminal for the pass phrase, and wait."""
    path = tls.Certificate("own").write(tmp_path, pass_phrase=b"secret")
    with pytest.raises(ConfigError, match="the key is encrypted: siemtap takes keys without"):
        use(str(path))


def test_a_renewed_key_that_is_encrypted_is_a_problem(tmp_path):
    own = tls.Certificate("own")
    path = own.write(tmp_path)
    sender = Sender(Connection(), 1, (str(path), str(path)))
    assert list(sender.problems()) == []
    own.write(tmp_path, pass_phrase=b"secret")
    (problem,) = sender.problems()
    assert f"{path} cannot be used (the key is encrypted" in problem


def test_the_authorities_of_a_proxy_are_followed(tmp_path):
    """The pin is the server's; `ca_file` verifies the HTTPS proxy in front of it."""
    node = tls.Certificate("node")
    authorities = [tls.Certificate(name, authority=True) for name in ("Old", "New")]
    chains = [tls.Certificate("proxy", by=each).write(tmp_path) for each in authorities]
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(authorities[0].pem)
    with tls.listening(node.write(tmp_path), headers=b"connection: close\r\n") as server:
        proxy = tls.Proxy(server.port, chains[0])
        settings = {
            "ca_file": str(trusted),
            "fingerprint": node.fingerprint,
            "proxy": proxy.address,
        }
        sender = Sender(fill_in(Connection, settings), 1)
        for authority, chain in zip(authorities, chains):
            proxy.context.load_cert_chain(chain)
            trusted.write_bytes(authority.pem)
            reply = sender(Request("GET", "https://localhost/", {}, b""), 5.0)
            assert reply.status == 200
        proxy.socket.close()


def test_an_open_connection_goes_on(port, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as plain:
        with context.wrap_socket(plain) as connection:
            second = renew(tmp_path)
            assert shown(port) == second
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
