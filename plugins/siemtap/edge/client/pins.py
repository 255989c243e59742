"""Pin a server's certificate by its SHA-256 fingerprint. Nothing is sent to a server before the
pin is verified.

A pin names one of two certificates:

- The server's own. Only this certificate is accepted, whatever its issuer, names and dates. The
  TLS handshake proves that the server has its key.
- An authority's. This authority becomes the only trust anchor, and OpenSSL verifies the chain, the
  dates and the host name. An unverified chain proves nothing about its authorities: their
  certificates are public, and anybody can send one beside a certificate that names it as issuer.

Elastic's `ca_trusted_fingerprint` works like the second (elastic-agent-libs, tls_config.go of
transport/tlscommon: trustRootCA takes the certificate out of the chain, verifyCertsWithOpts and
verifyHostname follow). It falls back to the system's authorities if the chain does not contain the
certificate; here that is an error.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import sys
from typing import Any, List, Optional

import urllib3
from urllib3.util.ssl_ import create_urllib3_context

from ..certificates import Followed, load_own_certificate, use_context

DER = 2  # _ssl.ENCODING_DER
# ssl.VERIFY_X509_PARTIAL_CHAIN, named from 3.10 on: an intermediate authority may be the anchor.
PARTIAL_CHAIN = 0x80000
# Why a pinned authority may be missing from a chain of one certificate.
NO_CHAIN = "an authority that the server does not send cannot be pinned: use `ca_file`"
if sys.version_info < (3, 10):
    NO_CHAIN = "Python 3.9 does not return the authorities that the server sends: use `ca_file`"


class Mismatch(urllib3.exceptions.SSLError):
    """The server's chain does not contain the pinned certificate, or the pinned authority does not
    vouch for the server."""


class Pin:
    """A fingerprint, and the TLS contexts that all connections of a client share.

    `certificate`, `key`: PEM files of the client's own certificate, which `contexts` follow.
    """

    def __init__(self, fingerprint: str, certificate: str = "", key: str = "") -> None:
        self.sha256 = bytes.fromhex(fingerprint.replace(":", ""))
        self.contexts = Followed(
            lambda: Contexts(certificate, key), {"certificate": certificate, "key": key}
        )

    def matches(self, certificate: bytes) -> bool:
        """Return whether a certificate (DER) has the pinned fingerprint."""
        return hmac.compare_digest(hashlib.sha256(certificate).digest(), self.sha256)


class Contexts:
    """The TLS contexts of a pin, all with the client's own certificate.

    `certificate`, `key`: PEM files, or "". Raises OSError if they cannot be read.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self.certificate = certificate
        self.key = key
        self.unverified = self._context(ssl.CERT_NONE)
        # Trusts the pinned authority alone. Set once it has verified a chain.
        self.anchored: Optional[ssl.SSLContext] = None

    def context_trusting(self, authority: bytes) -> ssl.SSLContext:
        """Return a context whose only trust anchor is this authority (DER)."""
        context = self._context(ssl.CERT_REQUIRED)
        context.check_hostname = True
        context.load_verify_locations(cadata=authority)
        context.verify_flags |= PARTIAL_CHAIN
        return context

    def _context(self, verify_mode: ssl.VerifyMode) -> ssl.SSLContext:
        context = create_urllib3_context(cert_reqs=verify_mode)
        if self.certificate:
            load_own_certificate(context, self.certificate, self.key)
        return context


def pinned(connection: Any, pin: Pin) -> Any:
    """Return a subclass of an HTTPS connection class that verifies the pin before it sends."""
    return type(f"Pinned{connection.__name__}", (_Pinned, connection), {"pin": pin})


class _Pinned:
    """Mixin for urllib3's HTTPS connection classes, which handle proxies and their tunnels."""

    pin: Pin
    sock: Any
    proxy_is_forwarding: bool

    def connect(self) -> None:
        if self.proxy_is_forwarding:  # TLS ends at the proxy, which is not pinned
            super().connect()  # type: ignore[misc]
            return
        contexts = self.pin.contexts.latest()
        context = contexts.anchored
        if context is None:
            self._handshake(contexts.unverified)
            own, *others = peer_chain(self.sock)
            if self.pin.matches(own):
                self.is_verified = True
                return
            self.sock.close()
            self.sock = None
            context = contexts.context_trusting(self._pinned_authority(others))
        try:
            self._handshake(context)
        except ssl.SSLCertVerificationError as error:
            raise Mismatch(
                "the server's certificate cannot be verified with the authority that has the pinned"
                f" fingerprint: {error.verify_message}"
            ) from None
        contexts.anchored = context

    def _pinned_authority(self, others: List[bytes]) -> bytes:
        for certificate in others:
            if self.pin.matches(certificate):
                return certificate
        hint = "" if others else f"; {NO_CHAIN}"
        raise Mismatch(
            f"none of the {1 + len(others)} certificates that the server sends has the pinned"
            f" fingerprint{hint}"
        )

    def _handshake(self, context: ssl.SSLContext) -> None:
        use_context(self, context)
        super().connect()  # type: ignore[misc]


def peer_chain(sock: Any) -> List[bytes]:
    """Return the certificates (DER) that the server sent, its own first; on Python 3.9 only its
    own."""
    own = sock.getpeercert(True)
    layer = getattr(sock, "sslobj", sock)  # TLS within the TLS of a proxy
    if not hasattr(layer, "get_unverified_chain"):  # public from 3.13 on, private from 3.10 on
        layer = layer._sslobj
    chain: Any = ()
    if hasattr(layer, "get_unverified_chain"):
        chain = layer.get_unverified_chain() or ()
    certificates = []
    for certificate in chain:
        if not isinstance(certificate, bytes):
            certificate = certificate.public_bytes(DER)
        certificates.append(certificate)
    return [own, *(certificate for certificate in certificates if certificate != own)]
