"""A pinned fingerprint with valid certificate chains and with those of a man in the middle. A
server that is not trusted receives a TLS handshake and nothing else."""

import ssl
import sys

import pytest
import tls
from processes import wait_for
from urllib3.exceptions import InsecureRequestWarning

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.settings import Connection
from siemtap.edge.client.http import connect
from siemtap.edge.client.messages import Request
from siemtap.edge.client.sender import Sender

CHAINS = sys.version_info >= (
    3,
    10,
)  # older versions of Python return only the certificate of the server
needs_chains = pytest.mark.skipif(
    not CHAINS, reason="Python 3.9 does not tell which authorities a server sends"
)
SECRET = "k3y-that-n0body-else-may-hear"


class Chains:
    """The certificates of an administrator, and those that a man in the middle can make."""

    def __init__(self, folder):
        self.folder = folder
        self.root = tls.Certificate("Root CA", authority=True)
        self.middle = tls.Certificate("Middle CA", by=self.root, authority=True)
        self.leaf = tls.Certificate("server", by=self.root)
        self.below = tls.Certificate("server", by=self.middle)
        self.elsewhere = tls.Certificate("server", by=self.root, hosts=["es.example.com"])
        self.expired = tls.Certificate("server", by=self.root, days=-1)
        self.forged = tls.Certificate("server", named=self.root)
        self.forged_below = tls.Certificate("server", named=self.middle)
        self.foreign = tls.Certificate("server", by=tls.Certificate("Another CA", authority=True))
        self.no_authority = tls.Certificate(
            "server", by=self.leaf
        )  # signed with the key of a certificate that is no authority

    def serve(self, *names, **more):
        first, *others = [getattr(self, name) for name in names]
        return tls.listening(first.write(self.folder, *others), **more)


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    return Chains(tmp_path_factory.mktemp("chains"))


def ask(server, host="127.0.0.1", **settings):
    client = connect(fill_in(Connection, {"timeout": "5s", **settings}))
    return client.ask(
        Request(
            "POST", f"https://{host}:{server.port}/x", {"Authorization": f"Bearer {SECRET}"}, b"{}"
        )
    )


BELIEVED = [
    ("leaf", ["leaf", "root"]),
    ("leaf", ["leaf"]),
    ("foreign", ["foreign"]),
    ("expired", ["expired"]),
    ("elsewhere", ["elsewhere"]),  # the certificate of the server is pinned
    ("root", ["leaf", "root"]),
    ("root", ["below", "middle", "root"]),
    ("middle", ["below", "middle", "root"]),
    ("middle", ["below", "middle"]),
]
REFUSED = [
    # The public certificate of the authority, with a certificate of the attacker that names it as issuer.
    ("root", ["forged", "root"], "cannot be verified"),
    ("root", ["forged_below", "middle", "root"], "cannot be verified"),
    ("middle", ["forged_below", "middle"], "cannot be verified"),
    ("root", ["forged_below", "root"], "cannot be verified"),
    ("root", ["foreign", "root"], "cannot be verified"),
    ("leaf", ["foreign", "leaf"], "cannot be verified"),
    ("leaf", ["no_authority", "leaf", "root"], "cannot be verified"),
    ("root", ["expired", "root"], "expired"),
    ("root", ["elsewhere", "root"], "not valid for '127.0.0.1'"),
    ("root", ["leaf"], "does not send"),
    ("root", ["foreign"], "does not send"),
    ("middle", ["leaf", "root"], "none of the 2 certificates"),
    ("leaf", ["foreign", "root"], "none of"),
]


@pytest.mark.parametrize("pin,chain", BELIEVED)
def test_trusted_chains(chains, pin, chain):
    with chains.serve(*chain) as server:
        if pin != chain[0] and not CHAINS:
            with pytest.raises(
                ConfigError, match="another certificate.*Python 3.9 does not return"
            ):
                ask(server, fingerprint=getattr(chains, pin).fingerprint)
            assert server.received == []
            return
        assert ask(server, fingerprint=getattr(chains, pin).fingerprint).status == 200
        expected = 1 if pin == chain[0] else 2
        # the server may count a handshake after the client has ended it
        wait_for(lambda: server.handshakes >= expected)
        assert SECRET.encode() in server.received[0] and server.handshakes == expected


@pytest.mark.parametrize("verify", ["true", "false"])
@pytest.mark.parametrize("pin,chain,why", REFUSED)
def test_untrusted_chains_receive_no_data(chains, pin, chain, why, verify):
    with (
        chains.serve(*chain) as server,
        pytest.raises(
            ConfigError,
            match="another certificate than the one of `fingerprint`"
            + (f".*{why}" if CHAINS else ""),
        ) as caught,
    ):
        ask(server, fingerprint=getattr(chains, pin).fingerprint, verify=verify)
    assert server.received == [] and SECRET not in str(caught.value)


