"""A pinned fingerprint against chains that are right, and against those of somebody in between.
Whoever is not believed hears a handshake and nothing else."""

import select
import socket
import ssl
import sys
from contextlib import suppress

import pytest
import tls

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.forms import Connection
from siemtap.core.manifest import fill_in
from siemtap.edge.http import Request, connect

CHAINS = sys.version_info >= (3, 10)  # before, Python tells of the server's own certificate only
needs_chains = pytest.mark.skipif(
    not CHAINS, reason="Python 3.9 does not tell which authorities a server sends"
)
SECRET = "k3y-that-n0body-else-may-hear"


class Chains:
    """What a network's administrator has, and what somebody in between can make of it."""

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
        )  # signed with the key of a certificate that may not sign

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
    ("elsewhere", ["elsewhere"]),  # its own certificate, pinned
    ("root", ["leaf", "root"]),
    ("root", ["below", "middle", "root"]),
    ("middle", ["below", "middle", "root"]),
    ("middle", ["below", "middle"]),
]
REFUSED = [
    # The public certificate of the authority, beside a certificate of one's own that names it.
    ("root", ["forged", "root"], "does not vouch"),
    ("root", ["forged_below", "middle", "root"], "does not vouch"),
    ("middle", ["forged_below", "middle"], "does not vouch"),
    ("root", ["forged_below", "root"], "does not vouch"),
    ("root", ["foreign", "root"], "does not vouch"),
    ("leaf", ["foreign", "leaf"], "does not vouch"),
    ("leaf", ["no_authority", "leaf", "root"], "does not vouch"),
    ("root", ["expired", "root"], "expired"),
    ("root", ["elsewhere", "root"], "not valid for '127.0.0.1'"),
    ("root", ["leaf"], "does not send along"),
    ("root", ["foreign"], "does not send along"),
    ("middle", ["leaf", "root"], "none of the 2 certificates"),
    ("leaf", ["foreign", "root"], "none of"),
]


@pytest.mark.parametrize("pin,chain", BELIEVED)
def test_believed(chains, pin, chain):
    with chains.serve(*chain) as server:
        if pin != chain[0] and not CHAINS:
            with pytest.raises(ConfigError, match="another certificate.*Python 3.9 does not tell"):
                ask(server, fingerprint=getattr(chains, pin).fingerprint)
            assert server.heard == []
            return
        assert ask(server, fingerprint=getattr(chains, pin).fingerprint).status == 200
        assert SECRET.encode() in server.heard[0] and server.handshakes == (
            1 if pin == chain[0] else 2
        )


@pytest.mark.parametrize("verify", ["true", "false"])
@pytest.mark.parametrize("pin,chain,why", REFUSED)
def test_not_believed_and_not_told_anything(chains, pin, chain, why, verify):
    with (
        chains.serve(*chain) as server,
        pytest.raises(
            ConfigError,
            match="another certificate than the one of `fingerprint`"
            + (f".*{why}" if CHAINS else ""),
        ) as told,
    ):
        ask(server, fingerprint=getattr(chains, pin).fingerprint, verify=verify)
    assert server.heard == [] and SECRET not in str(told.value)


@needs_chains
def test_a_client_goes_on_with_the_authority_it_verified_and_believes_no_other_later(chains):
    """One handshake a connection then; a server that does not send the authority is verified
    too; whoever comes in between is not believed."""
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
        for server in (between, foreign):  # before: what it shows is not remembered
            with pytest.raises(ConfigError):
                post(server)
        assert (
            post(first) == 200
            and first.handshakes == 2
            and post(second) == 200
            and second.handshakes == 1
        )
        for server in (between, foreign):
            with pytest.raises(ConfigError):
                post(server)
        assert between.heard == foreign.heard == []


def test_a_pinned_certificate_is_compared_on_every_connection(chains):
    client = connect(fill_in(Connection, {"timeout": "5s", "fingerprint": chains.leaf.fingerprint}))
    with chains.serve("leaf") as server, chains.serve("foreign", "leaf") as between:
        assert client.ask(Request("GET", f"https://127.0.0.1:{server.port}/")).status == 200
        with pytest.raises(ConfigError):
            client.ask(Request("GET", f"https://127.0.0.1:{between.port}/"))
        assert (
            client.ask(Request("GET", f"https://127.0.0.1:{server.port}/")).status == 200
            and between.heard == []
        )


class Proxy:
    """CONNECT, and bytes to and fro; whatever name is asked for, it goes to one port. With a
    chain it speaks TLS itself."""

    def __init__(self, port, chain=None):
        self.port, self.heard = port, []
        self.context = None
        if chain:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(chain)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"{'https' if chain else 'http'}://127.0.0.1:{self.socket.getsockname()[1]}"
        tls.accept(self.socket, self._serve)

    def _serve(self, taken):
        with (
            taken,
            suppress(OSError),
            self.context.wrap_socket(taken, server_side=True) if self.context else taken as peer,
        ):
            peer.settimeout(10)
            self.heard.append(peer.recv(65536))
            with socket.create_connection(("127.0.0.1", self.port)) as there:
                peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                while True:
                    for source in (
                        [peer]
                        if getattr(peer, "pending", int)()
                        else select.select([peer, there], [], [], 10)[0]
                    ):
                        part = source.recv(65536)
                        if not part:
                            return
                        (there if source is peer else peer).sendall(part)


@pytest.mark.parametrize("kind", ["http", pytest.param("https", marks=needs_chains)])
def test_through_a_proxy(chains, kind):
    proxies = []

    def asked(server, pin, **more):
        proxies.append(
            Proxy(
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
        assert asked(server, chains.leaf).status == 200
        if CHAINS:
            assert asked(server, chains.root).status == 200
        assert all(
            b"CONNECT" in proxy.heard[0] and SECRET.encode() not in b"".join(proxy.heard)
            for proxy in proxies
        )
        if (
            kind == "https"
        ):  # a pin of the server's says nothing of the proxy, which gets a password
            with pytest.raises((ConfigError, Retry)):
                asked(server, chains.leaf, ca_file="")
            assert proxies[-1].heard == []
    for chain, pin in ((["forged", "root"], chains.root), (["foreign", "leaf"], chains.leaf)):
        with chains.serve(*chain) as between:
            with pytest.raises(ConfigError, match="another certificate"):
                asked(between, pin)
            assert between.heard == []
    for proxy in proxies:
        proxy.socket.close()


@needs_chains
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_with_each_version_of_tls(chains, version):
    with (
        chains.serve("leaf", "root", version=version) as server,
        chains.serve("forged", "root", version=version) as between,
    ):
        assert ask(server, fingerprint=chains.root.fingerprint).status == 200
        with pytest.raises(ConfigError, match="does not vouch"):
            ask(between, fingerprint=chains.root.fingerprint)
        assert between.heard == []
