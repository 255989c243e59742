"""The settings that every input has, beside those of its plugin: common, connection, receiving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Tuple

from .manifest import duration, integer, secret, switch, table, text, text_list

SEVERITIES = {"low": 21, "medium": 47, "high": 73, "critical": 99}
INDEX = r"^(?![_.-])([a-z0-9_.-]|%\{\+[A-Za-z._-]+\}|%\{\[[A-Za-z0-9_.@]+\]\}){0,200}$"
INDEX_ALLOWED = (
    "lower case letters, digits, `.`, `_`, `-`, and %{+yyyy.MM.dd} or %{[event.dataset]}"
)
NAMESPACE = r"^[^A-Z\s\\/*?\"<>|,#:-]{1,100}$"
NAMESPACE_ALLOWED = (
    'lower case, at most 100 characters, none of \\ / * ? " < > | , # : - or a blank'
)

PROXY = r"^(https?|socks5h?)://[^\s]+$"
PROXY_ALLOWED = "it must look like http://proxy.example.com:3128"
FINGERPRINT = r"^([0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31})?$"
FINGERPRINT_ALLOWED = "64 hex digits, with or without colons"


@dataclass(frozen=True)
class CommonSettings:
    """Settings of every input."""

    id: str = text(
        "Id",
        "",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        allowed="letters, digits, dot, hyphen and underscore, at most 64",
        help=(
            "The name of the input in checkpoints and logs; by default its type. An input with a"
            " new id has no checkpoint and starts from `lookback`."
        ),
    )
    enabled: bool = switch("Enabled", True, help="false stops the input and keeps its checkpoint.")
    tags: Tuple[str, ...] = text_list("Tags", help="Added to the field `tags` of every event.")
    fields: Dict[str, Any] = table(
        "Fields", help="Your own fields, added to every event under `fields`."
    )
    namespace: str = text(
        "Namespace",
        "default",
        pattern=NAMESPACE,
        allowed=NAMESPACE_ALLOWED,
        help=(
            "The field `data_stream.namespace` of every event: events go to the data stream"
            " logs-<dataset>-<namespace>."
        ),
    )
    output: Tuple[str, ...] = text_list(
        "Output",
        help=(
            "The names of the outputs that get this input's events, of the section `outputs`;"
            " `default` is that of the section `output`. By default the only output, or `default`."
        ),
    )
    index: str = text(
        "Index",
        "",
        pattern=INDEX,
        allowed=INDEX_ALLOWED,
        help=(
            "The index for this input's events, instead of the output's `index` (Elasticsearch,"
            " OpenSearch and Splunk HEC)."
        ),
    )
    drop: Dict[str, Any] = table(
        "Drop",
        help=(
            "Drop events by `severity` (low, medium, high, critical), `action` or `dataset`; each"
            " is a value or a list of values. Applied before `processors`."
        ),
    )
    silent_after: int = duration(
        "Silent after",
        "0s",
        help=(
            "Alert on silence: report the input as degraded after this time without events, such as"
            " 1d; 0s: never."
        ),
    )


# Settings that outputs and Kafka have in common


def ca_file_setting() -> Any:
    """Return the setting of the authorities that verify a server."""
    return text(
        "CA file",
        "",
        help="PEM file of the certificate authorities to trust instead of the public ones.",
    )


def client_key_setting() -> Any:
    """Return the setting of the key of a client's own certificate."""
    return text("Client key", "", help="PEM file of its private key, if not in `certificate`.")


def verify_setting() -> Any:
    """Return the setting whether a server is verified."""
    return switch(
        "Verify certificates",
        True,
        help="false accepts any certificate; siemtap logs a warning at every start.",
    )


