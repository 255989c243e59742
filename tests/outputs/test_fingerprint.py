"""`ca_fingerprint` of a search cluster and of Kibana: a server that is not trusted receives a
TLS handshake, and neither a key nor an event."""

import json
import ssl

import pytest
import tls

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.elastic.kibana.client import Kibana
from siemtap.outputs.elasticsearch.output import Elasticsearch, Opensearch
from siemtap.outputs.elasticsearch.settings import Settings
from siemtap.shipper.config.load import load

UNIT = Unit("it", "apptrana.attack")
PRODUCT = b"x-elastic-product: Elasticsearch\r\n"
ACCEPTED = json.dumps({"errors": False, "items": [{"create": {"status": 201}}]}).encode()
EVENT = {
    "@timestamp": "2026-03-04T10:00:00.000Z",
    "data_stream": {"type": "logs", "dataset": "apptrana.attack", "namespace": "default"},
    "event": {
        "id": f"{7:032x}",
        "kind": "event",
        "dataset": "apptrana.attack",
        "module": "apptrana",
    },
}
KEY = "bm9ib2R5OmVsc2UtbWF5LWhlYXI="


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chains")
    root = tls.Certificate("Elasticsearch security auto-configuration HTTP CA", authority=True)
    middle = tls.Certificate("Middle", by=root, authority=True)
    made = {
        "root": root,
        "middle": middle,
        "leaf": tls.Certificate("node", by=root),
        "below": tls.Certificate("node", by=middle),
        "forged": tls.Certificate("node", named=root),
        "expired": tls.Certificate("node", by=root, days=-1),
        "elsewhere": tls.Certificate("node", by=root, hosts=["es.example.com"]),
        "client": tls.Certificate("client", by=root),
    }
    (folder / "root.pem").write_bytes(root.pem)

    def serve(*names, **more):
        first, *others = [made[name] for name in names]
        return tls.listening(first.write(folder, *others), answer=ACCEPTED, headers=PRODUCT, **more)

    return serve, made, folder


def deliver(server, pin, kind=Elasticsearch, **more):
    cluster_output = kind(
        fill_in(
            Settings, {"hosts": [f"https://127.0.0.1:{server.port}"], "ca_fingerprint": pin, **more}
        )
    )
    cluster_output.templates.asked.add(("logs-apptrana.attack-default", "apptrana.attack"))
    try:
        return cluster_output.deliver(UNIT, [EVENT], None)
    finally:
        cluster_output.close()


@pytest.mark.parametrize(
    "pin,chain",
    [
        ("root", ["leaf", "root"]),
        ("root", ["below", "middle", "root"]),
        ("middle", ["below", "middle"]),
        ("leaf", ["leaf"]),
        ("expired", ["expired", "root"]),
        ("elsewhere", ["elsewhere"]),
    ],
)
def test_trusted_chains(chains, pin, chain):
    serve, made, _ = chains
    with serve(*chain) as server:
        assert deliver(
            server, made[pin].fingerprint.upper(), api_key=KEY
        ) == [] and KEY.encode() in b"".join(server.received)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    "pin,chain,why",
    [
        ("root", ["forged", "root"], "cannot be verified"),
        ("leaf", ["forged", "leaf", "root"], "cannot be verified"),
        ("root", ["expired", "root"], "certificate has expired"),
        ("root", ["elsewhere", "root"], "not valid for '127.0.0.1'"),
        ("root", ["leaf"], "does not send"),
        ("middle", ["leaf", "root"], "none of the 2"),
    ],
)
def test_untrusted_chains(chains, pin, chain, why, verify):
    serve, made, _ = chains
    with (
        serve(*chain) as server,
        pytest.raises(
            ConfigError, match=f"bulk: .*{why}.*ca_fingerprint of output.elasticsearch"
        ) as caught,
    ):
        deliver(server, made[pin].fingerprint, api_key=KEY, verify=verify)
    assert server.received == [] and server.handshakes < 2 and KEY not in str(caught.value)


def test_every_node_and_every_connection_is_verified(chains):
    """The first node is trusted and its authority is remembered; the second host of `hosts` is a
    man in the middle."""
    serve, made, _ = chains
    with serve("leaf", "root") as good, serve("forged", "root") as between:
        cluster_output = Elasticsearch(
            fill_in(
                Settings,
                {
                    "hosts": [
                        f"https://127.0.0.1:{good.port}",
                        f"https://127.0.0.1:{between.port}",
                    ],
                    "ca_fingerprint": made["root"].fingerprint,
                    "api_key": KEY,
                },
            )
        )
        messages = []
        for _ in range(6):
            try:
                assert cluster_output.deliver(UNIT, [EVENT], None) == []
            except ConfigError as error:
                messages.append(str(error))
        cluster_output.close()
    assert (
        good.received
        and between.received == []
        and messages
        and all("cannot be verified" in line for line in messages)
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("pin", ["root", "leaf"])
def test_client_certificate(chains, pin, version):
    serve, made, folder = chains
    login = str(made["client"].write(folder))
    with serve("leaf", "root", version=version, clients=folder / "root.pem") as server:
        assert deliver(
            server, made[pin].fingerprint, Opensearch, certificate=login, key=login
        ) == [] and all(server.logged_in)


def test_unreadable_client_certificate_is_reported(chains):
    with pytest.raises(ConfigError, match="output.elasticsearch: .*No such file"):
        Elasticsearch(
            fill_in(
                Settings,
                {
                    "hosts": ["https://127.0.0.1:9200"],
                    "ca_fingerprint": "ab" * 32,
                    "certificate": "nowhere.pem",
                    "key": "nowhere.pem",
                },
            )
        )


def test_kibana_is_verified_by_its_ca_file_only(chains, tmp_path):
    """The fingerprint is that of the cluster; Kibana has its own certificate and
    `setup.kibana.ca_file`."""
    serve, made, folder = chains
    path = tmp_path / "siemtap.yml"

    def check(server, **more):
        path.write_text(
            json.dumps(
                {
                    "output": {
                        "elasticsearch": {
                            "hosts": ["https://127.0.0.1:9200"],
                            "api_key": KEY,
                            "ca_fingerprint": made["root"].fingerprint,
                        }
                    },
                    "setup": {"kibana": {"host": f"https://127.0.0.1:{server.port}", **more}},
                    "inputs": [{"type": "apptrana", "client_id": "a", "client_secret": "b"}],
                }
            )
        )
        with pytest.raises((ConfigError, Retry)) as caught:
            config = load(str(path))
            Kibana(config.kibana, config.output.settings).check()
        return str(caught.value)

    for chain in (["leaf", "root"], ["forged", "root"]):
        with serve(*chain) as server:
            assert "TLS failed" in check(server) and server.received == []
    with serve("forged", "root") as server:
        assert (
            "TLS failed" in check(server, ca_file=str(folder / "root.pem"))
            and server.received == []
        )
    with serve("leaf", "root") as server:
        assert (
            "is not a Kibana" in check(server, ca_file=str(folder / "root.pem"))
            and KEY.encode() in server.received[0]
        )
