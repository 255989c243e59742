"""The settings of a connection to Kafka, which the output and the input share. The names are those
of Filebeat's output and input `kafka` where it has the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from ..core.manifest import choice, secret, switch, text, text_list
from ..core.settings import ca_file_setting, client_key_setting, verify_setting

TOPIC = r"^(?!\.{1,2}$)([A-Za-z0-9._-]|%\{\+[A-Za-z._-]+\}|%\{\[[A-Za-z0-9_.@]+\]\}){1,249}$"
TOPIC_ALLOWED = (
    "letters, digits, `.`, `_`, `-`, and %{+yyyy.MM.dd} or %{[event.dataset]}; at most 249"
)
HOST = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"
HOST_ALLOWED = "write kafka.example.com:9092"
MECHANISMS = ("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, kw_only=True)
class KafkaConnection:
    """How to connect to the brokers of a cluster."""

    hosts: Tuple[str, ...] = text_list(
        "Hosts",
        ("127.0.0.1:9092",),
        pattern=HOST,
        allowed=HOST_ALLOWED,
        help=(
            "Brokers to start from, such as kafka.example.com:9092; the other brokers of the"
            " cluster are learnt from them."
        ),
    )
    client_id: str = text(
        "Client id",
        "siemtap",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        allowed="letters, digits, `.`, `_` and `-`, at most 64",
        help="The name by which brokers log and limit this client.",
    )
    username: str = text("User name", "", help="The user name for SASL; needs `password`.")
    password: str = secret("Password", "", help="The password of `username`.")
    sasl_mechanism: str = choice(
        "SASL mechanism",
        *MECHANISMS,
        help=(
            "How the user logs in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; by default PLAIN if there"
            " is a `username`. Filebeat's `sasl.mechanism`."
        ),
    )
    tls: bool = switch(
        "TLS",
        False,
        help=(
            "Encrypt the connection (Filebeat's `ssl.enabled`). PLAIN without TLS shows the"
            " password to the network."
        ),
    )
    ca_file: str = ca_file_setting()
    certificate: str = text(
        "Client certificate", "", help="PEM file of a client certificate, if brokers demand one."
    )
    key: str = client_key_setting()
    verify: bool = verify_setting()
