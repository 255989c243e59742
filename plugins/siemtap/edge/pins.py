"""Pin a certificate by its SHA-256, before anything is sent to the server.

The fingerprint of the server's own certificate pins this certificate, whoever signed it, whatever
names and dates it bears: the handshake proves that the server has its key. The fingerprint of an
authority makes this authority the only trust anchor, and OpenSSL verifies chain, dates and host
name against it. A chain that nobody verified proves nothing about its authorities: their
certificates are public, and can be shown beside a certificate that only names them as its issuer.

Elastic's `ca_trusted_fingerprint` does the latter (elastic-agent-libs, tls_config.go of
transport/tlscommon: trustRootCA takes the certificate out of the chain, verifyCertsWithOpts and
verifyHostname follow). It goes on with the system's authorities where the chain does not hold the
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

DER = 2  # _ssl.ENCODING_DER
# ssl.VERIFY_X509_PARTIAL_CHAIN, named from 3.10 on: an intermediate authority may be the anchor.
PARTIAL_CHAIN = 0x80000
ALONE = "an authority that it does not send along cannot be pinned: trust it by `ca_file`"
if sys.version_info < (3, 10):
    ALONE = "Python 3.9 does not tell of the authorities it sends: trust one by `ca_file`"


class Mismatch(urllib3.exceptions.SSLError):
    """The server does not show what is pinned, or the pinned authority does not vouch for it."""


class Pin:
    """Hold one fingerprint for all connections of a client.

    `certificate`, `key`: PEM files to log in with; OSError if they cannot be read.
    """

    def __init__(self, fingerprint: str, certificate: str = "", key: str = "") -> None:
        self.sha256 = bytes.fromhex(fingerprint.replace(":", ""))
        self.certificate, self.key = certificate, key
        self.anyone = self._context(ssl.CERT_NONE)
        # Trusts the authority alone; kept once it verified a chain.
        self.anchored: Optional[ssl.SSLContext] = None

    def matches(self, certificate: bytes) -> bool:
        return hmac.compare_digest(hashlib.sha256(certificate).digest(), self.sha256)

    def trusting(self, authority: bytes) -> ssl.SSLContext:
        context = self._context(ssl.CERT_REQUIRED)
        context.check_hostname = True
        context.load_verify_locations(cadata=authority)
        context.verify_flags |= PARTIAL_CHAIN
        return context

    def _context(self, verify_mode: ssl.VerifyMode) -> ssl.SSLContext:
        context = create_urllib3_context(cert_reqs=verify_mode)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key or None)
        return context


def pinned(connection: Any, pin: Pin) -> Any:
    """Make a connection class that sends nothing before the server has shown what is pinned."""
    return type(f"Pinned{connection.__name__}", (_Pinned, connection), {"pin": pin})


class _Pinned:
    """Mix into an HTTPS connection class of urllib3's, which brings proxies and their tunnels."""

    pin: Pin
    sock: Any
    proxy_is_forwarding: bool

    def connect(self) -> None:
        if self.proxy_is_forwarding:  # it speaks to the proxy, which is not what was pinned
            super().connect()  # type: ignore[misc]
            return
        context = self.pin.anchored
        if context is None:
            self._shake_hands(self.pin.anyone)
            own, *others = shown(self.sock)
            if self.pin.matches(own):
                self.is_verified = True
                return
            self.sock.close()
            self.sock = None
            authority = next(filter(self.pin.matches, others), None)
            if authority is None:
                raise Mismatch(
                    f"none of the {1 + len(others)} certificates that the server shows has the "
                    f"pinned fingerprint{'' if others else f'; {ALONE}'}"
                )
            context = self.pin.trusting(authority)
        try:
            self._shake_hands(context)
        except ssl.SSLCertVerificationError as error:
            raise Mismatch(
                "the authority with the pinned fingerprint does not vouch for the server's "
                f"certificate: {error.verify_message}"
            ) from None
        self.pin.anchored = context

    def _shake_hands(self, context: ssl.SSLContext) -> None:
        """Connect with this context and nothing else: no other authorities, no other checks."""
        self.ssl_context, self.cert_reqs = context, context.verify_mode
        self.assert_hostname = None if context.verify_mode == ssl.CERT_REQUIRED else False
        self.assert_fingerprint = None
        self.ca_certs = self.ca_cert_dir = self.ca_cert_data = self.cert_file = self.key_file = None
        super().connect()  # type: ignore[misc]


def proxy_context(authorities: str, verify: bool) -> ssl.SSLContext:
    """Return how to speak TLS with a proxy: authorities vouch for it, for the pin is the server's.

    `authorities`: a PEM file. `verify` False: whoever set it up trusts anybody, and is warned.
    """
    context = ssl.create_default_context(cafile=authorities)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shown(sock: Any) -> List[bytes]:
    """Return the certificates that the server sent, its own first; on Python 3.9 its own only."""
    own = sock.getpeercert(True)
    layer = getattr(sock, "sslobj", sock)  # TLS within the TLS of a proxy
    if not hasattr(layer, "get_unverified_chain"):  # public from 3.13 on, there from 3.10 on
        layer = layer._sslobj
    chain = layer.get_unverified_chain() or () if hasattr(layer, "get_unverified_chain") else ()
    sent = [part if isinstance(part, bytes) else part.public_bytes(DER) for part in chain]
    return [own, *(part for part in sent if part != own)]
