"""Listeners use a certificate that changed on disk from the next connection on."""

import os
import socket
import ssl
from contextlib import closing, contextmanager, suppress

import pytest
import tls

from siemtap.core.manifest import fill_in
from siemtap.core.settings import Receiving
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
        yield int(listener.address.rsplit(":", 1)[1])
    finally:
        listener.close()


@contextmanager
def syslog(folder, certificate, key):
    spool = Spool(folder / "spool")
    settings = fill_in(Receiving, {"certificate": certificate, "key": key})
    listener = open_listener("tls://127.0.0.1:0", settings, spool, SYSTEM)
    try:
        yield int(listener.address.rsplit(":", 1)[1])
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
def port(request, tmp_path):
    tls.make(tmp_path)
    paths = (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    with request.param(tmp_path, *paths) as port:
        yield port


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


def test_an_open_connection_goes_on(port, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as plain:
        with context.wrap_socket(plain) as connection:
            second = renew(tmp_path)
            assert shown(port) == second
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
