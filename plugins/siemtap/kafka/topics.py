"""Topics: whether they exist, what this user may do with them, and their creation."""

from __future__ import annotations

import re
import time
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any, Dict, Iterable, Iterator, List, Tuple

from ..core.errors import ConfigError, Retry
from .client import Advice, Errors, NoTopic, error_from, library, new_client, properties
from .settings import KafkaConnection

AUTO_CREATION = 5.0  # seconds that a broker may take to create a topic by itself


class Topics:
    """The topics of a cluster, as this user sees them.

    where: the start of error texts. timeout: seconds of one request.
    """

    def __init__(
        self, settings: KafkaConnection, where: str = "output.kafka", timeout: float = 10.0
    ) -> None:
        self.kafka = library()
        self.settings = settings
        self.where = where
        self.timeout = timeout
        self.advice = Advice(settings)
        self.errors = Errors()
        self.properties = {**properties(settings), "error_cb": self.errors.report}
        self.admin = new_client(self.kafka.admin.AdminClient, self.properties, where)

    def brokers(self) -> List[str]:
        """Return the addresses of the cluster's brokers. Raise Retry if none answers."""
        metadata = self._metadata()
        return sorted(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())

    def _metadata(self) -> Any:
        """Return what a broker tells of brokers and topics."""
        return self._call(lambda: self.admin.list_topics(timeout=self.timeout))

    def _call(self, call: Any, topic: str = "", rights: Iterable[str] = (), group: str = "") -> Any:
        self.errors.take()
        advice = Advice(self.settings, group)
        try:
            return call()
        except self.kafka.KafkaException as raised:
            self.admin.poll(0)
            reported = self.errors.take()
            raise error_from(raised.args[0], self.where, advice, topic, rights, reported) from None
        except FutureTimeout:
            reported = self.errors.take()
            if reported is not None:
                raise error_from(reported, self.where, advice) from None
            raise Retry(f"{self.where}: no answer within {self.timeout:g} s") from None

    def check(
        self, names: Iterable[str], rights: Tuple[str, ...] = ("Write", "Describe")
    ) -> Iterator[Tuple[str, ConfigError]]:
        """Yield each topic that is missing, or on which this user lacks a right, and the error that
        says what to do. A broker that creates topics by itself does it now.

        Raise Retry if no broker answers.
        """
        self.brokers()  # a login that is refused is told here
        for name, answer in self._described(sorted(set(names))).items():
            try:
                described = self._call(partial(answer.result, self.timeout), name, rights)
            except ConfigError as error:
                if not isinstance(error, NoTopic) or not self._is_created(name):
                    yield name, error
                continue
            allowed = described.authorized_operations
            lacking = [
                right
                for right in rights
                if allowed is not None
                and right.upper() not in {each.name.replace("_", "") for each in allowed}
            ]
            if lacking:
                command = self.advice.allow(lacking, f"--topic {name}")
                yield (
                    name,
                    ConfigError(
                        f"{self.where}: the right {' and '.join(lacking)} on the topic {name} is"
                        f" missing; run {command}"
                    ),
                )

    def _described(self, names: List[str]) -> Dict[str, Any]:
        if not names:
            return {}
        answers: Dict[str, Any] = self.admin.describe_topics(
            self.kafka.TopicCollection(names),
            include_authorized_operations=True,
            request_timeout=self.timeout,
        )
        return answers

    def _is_created(self, name: str) -> bool:
        """Return whether the broker creates a topic because a producer asks for it."""
        producer = new_client(self.kafka.Producer, self.properties, self.where)
        end = time.monotonic() + AUTO_CREATION
        while True:
            topic = self._call(lambda: producer.list_topics(name, self.timeout)).topics[name]
            if topic.error is None:
                return True
            pending = topic.error.name() == "LEADER_NOT_AVAILABLE"
            if time.monotonic() > end or not pending:
                return False
            time.sleep(0.1)

    def missing(self, names: Iterable[str]) -> List[str]:
        """Return the names of topics that do not exist."""
        known = self._metadata().topics
        return [name for name in sorted(set(names)) if name not in known]

    def matching(self, names: Iterable[str]) -> List[str]:
        """Return the topics of these names, and those that exist and fit a regular expression: a
        name that begins with ^, of which librdkafka demands a match at the start."""
        known = self._metadata().topics
        topics = {name for name in names if not name.startswith("^")}
        for pattern in names:
            if pattern.startswith("^"):
                topics |= {name for name in known if re.match(pattern, name)}
        return sorted(topics)

    def partitions(self, names: Iterable[str]) -> Dict[str, int]:
        """Return how many partitions topics have."""
        known = self._metadata().topics
        return {name: len(known[name].partitions) if name in known else 0 for name in names}

    def config(self, name: str, rights: Tuple[str, ...] = ("DescribeConfigs",)) -> Dict[str, str]:
        """Return the settings of a topic. rights: that the error names if this one is missing."""
        resource = self.kafka.admin.ConfigResource(self.kafka.admin.ResourceType.TOPIC, name)
        (answer,) = self.admin.describe_configs([resource], request_timeout=self.timeout).values()
        entries = self._call(partial(answer.result, self.timeout), name, rights)
        return {key: str(entry.value) for key, entry in entries.items()}

    def create(self, names: Iterable[str], partitions: int = -1, **config: str) -> None:
        """Create topics, with the brokers' defaults of replicas and, by default, partitions.
        config: of each topic, such as cleanup.policy. Raise what a refusal means."""
        new = [
            self.kafka.admin.NewTopic(
                name, num_partitions=partitions, replication_factor=-1, config={**config}
            )
            for name in names
        ]
        if not new:
            return
        answers = self.admin.create_topics(new, request_timeout=self.timeout)
        for name, answer in answers.items():
            self._call(partial(answer.result, self.timeout), name, ("Create",))
