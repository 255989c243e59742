"""The certificate of a listener, which is read again when its files change.

A client that connects then gets the new one; open connections go on. A certificate that cannot be
used, such as a file that is half written, is logged, and the one before stays.
"""

from __future__ import annotations

import logging
import os
import ssl
from typing import List, Optional, Tuple

from ...core.errors import ConfigError

log = logging.getLogger("siemtap")

Stamp = Tuple[Tuple[int, int, int], ...]


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return the TLS context of a server, which follows its files.

    `certificate`, `key`: PEM files; `key`: "" if it is in `certificate`. Raise ConfigError if they
    cannot be used.
    """
    try:
        stamp = _stamp(certificate, key)
        first = _read(certificate, key)
    except OSError as error:  # ssl's errors are OSErrors too
        raise ConfigError(
            f"`certificate` and `key` cannot be used: {error.strerror or error}"
        ) from None
    latest: List[Tuple[Stamp, ssl.SSLContext]] = [(stamp, first)]

    def choose(connection: ssl.SSLObject, name: Optional[str], context: ssl.SSLContext) -> None:
        """Give a connection the newest certificate, whatever name it asks for."""
        try:
            now = _stamp(certificate, key)
            if now != latest[0][0]:
                latest[0] = (now, latest[0][1])  # a bad file is logged once
                latest[0] = (now, _read(certificate, key))
                log.info("the certificate %s changed and is used from now on", certificate)
        except OSError as error:
            log.warning(
                "the certificate %s changed and cannot be used (%s); the one before is used on",
                certificate,
                error.strerror or error,
            )
        connection.context = latest[0][1]

    first.sni_callback = choose  # called for clients that send no name, too
    return first


def _read(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key or None)
    return context


def _stamp(*paths: str) -> Stamp:
    """Return what differs once one of the files was written or replaced; () while one is missing,
    which `_read` reports."""
    try:
        stats = [os.stat(path) for path in paths if path]
    except OSError:
        return ()
    return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in stats)
