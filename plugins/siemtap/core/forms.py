"""The parts of an input's form that no plugin has to declare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Tuple

from .manifest import duration, integer, many, secret, switch, table, text

SEVERITIES = {"low": 21, "medium": 47, "high": 73, "critical": 99}
INDEX = r"^(?![_.-])([a-z0-9_.-]|%\{\+[A-Za-z._-]+\}|%\{\[[A-Za-z0-9_.@]+\]\}){0,200}$"
INDEX_ALLOWED = (
    "lower case letters, digits, `.`, `_`, `-`, and %{+yyyy.MM.dd} or %{[event.dataset]}"
)
NAMESPACE = r"^[^A-Z\s\\/*?\"<>|,#:-]{1,100}$"
NAMESPACE_ALLOWED = (
    'lower case, at most 100 characters, none of \\ / * ? " < > | , # : - or a blank'
)

FINGERPRINT = r"^([0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31})?$"
FINGERPRINT_ALLOWED = "64 hex digits, with or without colons"


@dataclass(frozen=True)
class Every:
    """What every input has."""

    id: str = text(
        "Id",
        "",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        allowed="letters, digits, dot, hyphen and underscore, at most 64",
        help=(
            "Names the input in checkpoints and logs; the type by default. A new id starts afresh."
        ),
    )
    enabled: bool = switch(
        "Enabled", True, help="false leaves the input out and keeps its checkpoint."
    )
    tags: Tuple[str, ...] = many("Tags", help="Your own words, put into the event's `tags`.")
    fields: Dict[str, Any] = table(
        "Fields", help="Your own fields, put under `fields` of every event."
    )
    namespace: str = text(
        "Namespace",
        "default",
        pattern=NAMESPACE,
        allowed=NAMESPACE_ALLOWED,
        help="The event's `data_stream.namespace`: its data stream is logs-<dataset>-<namespace>.",
    )
    index: str = text(
        "Index",
        "",
        pattern=INDEX,
        allowed=INDEX_ALLOWED,
        help=(
            "For outputs with indices: put this input's events here and not where the output says."
        ),
    )
    drop: Dict[str, Any] = table(
        "Drop",
        help=(
            "Leave out events by `severity` (low, medium, high, critical), `action` or `dataset`: a"
            " list for each."
        ),
    )
    silent_after: int = duration(
        "Silent after", "0s", help="Degraded when nothing came for so long, such as 1d; 0s: never."
    )


@dataclass(frozen=True)
class Connection:
    """How to reach a vendor's API."""

    proxy: str = text(
        "Proxy",
        "",
        pattern=r"^(https?|socks5h?)://[^\s]+$",
        allowed="it looks like http://proxy.example.com:3128",
        help=(
            "A proxy for this input's calls, such as http://proxy.example.com:3128. The"
            " environment's is never used."
        ),
    )
    proxy_user: str = text("Proxy user", "", help="If the proxy asks for one.")
    proxy_password: str = secret("Proxy password", "", help="If the proxy asks for one.")
    ca_file: str = text(
        "CA file", "", help="A PEM file of the authorities to trust instead of the public ones."
    )
    fingerprint: str = text(
        "Fingerprint",
        "",
        pattern=FINGERPRINT,
        allowed=FINGERPRINT_ALLOWED,
        help=(
            "The SHA-256 of the server's certificate: trust this one, and no other, whoever signed"
            " it. Or of an authority that the server sends along: trust what it signed for this"
            " host, and nothing else (needs Python 3.10)."
        ),
    )
    verify: bool = switch(
        "Verify certificates",
        True,
        help="false trusts anybody; siemtap warns for as long as it is off.",
    )
    timeout: int = duration(
        "Timeout", "60s", least="1s", most="10m", help="How long one call may take in all."
    )
    user_agent: str = text(
        "User agent", "", help="The User-Agent header; siemtap's own by default."
    )


@dataclass(frozen=True)
class Receiving:
    """How a vendor that pushes reaches us."""

    listen: str = text(
        "Listen",
        "",
        help=(
            "Address and port of the webhook, such as 0.0.0.0:8443. Nothing is listened for"
            " without it."
        ),
    )
    secret: str = secret(
        "Secret",
        "",
        pattern=r"^([A-Za-z0-9_.~-]{16,128})?$",
        allowed="16 to 128 letters, digits, `_`, `.`, `~` or `-`",
        help=(
            "The unguessable part of the webhook's path, /<plugin>/<secret>, or the header"
            " X-Siemtap-Secret."
        ),
    )
    certificate: str = text(
        "Certificate",
        "",
        help="A PEM file of the certificate chain, for the webhook and for syslog over TLS.",
    )
    key: str = text("Key", "", help="The PEM file of its key, if it is not in the same file.")
    plain_http: bool = switch(
        "Plain HTTP",
        False,
        help="Listen without TLS on an address that others can reach: behind a proxy that has it.",
    )
    networks: Tuple[str, ...] = many(
        "Networks", help="Only from these, such as 192.0.2.0/24; from everywhere by default."
    )
    syslog: Tuple[str, ...] = many(
        "Syslog",
        help="Where to listen for syslog: udp://0.0.0.0:5514, tcp:// or tls://, one or several.",
    )
    max_body_bytes: int = integer(
        "Most bytes of a body",
        1024**2,
        least=1024,
        most=16 * 1024**2,
        help="A larger one is answered with 413.",
    )
    spool_max_bytes: int = integer(
        "Most bytes of the spool",
        1024**3,
        least=32 * 1024**2,
        help="What waits on disk for the output; beyond it a webhook is answered with 503.",
    )
    remember: int = duration(
        "Remember",
        "24h",
        least="1m",
        help="How long an event that comes again is known, and left out.",
    )
