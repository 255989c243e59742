"""The settings of `output.kafka`."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.manifest import choice, duration, integer, text
from ...kafka.settings import TOPIC, TOPIC_ALLOWED, KafkaConnection


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaConnection):
    """Settings of `output.kafka`. `required_acks` is always all, as transactions demand."""

    topic: str = text(
        "Topic",
        "siemtap.events.%{[event.dataset]}",
        pattern=TOPIC,
        allowed=TOPIC_ALLOWED,
        help=(
            "The topic of an event: a name or a pattern, such as"
            " siemtap.events.%{[event.dataset]}. A field's value is written in lower case."
        ),
    )
    compression: str = choice(
        "Compression",
        "zstd",
        "lz4",
        "snappy",
        "gzip",
        "none",
        help="How batches are compressed. zstd needs brokers of version 2.1 or newer.",
    )
    max_message_bytes: int = integer(
        "Maximum message size",
        1_000_000,
        least=1_000,
        most=100_000_000,
        help=(
            "Maximum size in bytes of an event as JSON; a larger one is rejected and kept. At most"
            " `max.message.bytes` of the topics."
        ),
    )
    timeout: int = duration(
        "Timeout",
        "30s",
        least="5s",
        most="10m",
        help=(
            "How long the brokers may take for one transaction before its events count as not"
            " delivered."
        ),
    )
