"""What a person is warned of although a configuration can be run: keys that cross a network
unencrypted, a status page that other machines reach, a certificate that cannot be shown."""

from __future__ import annotations

import dataclasses
import ssl
from typing import Any, Iterator
from urllib.parse import urlsplit

from ...core.manifest import KINDS
from ...edge.certificates import expired, expiry, load_own_certificate
from ...edge.receive.addresses import is_loopback
from .sections import Config, Input


def warnings(config: Config) -> Iterator[str]:
    """Yield what the file itself was warned of, then a sentence for each address to which a secret
    is sent without TLS, and each certificate that cannot be used now: it may be half written."""
    yield from config.warnings
    if config.http.enabled and not is_loopback(config.http.host):
        yield (
            f"http.host: the status page listens on {config.http.host} and has no login: whoever"
            " reaches it reads attackers, sites, stored events and the names of inputs; limit who"
            " can, with a firewall for instance"
        )
    for input_config in config.inputs:
        if input_config.common.enabled:
            yield from input_warnings(input_config)
            for form in filter(None, (input_config.connection, input_config.receiving)):
                yield from certificate_warnings(input_config.id, form)
    for output in config.outputs:
        yield from certificate_warnings(output.section, output.settings)
        for address in plain_addresses(output.settings):
            yield _sentence(output.section, address)


def input_warnings(input_config: Input) -> Iterator[str]:
    for address in plain_addresses(input_config.settings):
        yield _sentence(input_config.id, address)


def certificate_warnings(place: str, form: Any) -> Iterator[str]:
    """Yield why the own certificate of a section cannot be used, if it has one."""
    certificate = getattr(form, "certificate", "")
    if not certificate or not getattr(form, "tls", True):
        return
    try:
        key = getattr(form, "key", "")
        load_own_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
    except OSError as error:
        yield (
            f"{place}: the certificate {certificate} cannot be used:"
            f" {getattr(error, 'reason', None) or error}"
        )
    else:
        if problem := expired(certificate, expiry(certificate)):
            yield f"{place}: {problem}"


def plain_addresses(settings: Any) -> Iterator[str]:
    """Yield `http://host` of each address of a section that holds a secret, but for loopback."""
    values = {
        field.name: (field.metadata.get("kind", ""), getattr(settings, field.name))
        for field in dataclasses.fields(settings)
    }
    kinds = {name: KINDS[kind] for name, (kind, _) in values.items() if kind in KINDS}
    if not any(kind.is_secret and values[name][1] for name, kind in kinds.items()):
        return
    for name, kind in kinds.items():
        if kind.has_addresses:
            value = values[name][1]
            for address in (value,) if isinstance(value, str) else value or ():
                parts = urlsplit(str(address))
                if parts.scheme == "http" and parts.hostname and not is_loopback(parts.hostname):
                    yield f"http://{parts.hostname}"


def _sentence(place: str, address: str) -> str:
    return (
        f"{place}: the key or password is sent to {address} without TLS: anybody on the network"
        " path can read it; use https://"
    )
