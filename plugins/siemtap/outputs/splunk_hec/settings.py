"""The settings of `output.splunk_hec`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from ...core.manifest import duration, integer, secret, switch, text, text_list
from ...core.settings import (
    FINGERPRINT,
    FINGERPRINT_ALLOWED,
    INDEX,
    INDEX_ALLOWED,
    PROXY,
    PROXY_ALLOWED,
    Connection,
    ca_file_setting,
    client_key_setting,
    verify_setting,
)
from ..compression import level_of_gzip


@dataclass(frozen=True)
class Settings:
    """Settings of `output.splunk_hec`."""

    token: str = secret("Token", help="The HEC token, as Splunk Web shows it.")
    hosts: Tuple[str, ...] = text_list(
        "Hosts",
        ("https://127.0.0.1:8088",),
        pattern=r"^https?://[^/?#@\s]+/?$",
        allowed="write https://splunk.example.com:8088; siemtap adds /services/collector",
        help=(
            "URLs of the HTTP Event Collector, such as https://splunk.example.com:8088: of one"
            " instance, of a load balancer, or of several indexers or heavy forwarders, which take"
            " turns and stand in for each other. The token must be valid at each of them."
        ),
    )
    ack: bool = switch(
        "Indexer acknowledgement",
        False,
        help=(
            "Count events as delivered only when the indexers have acknowledged them. The token"
            " needs `Enable indexer acknowledgement`; behind a load balancer, sticky sessions."
        ),
    )
    ack_timeout: int = duration(
        "Acknowledgement timeout",
        "5m",
        least="1s",
        most="1h",
        help="How long to wait for an acknowledgement before events are sent again.",
    )
    index: str = text(
        "Index",
        "",
        pattern=INDEX,
        allowed=INDEX_ALLOWED,
        help=(
            "Index to write to; the token must allow it. By default the token's default index. An"
            " input's `index` replaces it."
        ),
    )
    proxy: str = text(
        "Proxy",
        "",
        pattern=PROXY,
        allowed=PROXY_ALLOWED,
        help=(
            "The proxy for requests to HEC, such as http://proxy.example.com:3128. Proxy"
            " environment variables are ignored."
        ),
    )
    proxy_user: str = text("Proxy user", "", help="The user name, if the proxy requires a login.")
    proxy_password: str = secret(
        "Proxy password", "", help="The password, if the proxy requires a login."
    )
    ca_file: str = ca_file_setting()
    ca_fingerprint: str = text(
        "CA fingerprint",
        "",
        pattern=FINGERPRINT,
        allowed=FINGERPRINT_ALLOWED,
        help=(
            "SHA-256 of the certificate of an authority in the server's chain. Only this authority"
            " is trusted, and the host name is verified. Or SHA-256 of the server's own"
            " certificate, which is then trusted whoever signed it. Replaces `ca_file`."
        ),
    )
    certificate: str = text(
        "Client certificate",
        "",
        help="PEM file of a client certificate, if HEC demands one (`requireClientCert`).",
    )
    key: str = client_key_setting()
    verify: bool = verify_setting()
    bulk_max_bytes: int = integer(
        "Bulk max bytes",
        1_000_000,
        least=1024,
        most=800_000_000,
        help=(
            "Maximum size in bytes of one request, before compression. HEC's own limit is"
            " `max_content_length` in the stanza `[http_input]` of limits.conf."
        ),
    )
    compression_level: int = level_of_gzip()
    worker: int = integer(
        "Workers",
        2,
        least=1,
        most=64,
        help="Number of concurrent requests of one batch. Not `workers` at the top of the file.",
    )
    timeout: int = duration(
        "Timeout", "90s", least="1s", most="10m", help="Maximum duration of one request."
    )

    def connection(self) -> Connection:
        """Return the part of these settings that says how to connect."""
        return Connection(
            proxy=self.proxy,
            proxy_user=self.proxy_user,
            proxy_password=self.proxy_password,
            ca_file=self.ca_file,
            fingerprint=self.ca_fingerprint,
            verify=self.verify,
            timeout=self.timeout,
        )
