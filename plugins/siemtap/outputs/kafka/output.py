"""The output `kafka`: events are delivered once the transaction that holds them is committed.

One thread writes for all inputs, a transaction at a time, and a transaction holds what waits then.
The mark is saved after the commit, in path.data: what is committed when the process dies in
between is written again, with equal ids (decision 0019).
"""

from __future__ import annotations

import logging
import re
import uuid
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from ...core.errors import Retry
from ...core.model import Mark, Unit
from ...core.rows import Event
from ...edge.encode import encode
from ...edge.store.identity import identity
from ...engine.protocols import Rejections
from ...kafka.client import Fenced
from ...kafka.topics import Topics
from ...kafka.transactions import Limits, Message, Transactions
from ...kafka.writer import EVENT_ID, Writer
from .. import OutputContext
from ..index_names import index_name
from .settings import Settings

log = logging.getLogger("siemtap")

Write = Callable[[List[Message]], Dict[int, str]]  # -> reasons of those refused, by index
AT_START = 5.0  # seconds that brokers may take to answer before the inputs start
ONLY_DATASET = re.compile(r"^(%\{\[event\.dataset\]\}|[^%])*$")


class FencedExit(SystemExit):
    """The end of the process when another one uses its transactional.id. The log says why."""


class Kafka:
    """The output `kafka`."""

    together = False
    unreadable = (
        "a topic cannot be searched. Compare what reads the topics: with a configuration that has"
        " these inputs and the output of the writer, and a path.data of its own"
    )
    settings_type = Settings

    def __init__(self, settings: Settings, context: OutputContext = OutputContext()) -> None:
        self.settings = settings
        self.context = context
        self.where = context.section or "output.kafka"
        self.heads: Dict[str, Tuple[Tuple[str, bytes], ...]] = {}
        if settings.tls and not settings.verify:
            log.warning(
                "%s: certificates are not verified (verify: false); anybody on the network path can"
                " read the password and the events",
                self.where,
            )
        self._check_topics()
        self.writer = Writer(
            Transactions(
                settings,
                self._transactional_id(),
                limits_of(settings),
                self.where,
                context.stopping,
            )
        )

    @property
    def counts(self) -> Dict[str, int]:
        """Return how many transactions were committed."""
        return {"transactions": self.writer.commits}

    @staticmethod
    def location(settings: Settings) -> str:
        """Return where the events are, to complete "the events are …"."""
        return (
            f"in Kafka, in the topics {settings.topic} of {', '.join(settings.hosts)}; read them"
            " with isolation.level=read_committed"
        )

    def _transactional_id(self) -> str:
        """Return an id that path.data keeps: a successor with it fences this process. The workers
        of one path.data write at the same time, so each has an id of its own. Without path.data,
        as for `siemtap test output`, nobody is fenced."""
        database = self.context.database
        own = identity(database) if database else f"once-{uuid.uuid4().hex}"
        process = self.context.process.replace(" ", "-")
        return "-".join(filter(None, (self.settings.client_id, own, self.where, process)))

    def _check_topics(self) -> None:
        """Refuse to start if a topic or a right is missing. Brokers that are away are no reason:
        then the inputs wait."""
        names = topics_of(self.settings, self.context.delivers)
        if not names:
            return
        try:
            for _, error in Topics(self.settings, self.where, AT_START).check(names):
                raise error
        except Retry as error:
            log.warning("%s; the inputs wait until it answers", error)

    # Messages

    def _message(self, key: bytes, event: Event) -> Message:
        details = event["event"]
        head = self.heads.get(details["dataset"])
        if head is None:
            head = self.heads[details["dataset"]] = (
                ("dataset", details["dataset"].encode()),
                ("schema.version", str(event.get("ecs", {}).get("version", "")).encode()),
            )
        return Message(
            index_name(self.settings.topic, event),
            key,
            encode(event),
            (*head, (EVENT_ID, details["id"].encode())),
        )

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Write the events in one transaction, perhaps with those of other units; return those that
        are too large.

        Raise Retry if the brokers do not commit in time. FencedExit ends the process.
        """
        try:
            return self.deliver_by(self.writer.write, unit, events)
        except Fenced as error:
            log.error(
                "%s, and siemtap stops: does a copy of this path.data run elsewhere? If this"
                " process was only paused for long, start it again",
                error,
            )
            raise FencedExit(1) from None

    def deliver_by(self, write: Write, unit: Unit, events: List[Event]) -> Rejections:
        """Deliver events by a function that writes messages: that of a partition of a fleet adds
        the mark."""
        key = str(unit).encode()
        limit = self.settings.max_message_bytes
        refused: Rejections = []
        written, messages = [], []
        for event in events:
            message = self._message(key, event)
            size = len(message.value or b"")
            if size > limit:
                refused.append(
                    (event, f"{size:,} bytes are more than max_message_bytes ({limit:,})")
                )
            else:
                written.append(event)
                messages.append(message)
        try:
            reasons = write(messages)
        except Retry as error:
            raise Retry(f"{error.message}; {len(events)} events wait", after=error.after) from None
        return [*refused, *((written[index], reason) for index, reason in reasons.items())]

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return None: a topic cannot be searched."""
        return None

    def problems(self) -> Iterator[str]:
        """Yield what a person should put right, for the status."""
        yield from self.writer.transactions.files.problems()

    def close(self) -> None:
        self.writer.close()


def limits_of(settings: Settings) -> Limits:
    """Return the limits of a transaction's messages."""
    return Limits(settings.max_message_bytes, settings.timeout, settings.compression)


def topics_of(settings: Settings, datasets: Iterable[str]) -> List[str]:
    """Return the topics that events of these datasets go to; [] if the pattern needs more than a
    dataset's name."""
    if not ONLY_DATASET.match(settings.topic):
        return []
    names = {index_name(settings.topic, {"event": {"dataset": name}}) for name in datasets}
    return sorted(names)
