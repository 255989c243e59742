"""TLS of the output `splunk_hec`: authorities, pins, client certificates."""

import hashlib
import ssl
from pathlib import Path

import pytest
import tls
import urllib3
from hec_stand_in import Hec
from outputs.output_stores import UNIT, collector, event

from siemtap.core.errors import ConfigError, Retry

EVENTS = [event(number) for number in range(5)]
IDS = [each["event"]["id"] for each in EVENTS]


def sha256(path):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(path).read_text())).hexdigest()


@pytest.fixture
def files(tmp_path):
    """Return the paths of a certificate, which signs itself, and of its key."""
    tls.make(tmp_path)
    return str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")


def deliver(server, **settings):
    output = collector(server, **settings)
    try:
        output.deliver(UNIT, EVENTS, None)
    finally:
        output.close()


def test_authorities_and_pins(tmp_path, files, caplog, monkeypatch):
    monkeypatch.setattr("siemtap.outputs.splunk_hec.output.PATIENCE", 0.1)
    certificate, _ = files
    with Hec(tmp_path) as server:
        deliver(server, ca_file=certificate)
        deliver(server, ca_fingerprint=sha256(certificate))
        assert not caplog.records
        with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
            deliver(server, verify=False)
        assert "certificates are not verified" in caplog.text
        assert server.ids() == IDS * 3
        with pytest.raises(Retry, match="TLS failed.*`ca_file`.*`ca_fingerprint`"):
            deliver(server)
        with pytest.raises(ConfigError, match="another certificate.*`ca_fingerprint`"):
            deliver(server, ca_fingerprint="0" * 64)
        assert server.ids() == IDS * 3


@pytest.mark.parametrize("pinned", [False, True])
def test_a_client_certificate(tmp_path, files, monkeypatch, pinned):
    monkeypatch.setattr("siemtap.outputs.splunk_hec.output.PATIENCE", 0.1)
    certificate, key = files
    trust = {"ca_fingerprint": sha256(certificate)} if pinned else {"ca_file": certificate}
    with Hec(tmp_path, certificate) as server:
        with pytest.raises(Retry):
            deliver(server, **trust)
        assert not server.indexed
        deliver(server, certificate=certificate, key=key, **trust)
        assert server.ids() == IDS
