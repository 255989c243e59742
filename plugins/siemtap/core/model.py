"""The nouns. Values only: nothing here touches the world, and nothing here changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
)

from .errors import ConfigError
from .mapping import Dataset, Event, Lost, Record
from .windows import Millis

Cursor = Mapping[str, Any]  # where a unit goes on; a JSON object, opaque to all but its plugin


def time_in(cursor: Cursor, name: str, default: Millis = 0) -> Millis:
    """Return a time of a cursor. ConfigError for what is none: only a person or a failing disk
    can have written it."""
    value = cursor.get(name, default)
    if type(value) is not int:  # a bool is none, and of a float nobody knows what it was
        raise damaged(name, value, "whole milliseconds since 1970")
    return value


def damaged(name: str, value: Any, allowed: str) -> ConfigError:
    return ConfigError(
        f"the checkpoint's `{name}` is {str(value)[:60]!r}, and not {allowed}: nothing is read"
        " until it is put right with `siemtap state set`, or begun afresh with `siemtap state"
        " delete`"
    )


class Unit(NamedTuple):
    """What has a cursor of its own: one dataset of one input, within one scope (a website, an
    API)."""

    input: str
    dataset: str
    scope: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))


class Payload(NamedTuple):
    """What a receiver was handed. `channel`: webhook, udp, tcp, tls, replay. `path`: what a
    webhook's path says after the secret. `received`: our clock, UTC. `headers`: content-type and
    content-encoding, if the sender said so."""

    body: bytes
    channel: str
    path: str = ""
    peer: str = ""
    received: Millis = 0
    headers: Mapping[str, str] = {}


class Batch(NamedTuple):
    """Records that travel together, the cursor that holds once they are delivered, and the time
    read up to.

    `overlap`: how far before its cursor the plugin will read again; so long are ids remembered.
    `lost`: stretches that this step gives up; each becomes an event that names them.
    """

    dataset: Dataset
    records: List[Record]
    cursor: Cursor
    until: Millis
    overlap: Millis = 0
    lost: Tuple[Lost, ...] = ()


class Mark(NamedTuple):
    """What is saved with a delivery: where the unit goes on, and which ids may come again."""

    cursor: Cursor = {}
    seen: Mapping[str, Millis] = {}  # id -> end of the last window that returned it

    def after(self, batch: Batch, events: Iterable[Event]) -> Tuple[List[Event], Mark]:
        """The events not seen before, and the mark that holds once they are delivered.

        An id is forgotten by time, never by count: once the window that returned it last lies
        before the overlap.
        """
        arrived = {event["event"]["id"]: event for event in events}
        fresh = [event for id, event in arrived.items() if id not in self.seen]
        horizon = batch.until - batch.overlap
        seen = {id: until for id, until in self.seen.items() if until >= horizon}
        for id in arrived:
            seen[id] = max(batch.until, seen.get(id, 0))
        return fresh, Mark(batch.cursor, seen)

    def to_json(self) -> Dict[str, Any]:
        ends: Dict[str, List[str]] = {}
        for id, until in self.seen.items():
            ends.setdefault(str(until), []).append(id)
        return {"cursor": dict(self.cursor), "seen": ends}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Mark:
        """ValueError, TypeError or KeyError for what `to_json` never wrote."""
        cursor = said["cursor"]
        if not isinstance(cursor, dict):
            raise ValueError("a mark's cursor is an object")
        return cls(cursor, {id: int(until) for until, ids in said["seen"].items() for id in ids})


class Option(NamedTuple):
    """Of a command: `--name`, with a value of this sort, or (`flag`) without, or (`several`) any
    number of times."""

    name: str
    value: str
    help: str
    flag: bool = False
    several: bool = False


class Site(NamedTuple):
    """What a command works with: one input's client and settings, and when its last event was
    received (0: none, or nobody can tell)."""

    client: Any
    settings: Any
    last: Millis = 0


class Outcome(NamedTuple):
    """What came of a command for one of the things it was given. `data`: for scripts."""

    subject: str
    well: bool
    said: str
    data: Any = None


class Command(NamedTuple):
    """Something that a person asks for: idempotent; `collect` never calls it. `run(site, subjects,
    **options)` yields an outcome each. `subject`: what it is given, one or several; empty: nothing
    but options. `prints`: its outcomes' data is the output, as JSON. `alert`: what it is called
    where a SIEM's alert may call it."""

    name: str  # words; the first ones of several commands make a group
    help: str
    run: Callable[..., Iterator[Outcome]]
    options: Tuple[Option, ...] = ()
    subject: str = "HOST"
    prints: bool = False
    alert: str = ""


def one(settings: Any) -> int:
    return 1


@dataclass(frozen=True)
class Plugin:
    """A vendor, as a value: what it needs, what it emits, how it is read."""

    name: str
    settings: Any  # the form a person fills in
    datasets: Tuple[Dataset, ...]  # the kinds of event it emits
    # (settings, http) -> client: one per account, thread-safe
    connect: Callable[[Any, Any], Any]
    # (client, settings) -> (dataset, scope) of each unit
    units: Callable[[Any, Any], Iterable[Tuple[str, str]]]
    # (client, unit, cursor, now): finite, never sleeps
    collect: Callable[[Any, Unit, Cursor, Millis], Iterator[Batch]]
    title: str = ""
    # where the vendor's own pages are, if they are the same for everybody
    portal: str = ""
    # in Elastic's words, beside "security"
    categories: Tuple[str, ...] = ()
    # what Splunk's add-on is called, after "TA-"; the name by default
    addon: str = ""
    # (client): log in and ask for as little as can be; raises what is wrong
    greet: Optional[Callable[[Any], Any]] = None
    # (settings, payload): what we are told; pure
    receive: Optional[Callable[[Any, Payload], Iterator[Batch]]] = None
    # what we are told comes as HTTP POSTs, too
    webhook: bool = False
    commands: Tuple[Command, ...] = ()
    # (settings) -> units of one input that may be asked at the same time
    at_once: Callable[[Any], int] = one

    def dataset(self, name: str) -> Dataset:
        return next(dataset for dataset in self.datasets if dataset.name == name)
