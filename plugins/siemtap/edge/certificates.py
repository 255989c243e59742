"""TLS contexts that follow their files: certificates, keys, authorities.

A new connection gets what the files hold now; open connections go on. Files that cannot be used,
such as one that is half written, are logged, `problem` says so, and what was read before stays.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from typing import Any, Callable, Generic, List, Mapping, Optional, Tuple, TypeVar

import requests
from urllib3.util.ssl_ import create_urllib3_context

from ..core.errors import ConfigError

log = logging.getLogger("siemtap")

Value = TypeVar("Value")
Stamp = Tuple[Tuple[int, int, int], ...]


class Followed(Generic[Value]):
    """What is read from files, and read again when one of them changes. Thread-safe.

    `read`: reads them; it raises OSError if they cannot be used. `files`: the paths by the settings
    that name them; "" where a setting is not set.
    """

    def __init__(self, read: Callable[[], Value], files: Mapping[str, str]) -> None:
        self.read = read
        self.settings = " and ".join(f"`{name}`" for name, path in files.items() if path)
        self.paths = [path for path in files.values() if path]
        self.lock = threading.Lock()
        self.stamp: Optional[Stamp] = None  # of the files when they were read last; None: never
        self.value: List[Value] = []  # the newest that could be read, if any
        self.reason = ""  # why the files cannot be used now
        self.own = files.get("certificate", "")  # what is shown to peers; "" if nothing is
        self.expires: Optional[float] = None  # when that one does, in seconds since 1970

    def latest(self) -> Value:
        """Return what the files hold; while they cannot be used, what they held before.

        Raise ConfigError if they never could be used.
        """
        with self.lock:
            # Files that cannot be used are read each time: a right to read leaves no stamp.
            stamp = _stamp(self.paths)
            if stamp != self.stamp or self.reason:
                self._read(stamp)
            return self.value[0]

    def problem(self) -> str:
        """Return why the files cannot be used, and what to do; "" if they can."""
        try:
            self.latest()
        except ConfigError as error:
            return str(error)
        if not self.reason:
            return expired(self.own, self.expires)
        return (
            f"{self._files()} cannot be used ({self.reason}), and new connections use what was read"
            " before: write a whole certificate and its key, which siemtap may read"
        )

    def _read(self, stamp: Stamp) -> None:
        try:
            value = self.read()
        except OSError as error:  # ssl's errors are OSErrors too
            reason = str(error.strerror or error)
            if not self.value:
                raise ConfigError(
                    f"{self.settings} cannot be used: {reason} ({', '.join(self.paths)}); write the"
                    " path of a PEM file, which siemtap may read"
                ) from None
            if (stamp, reason) != (self.stamp, self.reason):
                log.warning(
                    "%s changed and cannot be used (%s); what was read before is used on",
                    self._files(),
                    reason,
                )
            self.reason = reason
        else:
            if self.value:
                log.info("%s changed and is used from now on", self._files())
            self.value = [value]
            self.reason = ""
            self.expires = expiry(self.own) if self.own else None
            if problem := expired(self.own, self.expires):
                log.warning("%s", problem)
        self.stamp = stamp

    def _files(self) -> str:
        return f"the certificate {' or '.join(self.paths)}"


def _stamp(paths: List[str]) -> Stamp:
    """Return what differs once one of the files was written or replaced; () while one is missing,
    which reading it reports."""
    try:
        stats = [os.stat(path) for path in paths]
    except OSError:
        return ()
    return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in stats)


def expiry(certificate: str) -> Optional[float]:
    """Return when a certificate expires, the first of a PEM file, in seconds since 1970.

    None if it cannot be told: a Splunk add-on has no library that reads certificates.
    """
    try:
        from cryptography import x509  # a tenth of a start, and few have certificates of their own
    except ImportError:
        return None
    try:
        with open(certificate, "rb") as file:
            read = x509.load_pem_x509_certificate(file.read())
        return float(read.not_valid_after_utc.timestamp())
    except Exception:  # what OpenSSL reads and this library does not; it is advice only
        return None


def expired(certificate: str, expires: Optional[float]) -> str:
    """Return that an own certificate has expired, and what to do; "" if it has not. `expires`: as
    `expiry` returned it."""
    if expires is None or time.time() < expires:
        return ""
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(expires))
    return (
        f"the certificate {certificate} expired on {moment}, and whoever verifies it refuses to"
        " connect: write a renewed one there; it is used without a restart"
    )


def load_own_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Let a context show this certificate.

    `certificate`, `key`: PEM files; `key`: "" if it is in `certificate`. Raise OSError if they
    cannot be used, such as an encrypted key, for which OpenSSL would ask the terminal and wait.
    """
    context.load_cert_chain(certificate, key or None, password=_refuse_encrypted_key)


