"""The settings of `output.elasticsearch` and `output.opensearch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from ...core.errors import ConfigError
from ...core.manifest import duration, integer, secret, text, text_list
from ...core.settings import (
    FINGERPRINT,
    FINGERPRINT_ALLOWED,
    INDEX,
    INDEX_ALLOWED,
    ca_file_setting,
    client_key_setting,
    verify_setting,
)
from ..compression import level_of_gzip


@dataclass(frozen=True)
class Settings:
    """Settings of `output.elasticsearch` and `output.opensearch`."""

    hosts: Tuple[str, ...] = text_list(
        "Hosts",
        ("http://127.0.0.1:9200",),
        help="URLs of the nodes of one cluster, such as https://es.example.com:9200.",
    )
    cloud_id: str = text(
        "Cloud ID", "", help="ID of an Elastic Cloud deployment. Replaces `hosts`."
    )
    api_key: str = secret(
        "API key", "", help="Base64, as Kibana shows it, or id:key. Elasticsearch only."
    )
    username: str = text(
        "User name", "", help="User to log in as, with `password`. Replaces `api_key`."
    )
    password: str = secret("Password", "", help="Password of `username`.")
    bearer_token: str = secret(
        "Bearer token", "", help="Service account token or JWT. Replaces `api_key`."
    )
    ca_file: str = ca_file_setting()
    ca_fingerprint: str = text(
        "CA fingerprint",
        "",
        pattern=FINGERPRINT,
        allowed=FINGERPRINT_ALLOWED,
        help=(
            "SHA-256 of the CA certificate, as Elasticsearch prints it at its first start. Only"
            " this authority is trusted; the server must send its certificate along, and the host"
            " name is verified. Or SHA-256 of the server's own certificate, which is then trusted"
            " whoever signed it. Replaces `ca_file`."
        ),
    )
    certificate: str = text(
        "Client certificate", "", help="PEM file of the certificate to log in with."
    )
    key: str = client_key_setting()
    verify: bool = verify_setting()
    index: str = text(
        "Index",
        "",
        pattern=INDEX,
        allowed=INDEX_ALLOWED,
        help=(
            "Index to write to instead of the data stream logs-<dataset>-<namespace>, such as"
            " siem-%{+yyyy.MM.dd} or waf-%{[event.dataset]}."
        ),
    )
    bulk_max_size: int = integer(
        "Bulk max size", 1600, least=1, most=50_000, help="Maximum number of events in one request."
    )
    bulk_max_bytes: int = integer(
        "Bulk max bytes",
        5 * 1024**2,
        least=1024,
        most=100 * 1024**2,
        help="Maximum size in bytes of one request, before compression.",
    )
    compression_level: int = level_of_gzip()
    worker: int = integer(
        "Workers",
        2,
        least=1,
        most=64,
        help=(
            "Number of concurrent bulk requests of one batch. Not `workers` at the top of the file."
        ),
    )
    timeout: int = duration(
        "Timeout", "90s", least="1s", most="10m", help="Maximum duration of one request."
    )


def check_login(settings: Settings, flavour: str) -> None:
    """Raise ConfigError for login settings that exclude each other or are incomplete."""
    names = [name for name in ("api_key", "username", "bearer_token") if getattr(settings, name)]
    if len(names) > 1:
        raise ConfigError(f"{' and '.join(names)} are set; use one of them")
    if bool(settings.username) != bool(settings.password):
        raise ConfigError("username and password go together; set both")
    if flavour == "opensearch" and (settings.api_key or settings.cloud_id):
        raise ConfigError(
            "OpenSearch knows neither api_key nor cloud_id; use username and password, a"
            " bearer_token or a certificate"
        )