@needs_chains
def test_verified_authority_is_remembered_and_every_connection_is_verified(chains):
    """A server that does not send the authority is verified, too, and a man in the middle is
    rejected later."""
    client = connect(fill_in(Connection, {"timeout": "5s", "fingerprint": chains.root.fingerprint}))

    def post(server):
        return client.ask(
            Request("POST", f"https://127.0.0.1:{server.port}/x", {"Authorization": SECRET}, b"{}")
        ).status

    with (
        chains.serve("leaf", "root") as first,
        chains.serve("leaf") as second,
        chains.serve("forged", "root") as between,
        chains.serve("foreign", "root") as foreign,
    ):
        for server in (
            between,
            foreign,
        ):  # before: an authority that is sent but not verified is not remembered
            with pytest.raises(ConfigError):
                post(server)
        assert post(first) == 200
        wait_for(lambda: first.handshakes >= 2)
        assert first.handshakes == 2 and post(second) == 200 and second.handshakes == 1
        for server in (between, foreign):
            with pytest.raises(ConfigError):
                post(server)
        assert between.received == foreign.received == []


def test_pinned_certificate_is_compared_on_every_connection(chains):
    client = connect(fill_in(Connection, {"timeout": "5s", "fingerprint": chains.leaf.fingerprint}))
    with chains.serve("leaf") as server, chains.serve("foreign", "leaf") as between:
        assert client.ask(Request("GET", f"https://127.0.0.1:{server.port}/")).status == 200
        with pytest.raises(ConfigError):
            client.ask(Request("GET", f"https://127.0.0.1:{between.port}/"))
        assert (
            client.ask(Request("GET", f"https://127.0.0.1:{server.port}/")).status == 200
            and between.received == []
        )


@pytest.mark.parametrize("kind", ["http", pytest.param("https", marks=needs_chains)])
def test_through_a_proxy(chains, kind):
    proxies = []

    def ask_through_proxy(server, pin, **more):
        proxies.append(
            tls.Proxy(
                server.port,
                chains.leaf.write(chains.folder, chains.root) if kind == "https" else None,
            )
        )
        (chains.folder / "root.pem").write_bytes(chains.root.pem)
        return ask(
            server,
            proxy=proxies[-1].address,
            proxy_user="me",
            proxy_password="pr0xy",
            fingerprint=pin.fingerprint,
            **{"ca_file": str(chains.folder / "root.pem"), **more},
        )

    with chains.serve("leaf", "root") as server:
        assert ask_through_proxy(server, chains.leaf).status == 200
        if CHAINS:
            assert ask_through_proxy(server, chains.root).status == 200
        assert all(
            b"CONNECT" in proxy.received[0] and SECRET.encode() not in b"".join(proxy.received)
            for proxy in proxies
        )
        if (
            kind == "https"
        ):  # the pin of the server does not apply to the proxy, which receives a password
            with pytest.raises((ConfigError, Retry)):
                ask_through_proxy(server, chains.leaf, ca_file="")
            assert proxies[-1].received == []
    for chain, pin in ((["forged", "root"], chains.root), (["foreign", "leaf"], chains.leaf)):
        with chains.serve(*chain) as between:
            with pytest.raises(ConfigError, match="another certificate"):
                ask_through_proxy(between, pin)
            assert between.received == []
    for proxy in proxies:
        proxy.socket.close()


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("own", [False, True], ids=["", "own certificate"])
def test_an_http_url_through_an_https_proxy(chains, pinned, own):
    """TLS ends at the proxy, which receives its password and the token once authorities vouch for
    it. The pin and the client's certificate are for servers."""
    chain = str(chains.leaf.write(chains.folder))
    root = str(chains.folder / "root.pem")
    (chains.folder / "root.pem").write_bytes(chains.root.pem)
    more = {"fingerprint": chains.foreign.fingerprint} if pinned else {}
    with chains.serve("leaf") as proxy:
        proxy.context.load_verify_locations(root)
        proxy.context.verify_mode = ssl.CERT_OPTIONAL

        def status(**trust):
            given = {"proxy_user": "me", "proxy_password": "pr0xy", **more, **trust}
            given["proxy"] = f"https://127.0.0.1:{proxy.port}"
            sender = Sender(fill_in(Connection, given), 1, (chain, chain) if own else ("", ""))
            return sender(Request("GET", "http://vendor.example.com/x", {}, b""), 5.0).status

        with pytest.raises(Retry, match="certificate verify failed"):
            status()
        assert proxy.received == []
        assert status(ca_file=root) == 200
        with pytest.warns(InsecureRequestWarning):
            assert status(verify=False) == 200
        assert all(b"Proxy-Authorization: Basic" in part for part in proxy.received)
        assert proxy.shown == [None, None]


@needs_chains
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_each_version_of_tls(chains, version):
    with (
        chains.serve("leaf", "root", version=version) as server,
        chains.serve("forged", "root", version=version) as between,
    ):
        assert ask(server, fingerprint=chains.root.fingerprint).status == 200
        with pytest.raises(ConfigError, match="cannot be verified"):
            ask(between, fingerprint=chains.root.fingerprint)
        assert between.received == []