@dataclass(frozen=True)
class Connection:
    """Settings for calls of a vendor's API."""

    proxy: str = text(
        "Proxy",
        "",
        pattern=PROXY,
        allowed=PROXY_ALLOWED,
        help=(
            "The proxy for this input's requests, such as http://proxy.example.com:3128. Proxy"
            " environment variables are ignored."
        ),
    )
    proxy_user: str = text("Proxy user", "", help="The user name, if the proxy requires a login.")
    proxy_password: str = secret(
        "Proxy password", "", help="The password, if the proxy requires a login."
    )
    ca_file: str = text(
        "CA file",
        "",
        help="A PEM file of trusted certificate authorities, instead of the public ones.",
    )
    fingerprint: str = text(
        "Fingerprint",
        "",
        pattern=FINGERPRINT,
        allowed=FINGERPRINT_ALLOWED,
        help=(
            "The SHA-256 fingerprint of the server's certificate: only this certificate is trusted,"
            " whoever signed it. Or that of a certificate authority in the server's chain: only"
            " certificates that it signed for this host are trusted (needs Python 3.10)."
        ),
    )
    verify: bool = switch(
        "Verify certificates",
        True,
        help="false accepts any certificate, and siemtap logs a warning; for tests only.",
    )
    timeout: int = duration(
        "Timeout", "60s", least="1s", most="10m", help="The longest time one request may take."
    )
    user_agent: str = text(
        "User agent", "", help="The User-Agent header; by default siemtap and its version."
    )


@dataclass(frozen=True)
class Receiving:
    """Settings for events that a vendor pushes: webhook and syslog."""

    listen: str = text(
        "Listen",
        "",
        help=(
            "The address and port of the webhook, such as 0.0.0.0:8443. Without it there is no"
            " webhook."
        ),
    )
    secret: str = secret(
        "Secret",
        "",
        pattern=r"^([A-Za-z0-9_.~-]{16,128})?$",
        allowed="16 to 128 letters, digits, `_`, `.`, `~` or `-`",
        help=(
            "A random text that senders must present: in the webhook's path, /<plugin>/<secret>, or"
            " in the header X-Siemtap-Secret."
        ),
    )
    certificate: str = text(
        "Certificate",
        "",
        help="A PEM file with the certificate chain for the webhook and for syslog over TLS.",
    )
    key: str = text(
        "Key", "", help="A PEM file with the private key, if it is not in `certificate`."
    )
    plain_http: bool = switch(
        "Plain HTTP",
        False,
        help=(
            "Allow the webhook without TLS on an address other than loopback, behind a proxy that"
            " terminates TLS."
        ),
    )
    networks: Tuple[str, ...] = text_list(
        "Networks",
        help=(
            "The networks that may send, by webhook or by syslog, such as 192.0.2.0/24; by default"
            " any. Behind a proxy or relay, its address counts."
        ),
    )
    syslog: Tuple[str, ...] = text_list(
        "Syslog",
        help=(
            "Addresses to listen on for syslog, such as udp://0.0.0.0:5514; udp://, tcp:// or"
            " tls://, one or several."
        ),
    )
    max_body_bytes: int = integer(
        "Maximum body size",
        1024**2,
        least=1024,
        most=16 * 1024**2,
        help="The largest request body in bytes; a larger one is answered with 413.",
    )
    spool_max_bytes: int = integer(
        "Maximum spool size",
        1024**3,
        least=32 * 1024**2,
        help=(
            "The most bytes of the spool (the on-disk queue) that wait for the output. While it is"
            " full, webhooks are answered with 503."
        ),
    )
    remember: int = duration(
        "Remember",
        "24h",
        least="1m",
        help=(
            "The deduplication window: how long event ids are remembered, to drop events that are"
            " sent again."
        ),
    )

    @property
    def receives(self) -> bool:
        """Return whether there is an address to listen on."""
        return bool(self.listen or self.syslog)


# The settings of CommonSettings that change events.
EVENT_SETTINGS = ("tags", "fields", "namespace")
# The settings of Receiving that only a webhook has.
WEBHOOK_SETTINGS = ("listen", "secret", "plain_http", "max_body_bytes")
