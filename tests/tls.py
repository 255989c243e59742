"""Test certificates: a self-signed one for localhost and 127.0.0.1, valid and forged chains, and a
TLS server that records what it receives."""

import datetime
import hashlib
import ipaddress
import select
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make(folder):
    """Write a self-signed certificate to folder/cert.pem and its key to folder/key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


class Certificate:
    """A certificate and its key, signed by `by`, by default by itself. `named` is the issuer
    named in it, whoever signed it."""

    def __init__(
        self, name, by=None, named=None, authority=False, hosts=("localhost", "127.0.0.1"), days=1
    ):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer, issuer = by or self, named or by or self
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=3))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False
            )
        )
        if authority:
            builder = builder.add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False), True
            )
        else:
            names = [
                (
                    x509.IPAddress(ipaddress.ip_address(host))
                    if host[0].isdigit()
                    else x509.DNSName(host)
                )
                for host in hosts
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self):
        return hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def write(self, folder, *others, pass_phrase=b""):
        """Write the key and the chain, in the order sent, to a PEM file. Return its path."""
        path = folder / f"{self.fingerprint[:16]}-{len(others)}.pem"
        encryption = serialization.NoEncryption()
        if pass_phrase:
            encryption = serialization.BestAvailableEncryption(pass_phrase)
        path.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
            + b"".join(certificate.pem for certificate in (self, *others))
        )
        return path


def accept(listening, serve):
    """Serve each connection in a thread of its own, until the listening socket is closed."""

    def run():
        while True:
            try:
                taken, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[taken], daemon=True).start()

    threading.Thread(target=run, daemon=True).start()


class TlsServer:
    """A TLS server with one certificate chain that gives the same answer to all requests.
    `received`: the data received after the handshakes. `shown`: the client's certificate of each
    of these parts, in DER."""

    def __init__(self, path, answer=b"{}", headers=b"", version=None, clients=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path)
        if version:
            self.context.minimum_version = self.context.maximum_version = version
        if clients:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(clients)
        self.answer = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
            % (headers, len(answer), answer)
        )
        self.received, self.handshakes, self.logged_in, self.shown = [], 0, [], []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        accept(self.socket, self._serve)

    def _serve(self, taken):
        taken.settimeout(300)
        try:
            with self.context.wrap_socket(taken, server_side=True) as peer:
                self.handshakes += 1
                while True:
                    part = peer.recv(65536)
                    if not part:
                        return
                    self.received.append(part)
                    self.logged_in.append(bool(peer.getpeercert()))
                    self.shown.append(peer.getpeercert(True))
                    if part.startswith((b"GET", b"HEAD")) or part.endswith((b"}", b"\n")):
                        peer.sendall(self.answer)
        except OSError:  # a client that closes the connection, as expected
            taken.close()

    def close(self):
        self.socket.close()


@contextmanager
def listening(path, **more):
    server = TlsServer(path, **more)
    try:
        yield server
    finally:
        server.close()


class Proxy:
    """A CONNECT proxy that connects to one port, whatever host is requested. With a chain it
    speaks TLS itself."""

    def __init__(self, port, chain=None):
        self.port, self.received = port, []
        self.context = None
        if chain:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(chain)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"{'https' if chain else 'http'}://127.0.0.1:{self.socket.getsockname()[1]}"
        accept(self.socket, self._serve)

    def _serve(self, taken):
        with (
            taken,
            suppress(OSError),
            self.context.wrap_socket(taken, server_side=True) if self.context else taken as peer,
        ):
            peer.settimeout(300)
            self.received.append(peer.recv(65536))
            with socket.create_connection(("127.0.0.1", self.port)) as upstream:
                peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                while True:
                    for source in (
                        [peer]
                        if getattr(peer, "pending", int)()
                        else select.select([peer, upstream], [], [], 10)[0]
                    ):
                        part = source.recv(65536)
                        if not part:
                            return
                        (upstream if source is peer else peer).sendall(part)
