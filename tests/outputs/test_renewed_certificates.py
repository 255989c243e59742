"""Outputs show a client certificate that was renewed without a restart."""

import ssl

import pytest
import tls
from hec_stand_in import TOKEN
from outputs.output_stores import UNIT, event
from outputs.test_fingerprint import ACCEPTED, EVENT, PRODUCT

from siemtap.core.manifest import fill_in
from siemtap.outputs.elasticsearch import settings as cluster
from siemtap.outputs.elasticsearch.output import Elasticsearch
from siemtap.outputs.splunk_hec import settings as hec
from siemtap.outputs.splunk_hec.output import SplunkHec

CLOSE = b"connection: close\r\n"
ELASTICSEARCH = (Elasticsearch, cluster.Settings, {}, EVENT, ACCEPTED, PRODUCT + CLOSE)
SPLUNK = (
    SplunkHec,
    hec.Settings,
    {"token": TOKEN},
    event(1),
    b'{"text": "Success", "code": 0}',
    CLOSE,
)


@pytest.mark.parametrize("trust", ["ca_file", "ca_fingerprint"])
@pytest.mark.parametrize("case", [ELASTICSEARCH, SPLUNK], ids=["elasticsearch", "splunk_hec"])
def test_renewed_client_certificate_is_shown(tmp_path, case, trust):
    kind, form, more, document, answer, headers = case
    root = tls.Certificate("Root", authority=True)
    (tmp_path / "root.pem").write_bytes(root.pem)
    node = tls.Certificate("node", by=root).write(tmp_path, root)
    trusted = {"ca_file": str(tmp_path / "root.pem"), "ca_fingerprint": root.fingerprint}[trust]
    own = tmp_path / "own.pem"
    logins = [tls.Certificate("client", by=root) for _ in range(2)]

    def show(login):
        own.write_bytes(login.write(tmp_path).read_bytes())

    show(logins[0])
    with tls.listening(
        node, answer=answer, headers=headers, clients=tmp_path / "root.pem"
    ) as server:
        settings = {
            "hosts": [f"https://127.0.0.1:{server.port}"],
            "certificate": str(own),  # with its key
            trust: trusted,
            **more,
        }
        output = kind(fill_in(form, settings))

        def deliver():
            assert output.deliver(UNIT, [document], None) == []
            return ssl.DER_cert_to_PEM_cert(server.shown[-1]).encode()

        assert deliver() == logins[0].pem
        own.write_bytes(own.read_bytes()[:300])
        assert deliver() == logins[0].pem
        (problem,) = output.problems()
        assert str(own) in problem and "cannot be used" in problem
        show(logins[1])
        assert deliver() == logins[1].pem
        assert list(output.problems()) == []
        output.close()
