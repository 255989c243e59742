"""A worker's membership in the consumer group that shares out the partitions of the units."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, List, Optional, Protocol

from ...core.errors import ConfigError, SiemtapError
from ...engine.mapper import traceback_text
from ...kafka.client import Advice, Errors, error_from, library, new_client, properties
from .settings import Cluster

log = logging.getLogger("siemtap")

POLL = 0.5  # seconds
WAIT_FOR_PERSON = 30.0  # seconds between two attempts that fail until somebody acts
LOOK_EVERY = 60.0  # seconds between two looks at the number of partitions
REPLACED = ("_FATAL", "FENCED_INSTANCE_ID", "_FENCED")


class Handler(Protocol):
    """What is told of partitions, in the membership's thread."""

    def assigned(self, partitions: List[int]) -> None: ...

    def revoked(self, partitions: List[int]) -> None:
        """Return once nothing is written to the partitions any more."""

    def replaced(self) -> None:
        """Another process has joined with this instance id."""

    def has_partitions(self, number: int) -> None: ...


class Membership:
    """A static member of the group, in a thread of its own: calls to vendors never delay its
    heartbeats or a rebalance. `reason`: why it is no member; "" if it is one."""

    def __init__(
        self, settings: Cluster, instance_id: str, handler: Handler, stopping: threading.Event
    ) -> None:
        self.settings = settings
        self.instance_id = instance_id
        self.handler = handler
        self.stopping = stopping
        self.errors = Errors()
        self.reason = "the group has not answered yet"
        self.thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def close(self) -> None:
        """Leave. A static member keeps its partitions until the session times out, so that a
        restart moves nothing."""
        if self.thread.is_alive():
            self.thread.join(30.0)

    def properties(self) -> Any:
        """Return the consumer's properties."""
        settings = self.settings
        return {
            **properties(settings),
            "group.id": settings.group,
            "group.instance.id": self.instance_id,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": settings.session_timeout,
            "heartbeat.interval.ms": min(3_000, settings.session_timeout // 3),
            "max.poll.interval.ms": max(300_000, settings.session_timeout),
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 60_000,
            "error_cb": self.errors.report,
        }

    def _run(self) -> None:
        try:
            self._poll()
        except Exception as error:  # without this thread no worker takes over: say so
            self.reason = f"{type(error).__name__} in the group's thread, a defect in siemtap"
            log.error("cluster.kafka: %s", self.reason)
            log.debug("%s", traceback_text(error))

    def _poll(self) -> None:
        consumer = self._consumer()
        if consumer is None:
            return
        consumer.subscribe(
            [self.settings.units],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )
        looked = time.monotonic()
        try:
            while not self.stopping.is_set():
                message = consumer.poll(POLL)
                if message is not None and message.error():
                    self._note(message.error())
                if time.monotonic() - looked > LOOK_EVERY:
                    looked = time.monotonic()
                    self._look(consumer)
        finally:
            consumer.close()

    def _consumer(self) -> Optional[Any]:
        """Return the consumer; None if siemtap stops before a person has mended its files."""
        while not self.stopping.is_set():
            try:
                return new_client(library().Consumer, self.properties(), "cluster.kafka")
            except ConfigError as error:
                self._say(error)
            self.stopping.wait(WAIT_FOR_PERSON)
        return None

    def _look(self, consumer: Any) -> None:
        try:
            topic = consumer.list_topics(self.settings.units, timeout=5.0)
        except library().KafkaException:
            return  # what is wrong shows where the brokers are needed
        known = topic.topics[self.settings.units].partitions
        if known:
            self.handler.has_partitions(len(known))

    def _note(self, error: Any) -> None:
        if error.name() in REPLACED or error.fatal():
            self.handler.replaced()
            return
        meaning = error_from(
            error,
            "cluster.kafka",
            Advice(self.settings, self.settings.group),
            self.settings.units,
            ("Read", "Describe"),
            self.errors.take(),
        )
        self._say(meaning)

    def _say(self, meaning: SiemtapError) -> None:
        if isinstance(meaning, ConfigError) and meaning.message != self.reason:
            log.error("%s", meaning.message)
        self.reason = meaning.message

    def why(self) -> str:
        """Return why there are no partitions; "" if this is a member."""
        if not self.reason:
            return ""
        error: Optional[Any] = self.errors.last
        more = f": {error.str()}" if error is not None else ""
        return f"{self.reason.removeprefix('cluster.kafka: ')}{more}"

    def _assigned(self, consumer: Any, partitions: List[Any]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)  # their content is read when they are opened
        self.reason = ""
        self.errors.take()
        self.handler.assigned([each.partition for each in partitions])

    def _revoked(self, consumer: Any, partitions: List[Any]) -> None:
        self.handler.revoked([each.partition for each in partitions])

    def _lost(self, consumer: Any, partitions: List[Any]) -> None:
        self.reason = "this worker was silent for too long, and joins the group again"
        log.warning("cluster.kafka: %s", self.reason)
        self.handler.revoked([each.partition for each in partitions])
