"""Properties of librdkafka's clients, and what their errors mean.

librdkafka, CONFIGURATION.md and rdkafka.h: the names of properties and errors.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Dict, Iterable, Iterator, Optional

from ..core.errors import AuthError, ConfigError, Retry, SiemtapError
from ..edge.certificates import Followed, client_context
from .settings import KafkaConnection

# librdkafka's own lines: `Errors` and the errors of calls say the same
silent = logging.getLogger("siemtap.librdkafka")
silent.propagate = False
silent.addHandler(logging.NullHandler())

LOGIN = ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED")
UNKNOWN_TOPIC = ("_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART")
FENCED = ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH")
TOO_LARGE = ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE")


class Fenced(SiemtapError):
    """Another producer uses the same `transactional.id`: this one must not write any more."""


class NoTopic(ConfigError):
    """A topic does not exist."""


class NoRight(ConfigError):
    """The user lacks a right."""


def library() -> Any:
    """Return the module confluent_kafka. Raise ConfigError if it is not installed."""
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ImportError:
        raise ConfigError(
            "Kafka needs the package confluent-kafka:"
            " install siemtap with the extra `kafka`, such as pip install '.[kafka]'"
        ) from None
    return confluent_kafka


def properties(settings: KafkaConnection) -> Dict[str, Any]:
    """Return the properties that every client of these settings has."""
    given: Dict[str, Any] = {
        "bootstrap.servers": ",".join(settings.hosts),
        "client.id": settings.client_id,
        "security.protocol": _protocol(settings),
        "socket.keepalive.enable": True,
        "logger": silent,
        "log_level": 3,  # what is logged when a client ends goes to standard error
    }
    if settings.username:
        given["sasl.mechanism"] = settings.sasl_mechanism or "PLAIN"
        given["sasl.username"] = settings.username
        given["sasl.password"] = settings.password
    files = {
        "ssl.ca.location": settings.ca_file,
        "ssl.certificate.location": settings.certificate,
        "ssl.key.location": settings.key or settings.certificate,  # which may hold both
    }
    if settings.tls:
        given.update({name: file for name, file in files.items() if file})
        given["enable.ssl.certificate.verification"] = settings.verify
        if not settings.verify:
            given["ssl.endpoint.identification.algorithm"] = "none"
    return given


class TlsFiles:
    """The files of a connection's certificates. librdkafka reads them once, when a client is made
    (its issue 2868): after a change another client has to be made."""

    def __init__(self, settings: KafkaConnection) -> None:
        self.files: Optional[Followed[Any]] = None
        if settings.tls and (settings.ca_file or settings.certificate):
            self.files = client_context(
                settings.ca_file, settings.certificate, settings.key, settings.verify
            )
        self.used: Any = None  # what the files held when `changed` was asked last

    def changed(self) -> bool:
        """Return whether the files were renewed since this was asked last, and can be used."""
        if self.files is None:
            return False
        try:
            latest = self.files.latest()
        except ConfigError:
            return False  # `new_client` says what is wrong
        before, self.used = self.used, latest
        return before is not None and before is not latest

    def problems(self) -> Iterator[str]:
        """Yield why the files cannot be used, for the status."""
        if self.files and self.files.problem():
            yield self.files.problem()


def new_client(kind: Any, properties: Dict[str, Any], where: str) -> Any:
    """Return a client of librdkafka. kind: such as Producer. where: the start of the error's text.

    Raise ConfigError if librdkafka refuses the properties, such as a key that is none.
    """
    try:
        return kind(properties)
    except library().KafkaException as raised:
        raise ConfigError(
            f"{where}: {_text(raised.args[0])}; check `tls`, `ca_file`, `certificate`, `key`, which"
            " has to be one without a pass phrase, and `sasl_mechanism`"
        ) from None


def _protocol(settings: KafkaConnection) -> str:
    if settings.username:
        return "SASL_SSL" if settings.tls else "SASL_PLAINTEXT"
    return "SSL" if settings.tls else "PLAINTEXT"


class Errors:
    """The last error that a client reported beside its calls, such as a login that is refused: a
    call then only says that it timed out. `all_down`: it has lost every broker, or reached none."""

    def __init__(self) -> None:
        self.last: Optional[Any] = None
        self.all_down = False
        self.lock = threading.Lock()

    def report(self, error: Any) -> None:
        """Keep an error, as the callback `error_cb`. One about a login outlives those that only
        say that no broker is left."""
        with self.lock:
            is_all = error.name() == "_ALL_BROKERS_DOWN"
            self.all_down = self.all_down or is_all
            if not is_all or self.last is None:
                self.last = error

    def take(self) -> Optional[Any]:
        """Return the last error, and forget it."""
        with self.lock:
            error, self.last = self.last, None
            self.all_down = False
            return error


class Advice:
    """Commands that put things right, for this user and these brokers. group: the consumer group
    that the calls are about."""

    def __init__(self, settings: KafkaConnection, group: str = "") -> None:
        self.group = group
        self.client_id = settings.client_id
        self.server = f"--bootstrap-server {settings.hosts[0]}"
        self.principal = f"User:{settings.username or 'ANONYMOUS'}"

    def create(self, topics: Iterable[str], more: str = "") -> str:
        """Return the commands that create topics."""
        return "; ".join(
            f"kafka-topics.sh {self.server} --create --topic {topic}{more}" for topic in topics
        )

    def unavailable(self, topic: str) -> str:
        """Return the command that shows which partitions of a topic have no leader."""
        return f"kafka-topics.sh {self.server} --describe --unavailable-partitions --topic {topic}"

    def configure(self, topic: str, name: str, value: str) -> str:
        """Return the command that sets a setting of a topic."""
        return f"kafka-configs.sh {self.server} --alter --topic {topic} --add-config {name}={value}"

    def describe_group(self) -> str:
        """Return the command that shows how far the group has read."""
        return f"kafka-consumer-groups.sh {self.server} --describe --group {self.group}"

    def allow(self, operations: Iterable[str], resource: str) -> str:
        """Return the command that grants rights. resource: such as `--topic a.b`."""
        named = " ".join(f"--operation {operation}" for operation in operations)
        return (
            f"kafka-acls.sh {self.server} --add --allow-principal {self.principal} {named}"
            f" {resource}"
        )


def error_from(
    error: Any,
    where: str,
    advice: Advice,
    topic: str = "",
    rights: Iterable[str] = ("Write", "Describe"),
    reported: Optional[Any] = None,
) -> SiemtapError:
    """Return what an error of Kafka means for the loop.

    error: a KafkaError. reported: what the client reported beside the call (`Errors`). rights: the
    operations on `topic` that are needed.
    """
    for candidate in (reported, error):
        name = candidate.name() if candidate is not None else ""
        if name in LOGIN:
            return AuthError(
                f"{where}: the broker refused the login: check `username`, `password` and"
                " `sasl_mechanism`"
            )
        if name == "_SSL":
            return ConfigError(
                f"{where}: TLS failed: {_text(candidate)}; check `tls`, `ca_file`, `certificate`"
                " and `key`"
            )
    name = error.name()
    if name in FENCED:
        return Fenced(f"{where}: another process has taken over this producer's transactional.id")
    if name == "TOPIC_AUTHORIZATION_FAILED":
        command = advice.allow(rights, f"--topic {topic or '<topic>'}")
        return NoRight(f"{where}: no right to use the topic {topic}; run {command}")
    if name == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
        command = advice.allow(
            ("Write", "Describe"),
            f"--transactional-id {advice.client_id}- --resource-pattern-type prefixed",
        )
        return NoRight(f"{where}: no right to use its transactional.id; run {command}")
    if name == "GROUP_AUTHORIZATION_FAILED":
        command = advice.allow(("Read", "Describe"), f"--group {advice.group}")
        return NoRight(f"{where}: no right to use the consumer group {advice.group}; run {command}")
    if name == "CLUSTER_AUTHORIZATION_FAILED":
        command = advice.allow(("IdempotentWrite",), "--cluster")
        return NoRight(f"{where}: no right to write idempotently; run {command}")
    if name in UNKNOWN_TOPIC:
        return NoTopic(
            f"{where}: there is no topic {topic}; run {advice.create([topic])}, or `siemtap setup`"
        )
    more = f" ({_text(reported)})" if reported is not None else ""
    return Retry(f"{where}: {_text(error)}{more}")


def _text(error: Any) -> str:
    """Return an error's text. The texts of librdkafka hold addresses and no secrets."""
    return str(error.str()).strip().rstrip(".")
