"""Files of certificates that cannot be used are a problem of /health until they can."""

import pytest
import tls
from centurylink_ips import simulator as deep_security
from cryptography import x509
from stepped_shipper import SteppedShipper

from apptrana import simulator
from siemtap.edge import certificates
from siemtap.edge.client.http import connect
from siemtap.shipper.config import exposure
from siemtap.shipper.config.load import parse


def test_health_says_which_files_cannot_be_used(tmp_path):
    ca, own = tmp_path / "ca.pem", tmp_path / "own.pem"
    authority = tls.Certificate("Root", authority=True)
    login = tls.Certificate("client", by=authority).write(tmp_path)
    ca.write_bytes(authority.pem)
    own.write_bytes(login.read_bytes())
    more = (
        f"output.elasticsearch: {{hosts: ['https://127.0.0.1:1'], certificate: {own}, key: {own}}}"
    )
    stepped = SteppedShipper(
        tmp_path, simulator.Simulator(), "apptrana", into="more", more=more, ca_file=str(ca)
    ).start()
    shipper = stepped.shipper
    for connection in list(shipper.clients):  # as over the network, but nothing is sent
        shipper.clients[connection] = connect(connection)
    assert shipper.health() == (True, "ok")
    for path, name in ((ca, ""), (own, "output default: ")):
        whole = path.read_bytes()
        path.write_bytes(whole[:100])
        healthy, why = shipper.health()
        assert not healthy
        assert why.startswith(f"{name}the certificate {path}"), why
        path.write_bytes(whole)
        assert shipper.health() == (True, "ok")
    stepped.stop()


def test_health_says_that_an_own_certificate_has_expired(tmp_path, caplog):
    """Whoever verifies it only ends the connection, which tells this side nothing."""
    authority = tls.Certificate("Root", authority=True)
    own = tmp_path / "own.pem"
    old = tls.Certificate("localhost", by=authority, days=-1).write(tmp_path)
    own.write_bytes(old.read_bytes())
    stepped = SteppedShipper(
        tmp_path,
        deep_security.Simulator(),
        "centurylink_ips",
        listen="127.0.0.1:0",
        secret="0123456789abcdef",
        certificate=str(own),
    ).start()
    healthy, why = stepped.shipper.health()
    assert not healthy and f"the certificate {own} expired on " in why, why
    assert caplog.text.count("expired on") == 1
    own.write_bytes(tls.Certificate("localhost", by=authority).write(tmp_path).read_bytes())
    assert stepped.shipper.health() == (True, "ok")
    stepped.stop()


@pytest.mark.parametrize("kind", ["encrypted", "of another certificate", "expired"])
def test_an_own_certificate_that_cannot_be_used_is_warned_of(tmp_path, kind):
    """It may be half written just now, and keeps nothing else from running."""
    own = tls.Certificate("client", days=-1 if kind == "expired" else 1)
    other = tls.Certificate("other")
    pass_phrase = b"secret words" if kind == "encrypted" else b""
    certificate = own.write(tmp_path)
    key = certificate
    if kind != "expired":
        key = (own if pass_phrase else other).write(tmp_path, own, pass_phrase=pass_phrase)
    text = (
        "inputs: [{type: apptrana, client_id: a, client_secret: b}]\noutput.elasticsearch:\n"
        f"  hosts: ['https://es.example.com:9200']\n  certificate: {certificate}\n  key: {key}\n"
    )
    (warning,) = exposure.warnings(parse(text))
    assert (
        warning.startswith("output.elasticsearch: the certificate ") and str(certificate) in warning
    )
    assert {
        "encrypted": "pass phrase",
        "of another certificate": "KEY_VALUES_MISMATCH",
        "expired": "expired on",
    }[kind] in warning
    good = tls.Certificate("client").write(tmp_path)
    text = text.replace(str(key), str(good)).replace(str(certificate), str(good))
    assert list(exposure.warnings(parse(text))) == []


def test_a_certificate_that_only_openssl_can_read_has_no_known_end(tmp_path, monkeypatch):
    path = tls.Certificate("client").write(tmp_path)
    assert certificates.expiry(str(path)) > 0

    def refuse(data):
        raise x509.InvalidVersion("1 is not a valid X509 version", 1)

    monkeypatch.setattr(x509, "load_pem_x509_certificate", refuse)
    assert certificates.expiry(str(path)) is None
