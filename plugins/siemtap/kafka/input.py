"""The input `kafka`: events that a siemtap wrote, for another output. They pass unmapped, with
their own ids; the group's offsets are the mark."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Tuple

import orjson

from ..core.convert import rfc3339
from ..core.events import Lost
from ..core.manifest import choice, duration, text, text_list
from ..core.model import Batch, Cursor, Mark, Plugin, Unit, Unreadable
from ..core.rows import Dataset, Event
from ..core.windows import Millis
from ..edge.client.messages import may_have_large_number
from .backlog import BATCH_MESSAGES, Received
from .consumer import Consumer
from .gaps import Loss
from .settings import KafkaConnection

BATCH_BYTES = 4 * 1024**2
PATIENCE = 15.0  # seconds for messages, or for the group to assign partitions
EVENTS = Dataset("kafka.events", clock=lambda record: None, identity=(), rows=())
# What becomes a part of requests and of the names of indices, as the schema has it: it is looked up
# before anything is validated, and validation can be off.
TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
ID = re.compile(r"[0-9a-f]{32}")
DATASET = re.compile(r"[a-z][a-z0-9_]*\.[a-z0-9_]+")
NAMESPACE = re.compile(r"[^A-Z\s\\/*?\"<>|,#:\ud800-\udfff-]{1,100}")


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaConnection):
    """Settings of an input of the type kafka."""

    topics: Tuple[str, ...] = text_list(
        "Topics",
        ("^siemtap\\.events\\..*",),
        help=(
            "Topics to read; one that begins with ^ is a regular expression, and new topics that"
            " fit are read, too."
        ),
    )
    group_id: str = text(
        "Group id",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        allowed="letters, digits, `.`, `_` and `-`",
        help=(
            "The consumer group. Inputs with the same group share the partitions; one group for"
            " each SIEM, such as siemtap-elasticsearch."
        ),
    )
    initial_offset: str = choice(
        "Initial offset",
        "oldest",
        "newest",
        help="Where a new group begins: with the oldest event of a topic, or with new ones.",
    )
    interval: int = duration(
        "Interval", "1s", least="100ms", most="1h", help="How often to look for new messages."
    )


class Client:
    """A consumer, and where the events of the batch in hand come from."""

    def __init__(self, settings: Settings, http: Any = None) -> None:
        self.consumer = Consumer(
            settings,
            settings.topics,
            settings.group_id,
            settings.initial_offset == "oldest",
            f"the group {settings.group_id}",
        )
        self.places: Dict[str, str] = {}  # id of an event -> topic, partition and offset
        self.lost_offsets = 0  # that Kafka deleted before they were read

    def save(self, unit: Unit, mark: Mark) -> None:
        """Commit the offsets of a mark to the group, as `CheckpointAfter` wants a mark saved."""
        self.consumer.commit(
            {
                (topic, int(number)): offset
                for topic, partitions in mark.cursor.items()
                for number, offset in partitions.items()
            }
        )
        # Here: nothing that fails afterwards may deliver it again.
        self.consumer.done()
        self.places = {}

    def origin(self, event: Event) -> str:
        """Return where an event of the batch in hand was read; "" for another event."""
        return self.places.get(event["event"]["id"], "")

    def is_doubtful(self) -> bool:
        """Return whether events of the batch in hand may have been delivered before."""
        return self.consumer.is_doubtful()

    def problems(self) -> Iterator[str]:
        """Yield what a person should put right, for the status."""
        if self.unread():
            yield self.unread()
        yield from self.consumer.files.problems()

    def unread(self) -> str:
        """Return what cannot be read now; "" if nothing."""
        return self.consumer.gaps.unread()

    @property
    def counts(self) -> Dict[str, int]:
        """Return what is counted of the topics, for /stats."""
        return {"lost_offsets": self.lost_offsets}

    def close(self) -> None:
        self.consumer.close()


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Yield what the group's partitions hold, to their ends. What was handed out and not delivered
    comes again first. Records are events, or Unreadable. What Kafka deleted is told as `lost`."""
    client.consumer.start()
    client.consumer.again()
    while True:
        yield from report_losses(client)
        messages = client.consumer.take(BATCH_MESSAGES, BATCH_BYTES, PATIENCE)
        if messages:
            yield batch_of(client, messages, now)
        elif not client.consumer.unreported():
            return


