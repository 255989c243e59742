"""Certificates: one for localhost and 127.0.0.1 that is its own authority; chains, forged ones
too; and a server that notes what it is told."""

import datetime
import hashlib
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make(folder):
    """folder/cert.pem and folder/key.pem"""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    made = (
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
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


class Certificate:
    """A certificate and its key. `by` signs it (itself by default). `named`: whom it names as
    its issuer, whoever signed it."""

    def __init__(
        self, name, by=None, named=None, authority=False, hosts=("localhost", "127.0.0.1"), days=1
    ):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer, issuer = by or self, named or by or self
        now = datetime.datetime.now(datetime.timezone.utc)
        made = (
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
            made = made.add_extension(
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
            made = made.add_extension(x509.SubjectAlternativeName(names), False)
        self.made = made.sign(signer.key, hashes.SHA256())

    @property
    def pem(self):
        return self.made.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self):
        return hashlib.sha256(self.made.public_bytes(serialization.Encoding.DER)).hexdigest()

    def write(self, folder, *others):
        """The chain as it is sent, and the key, in one PEM file."""
        path = folder / f"{self.fingerprint[:16]}-{len(others)}.pem"
        path.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + b"".join(one.pem for one in (self, *others))
        )
        return path


def accept(listening, serve):
    """Each connection in a thread of its own, until the listening socket is closed."""

    def run():
        while True:
            try:
                taken, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[taken], daemon=True).start()

    threading.Thread(target=run, daemon=True).start()


class Listening:
    """A TLS server of one chain. `heard`: what each connection said after the handshake; every
    request is answered alike."""

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
        self.heard, self.handshakes, self.logged_in = [], 0, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        accept(self.socket, self._serve)

    def _serve(self, taken):
        taken.settimeout(10)
        try:
            with self.context.wrap_socket(taken, server_side=True) as peer:
                self.handshakes += 1
                while True:
                    part = peer.recv(65536)
                    if not part:
                        return
                    self.heard.append(part)
                    self.logged_in.append(bool(peer.getpeercert()))
                    if part.startswith((b"GET", b"HEAD")) or part.endswith((b"}", b"\n")):
                        peer.sendall(self.answer)
        except OSError:  # a client that goes away, as it should
            taken.close()

    def close(self):
        self.socket.close()


@contextmanager
def listening(path, **more):
    server = Listening(path, **more)
    try:
        yield server
    finally:
        server.close()