def _refuse_encrypted_key() -> str:
    raise OSError("the key is encrypted: siemtap takes keys without a pass phrase")


# Servers


class ServerCertificate:
    """The certificate of a listener. `context`: what its socket uses.

    `certificate`, `key`: PEM files; `key`: "" if it is in `certificate`. Raise ConfigError if they
    cannot be used.
    """

    def __init__(self, certificate: str, key: str) -> None:
        def read() -> ssl.SSLContext:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            load_own_certificate(context, certificate, key)
            return context

        self.files = Followed(read, {"certificate": certificate, "key": key})
        self.context = self.files.latest()
        self.context.sni_callback = self._choose  # called for clients that send no name, too

    def _choose(
        self, connection: ssl.SSLObject, name: Optional[str], context: ssl.SSLContext
    ) -> None:
        """Give a connection the newest certificate, whatever name it asks for."""
        connection.context = self.files.latest()


# Clients


def client_context(
    ca_file: str, certificate: str = "", key: str = "", verify: bool = True
) -> Followed[ssl.SSLContext]:
    """Return the TLS context of a client, which follows its files.

    `ca_file`: "" for the public authorities. `certificate`, `key`: the client's own, or "".
    `verify=False` accepts any server; the runner warns about it.
    """

    def read() -> ssl.SSLContext:
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
        if verify:
            context.load_verify_locations(ca_file or requests.utils.DEFAULT_CA_BUNDLE_PATH)
        if certificate:
            load_own_certificate(context, certificate, key)
        return context

    trusted = ca_file if verify else ""
    return Followed(read, {"ca_file": trusted, "certificate": certificate, "key": key})


def following(
    connection: Any,
    server: Optional[Followed[ssl.SSLContext]] = None,
    proxy: Optional[Followed[ssl.SSLContext]] = None,
) -> Any:
    """Return a subclass of urllib3's HTTPS connection class that connects with the newest context.

    `server`, `proxy`: for the server, and for an HTTPS proxy in front of it; None leaves them as
    they are.
    """
    attributes = {"server_files": server, "proxy_files": proxy}
    return type(connection.__name__, (_Following, connection), attributes)


class _Following:
    """Mixin for urllib3's HTTPS connection classes."""

    server_files: Optional[Followed[ssl.SSLContext]]
    proxy_files: Optional[Followed[ssl.SSLContext]]
    proxy_config: Any
    proxy_is_forwarding: bool
    cert_reqs: Any

    def connect(self) -> None:
        if self.proxy_files and self.proxy_config:
            self.proxy_config = self.proxy_config._replace(ssl_context=self.proxy_files.latest())
        # For an http:// URL, TLS ends at the proxy: it alone is verified.
        files = self.proxy_files if self.proxy_is_forwarding else self.server_files
        if files:
            use_context(self, files.latest())
        super().connect()  # type: ignore[misc]

    def _connect_tls_proxy(self, *args: Any) -> Any:
        """Verify the proxy as its context says. Older releases of urllib3 do it as for the server,
        whose pin is verified later."""
        before = self.cert_reqs
        if self.proxy_files:
            self.cert_reqs = self.proxy_config.ssl_context.verify_mode
        try:
            return super()._connect_tls_proxy(*args)  # type: ignore[misc]
        finally:
            self.cert_reqs = before


def use_context(connection: Any, context: ssl.SSLContext) -> None:
    """Let a connection of urllib3 use this context alone: no other authorities, no other checks."""
    connection.ssl_context = context
    connection.cert_reqs = context.verify_mode
    connection.assert_hostname = None if context.verify_mode == ssl.CERT_REQUIRED else False
    connection.assert_fingerprint = None
    connection.ca_certs = connection.ca_cert_dir = connection.ca_cert_data = None
    connection.cert_file = connection.key_file = None
