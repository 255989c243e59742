"""The nouns of the loop. Values only: nothing here reads or writes anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

from .errors import ConfigError, SiemtapError
from .events import Lost
from .rows import Dataset, Event, Record
from .windows import Millis

Cursor = Mapping[str, Any]  # where a unit goes on: a JSON object that only its plugin reads


def time_in(cursor: Cursor, name: str, default: Millis = 0) -> Millis:
    """Return a time of a cursor. ConfigError if it is not a whole number: only a person or a
    failing disk can have written it."""
    value = cursor.get(name, default)
    if type(value) is not int:  # neither a bool nor a float
        raise damaged(name, value, "whole milliseconds since 1970")
    return value


def damaged(name: str, value: Any, allowed: str) -> ConfigError:
    """Return the error of a checkpoint with a value that siemtap never writes."""
    return ConfigError(
        f"the checkpoint's `{name}` is {str(value)[:60]!r}, and not {allowed}: nothing is read"
        " until it is corrected with `siemtap state set`, or deleted with `siemtap state delete`"
        " to start over"
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
    """What a receiver got in one piece.

    `channel`: webhook, udp, tcp, tls, replay. `path`: of a webhook, behind the secret. `received`:
    our clock. `headers`: content-type and content-encoding, if the sender set them.
    """

    body: bytes
    channel: str
    path: str = ""
    peer: str = ""
    received: Millis = 0
    headers: Mapping[str, str] = {}


class PeerText(str):
    """The text of a payload that is no record of its vendor, and who sent it."""

    peer: str

    def __new__(cls, text: str, peer: str) -> PeerText:
        value = super().__new__(cls, text)
        value.peer = peer
        return value


class Confirmation(NamedTuple):
    """What a sender asks to be confirmed before it sends events.

    `values`: what the plugin's `confirm` needs, as JSON values. `notice`: what a person has to do
    where nothing confirms it, or after that failed; the log shows it.
    """

    values: Mapping[str, Any]
    notice: str


class Records(NamedTuple):
    """Records of one dataset that a payload holds. `notices`: what is no event, but has to be read
    by a person; the log shows it. `confirmations`: what the sender asks for."""

    dataset: Dataset
    records: List[Record]
    notices: Tuple[str, ...] = ()
    confirmations: Tuple[Confirmation, ...] = ()


class Unreadable(NamedTuple):
    """A record of a plugin with `reads_events` that is no event. `event`: what is kept of it, as
    an event with an id; `reason`: why, and where it comes from."""

    event: Event
    reason: str


class Batch(NamedTuple):
    """Records that are delivered together, with the cursor that is valid once they are.

    `until`: the time read up to. `overlap`: how far before its cursor the plugin reads again; ids
    are remembered for as long. `lost`: times that the plugin gives up; each becomes an event.
    """

    dataset: Dataset
    records: List[Record]
    cursor: Cursor
    until: Millis
    overlap: Millis = 0
    lost: Tuple[Lost, ...] = ()


def query_time(dataset: Dataset, cursor: Cursor, now: Millis) -> Generator[Batch, None, Millis]:
    """Return the time of a query for a state, such as a list.

    It is saved before the query is sent: a query repeated after a crash has the same time, so that
    the same change has the same id.
    """
    if "asked" not in cursor:
        yield Batch(dataset, [], {**cursor, "asked": now}, now)
    return time_in(cursor, "asked", now)


class Mark(NamedTuple):
    """What is saved with a delivery: where the unit goes on, and the ids that may come again."""

    cursor: Cursor = {}
    seen: Mapping[str, Millis] = {}  # id -> end of the last window that returned it

    def after(
        self, batch: Batch, events: Iterable[Event], known: Optional[Set[str]] = None
    ) -> Tuple[List[Event], Mark]:
        """Return the events that are new, and the mark that is valid once they are delivered.

        An id is forgotten once the last window that returned it lies before the overlap: by time,
        never by count. `known`: ids that the feed remembers by itself; the mark then holds the new
        ids of this batch only.
        """
        arrived = {event["event"]["id"]: event for event in events}
        if known is None:
            horizon = batch.until - batch.overlap
            seen = {id: until for id, until in self.seen.items() if until >= horizon}
            fresh = list(arrived.values())
            again: Dict[str, Millis] = {}
            if not arrived.keys().isdisjoint(self.seen):
                fresh = [event for id, event in arrived.items() if id not in self.seen]
                again = {id: max(batch.until, seen[id]) for id in arrived if id in seen}
            seen.update(dict.fromkeys(arrived, batch.until))
            seen.update(again)
        else:
            fresh = [event for id, event in arrived.items() if id not in known]
            seen = {id: batch.until for id in arrived if id not in known}
        return fresh, Mark(batch.cursor, seen)

    def to_json(self) -> Dict[str, Any]:
        """Return {"cursor": {…}, "seen": {"<time>": [id, …]}}."""
        ids_by_time: Dict[Millis, List[str]] = {}
        for id, until in self.seen.items():
            ids_by_time.setdefault(until, []).append(id)
        seen = {str(until): ids for until, ids in ids_by_time.items()}
        return {"cursor": dict(self.cursor), "seen": seen}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Mark:
        """Read what `to_json` wrote. ValueError, TypeError or KeyError for anything else.

        A `version` is written by a later siemtap, whose marks this one cannot read: ConfigError.
        """
        if "version" in value:
            raise ConfigError(
                "the checkpoint was written by a newer version of siemtap. Nothing was changed."
                " Install that version again, or reset the checkpoint"
            )
        cursor = value["cursor"]
        if not isinstance(cursor, dict):
            raise ValueError("a mark's cursor is an object")
        return cls(cursor, {id: int(until) for until, ids in value["seen"].items() for id in ids})


class Option(NamedTuple):
    """An option of a command: `--name` with a value of the kind `value`; `flag`: without a value;
    `several`: any number of times."""

    name: str
    value: str
    help: str
    flag: bool = False
    several: bool = False


class CommandContext(NamedTuple):
    """What a command works with: one input's client and settings, and when its last event was
    received (0: none, or unknown)."""

    client: Any
    settings: Any
    last: Millis = 0


class Outcome(NamedTuple):
    """The result of a command for one of its arguments. `data`: for scripts."""

    subject: str
    ok: bool
    message: str
    data: Any = None


def run_each(subjects: Iterable[str], work: Callable[[str], Outcome]) -> Iterator[Outcome]:
    """Yield the outcome of each subject, one after the other. An error becomes a failed outcome."""
    for subject in subjects:
        try:
            yield work(subject)
        except SiemtapError as error:
            yield Outcome(subject, False, str(error))


class Command(NamedTuple):
    """A management call that a person makes. It is idempotent, and `collect` never makes it.

    `run(context, subjects, **options)` yields an Outcome for each subject. `subject`: the name of
    the arguments in the help text; empty: options only. `prints`: the output is the outcomes' data
    as JSON. `alert`: the label of the alert action in Splunk; empty: none.
    """

    name: str  # words; commands with the same first words make a group
    help: str
    run: Callable[..., Iterator[Outcome]]
    options: Tuple[Option, ...] = ()
    subject: str = "HOST"
    prints: bool = False
    alert: str = ""


def _no_client(settings: Any, http: Any) -> None:
    return None


def _no_units(client: Any, settings: Any) -> Iterable[Tuple[str, str]]:
    return ()


def _collect_nothing(client: Any, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    return iter(())


def _one(settings: Any) -> int:
    return 1


@dataclass(frozen=True)
class Plugin:
    """A vendor, as a value: its settings, its datasets, and how they are read: `connect`, `units`
    and `collect` if it is pulled, `receive` if it pushes."""

    name: str
    settings: Any  # a dataclass made with core.manifest
    datasets: Tuple[Dataset, ...]
    # (settings, http) -> the client: one per account, thread-safe. It sends nothing, and raises
    # ConfigError for settings that do not go together; a message that begins with one of them
    # (`lag` is …) is reported at its line
    connect: Callable[[Any, Any], Any] = _no_client
    # (client, settings) -> (dataset, scope) of each unit
    units: Callable[[Any, Any], Iterable[Tuple[str, str]]] = _no_units
    # (client, unit, cursor, now) -> batches; it ends, and never sleeps
    collect: Callable[[Any, Unit, Cursor, Millis], Iterator[Batch]] = _collect_nothing
    title: str = ""
    # the URL of the vendor's console, if it is the same for all customers
    portal: str = ""
    # of Elastic's package, besides "security"
    categories: Tuple[str, ...] = ()
    # the name of Splunk's add-on, behind "TA-"; by default that of the plugin
    addon: str = ""
    # (client): log in with the smallest request there is; raises the error
    check_login: Optional[Callable[[Any], Any]] = None
    # (settings, payload) -> records; pure
    receive: Optional[Callable[[Any, Payload], Iterator[Records]]] = None
    # payloads come by HTTP POST, too
    webhook: bool = False
    # (settings, http, confirmation) -> what the log says: confirm what a sender asks for, in the
    # shipper only; the same twice does no harm
    confirm: Optional[Callable[[Any, Any, Confirmation], str]] = None
    commands: Tuple[Command, ...] = ()
    # its records are events that another siemtap made: they pass unmapped (engine.passing)
    reads_events: bool = False
    # (settings) -> how many units of an input may be read at the same time
    parallel_units: Callable[[Any], int] = _one
    # the settings that give units; an input that sets none of them has none
    sources: Tuple[str, ...] = ()

    @property
    def pulls(self) -> bool:
        """Return whether it reads anything by itself."""
        return self.units is not _no_units

    def dataset(self, name: str) -> Dataset:
        """Return the dataset of this name."""
        return next(dataset for dataset in self.datasets if dataset.name == name)