def batch_of(client: Client, messages: List[Received], now: Millis) -> Batch:
    """Return the events of messages, and note where they were read."""
    records = [event_of(message) for message in messages]
    client.places = {
        record["event"]["id"]: place_of(message)
        for record, message in zip(records, messages)
        if isinstance(record, dict)
    }
    until = min(now, max(message.time for message in messages))
    return Batch(EVENTS, records, cursor_of(messages), until)


def report_losses(client: Client) -> Iterator[Batch]:
    """Yield a batch for each range of offsets that Kafka deleted before they were read."""
    for loss in client.consumer.unreported():
        cursor = {loss.topic: {str(loss.partition): loss.next}}
        yield Batch(EVENTS, [], cursor, loss.stop, lost=(lost_of(loss),))
        client.lost_offsets += loss.number
        client.consumer.reported(loss)


def lost_of(loss: Loss) -> Lost:
    """Return what was lost, with the reason. Its scope, a part of the event's id, names the first
    offset."""
    reason = (
        f"Kafka deleted {loss.number:,} offsets of the topic {loss.topic}, partition"
        f" {loss.partition}, before they were read ({loss.first} to {loss.next - 1})"
    )
    scope = f"{loss.topic}/{loss.partition}/{loss.first}"
    return Lost(loss.start or loss.stop, loss.stop, reason, scope, is_start_known=loss.start > 0)


def cursor_of(messages: List[Received]) -> Cursor:
    """Return {topic: {partition: offset to go on from}}."""
    cursor: Dict[str, Dict[str, int]] = {}
    for message in messages:
        cursor.setdefault(message.topic, {})[str(message.partition)] = message.offset + 1
    return cursor


def place_of(message: Received) -> str:
    return f"topic {message.topic}, partition {message.partition}, offset {message.offset}"


def event_of(message: Received) -> Any:
    """Return the event that a message holds, or Unreadable."""
    try:
        value = message.value or b""
        event = (json if may_have_large_number(value) else orjson).loads(value)
        reason = fault_of(event)
    except (ValueError, RecursionError) as error:
        reason = f"it is no JSON ({type(error).__name__})"
    if not reason:
        return event
    reason = f"a message that is no event of siemtap: {reason}"
    return Unreadable(kept(message, reason), f"{reason}; {place_of(message)}")


def fault_of(event: Any) -> str:
    """Return what keeps a value from being an event; "" if nothing does. The schema says more."""
    if not isinstance(event, dict):
        return "it is no JSON object"
    details, stream = event.get("event"), event.get("data_stream")
    if not isinstance(details, dict):
        return "it has no object `event`"
    if not _fits(event.get("@timestamp"), TIMESTAMP):
        return "it has no @timestamp, or one of another form"
    if not _fits(details.get("id"), ID):
        return "it has no event.id, or one of another form"
    if not _fits(details.get("dataset"), DATASET):
        return "it has no event.dataset, or its event.dataset is no name of a dataset"
    if not isinstance(stream, dict) or stream.get("dataset") != details["dataset"]:
        return "it has no data_stream.dataset, or another than event.dataset"
    if stream.get("type") != "logs":
        return "its data_stream.type is not logs"
    if not _fits(stream.get("namespace", "default"), NAMESPACE):
        return "its data_stream.namespace is no name of a namespace"
    return ""


def _fits(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def kept(message: Received, reason: str) -> Event:
    """Return what is kept of a message that is rejected: its value as it is, as text or Base64."""
    value = message.value or b""
    try:
        original = value.decode()
    except UnicodeDecodeError:
        original = f"base64:{base64.b64encode(value).decode()}"
    place = place_of(message)
    return {
        "@timestamp": rfc3339(message.time),
        "event": {
            "id": hashlib.sha256(place.encode() + b"\n" + value).hexdigest()[:32],
            "kind": "pipeline_error",
            "dataset": message.topic,
            "original": original,
        },
        "error": {"message": reason},
    }


def units(client: Client, settings: Settings) -> Iterable[Tuple[str, str]]:
    return [(EVENTS.name, "")]


PLUGIN = Plugin(
    "kafka",
    Settings,
    (EVENTS,),
    connect=Client,
    units=units,
    collect=collect,
    title="Apache Kafka",
    reads_events=True,
)
