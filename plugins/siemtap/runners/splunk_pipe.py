"""Standard output as splunkd reads it: a stream of events in XML, each ended where splunkd ends it by itself.

A whole event is an element without `unbroken`: it takes no `<done/>` (solnlib 7.0.0 refuses the pair, modular_input/event.py line 78)
and no newline. `unbroken="1"` marks a fragment, which is glued to those of its channel until `<done/>` ends them; so is written
only what is too large for one element.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, BinaryIO, Iterator, List, Optional, Set
from xml.sax.saxutils import escape, quoteattr

from .. import contract
from ..core.convert import millis_of
from ..core.mapping import Event
from ..core.model import Mark, Plugin, Unit
from ..outputs.compact import compact
from ..outputs.encode import encode, write
from .names import sourcetype
from .splunkd import summary

log = logging.getLogger("siemtap")

PIECE = 1_000_000       # bytes of an event in one element; an XML parser's own bound for a text is ten times that (libxml2)
DEEPEST = 20            # levels of an event that could not be encoded as it is


class Gone(Exception):
    """Nobody reads our pipe any more."""


class Pipe:
    """Standard output. Safe means written and flushed; Splunk offers no more than that. Any event can be written; only a broken pipe raises."""

    together = False

    def __init__(self, plugin: Plugin, stanza: str, out: BinaryIO) -> None:
        self.stanza, self.out = stanza, out
        self.lock = threading.Lock()
        rules = contract.read("cim.json")["datasets"]
        self.small = {dataset.name: compact(dataset, rules.get(dataset.name, {})) for dataset in plugin.datasets}
        self.tags = {dataset.name: (f"<source>{escape(stanza)}</source><sourcetype>{sourcetype(dataset.name)}</sourcetype>").encode() for dataset in plugin.datasets}
        self.whole, self.fragment = f"<event stanza={quoteattr(stanza)}>".encode(), f'<event stanza={quoteattr(stanza)} unbroken="1">'.encode()
        self.written, self.open, self.ended = 0, False, False

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> None:
        with self.lock:
            parts = [] if self.open else [b"<stream>"]
            for event in events:
                self._add(event, parts)
            self._write(b"".join(parts))
            self.open = True
            self.written += len(events)

    def close(self) -> None:
        """The end of the stream, once, whoever tells us to stop meanwhile."""
        Undisturbed.enter()
        try:
            with self.lock:
                if not self.ended:
                    self.ended = True
                    self._write(b"</stream>\n" if self.open else b"<stream></stream>\n")
        finally:
            Undisturbed.leave()

    def _add(self, event: Event, parts: List[bytes]) -> None:
        """An event's element, or those of its pieces, the last of which is done."""
        name, line = event["event"]["dataset"], self._line(event)
        tags = self.tags[name] + _time(event)
        if len(line) <= PIECE:
            parts += (self.whole, tags, b"<data>", escaped(line), b"</data></event>\n")
            return
        for piece in pieces(line, PIECE):
            parts += (self.fragment, tags, b"<data>", escaped(piece), b"</data></event>\n")
        parts[-1] = b"</data><done/></event>\n"

    def _line(self, event: Event) -> bytes:
        try:
            return encode(self.small[event["event"]["dataset"]](event))
        except Exception as error:      # it must not hold up those behind it
            log.error("an event could not be encoded as it is (%s); it is sent as a pipeline_error", summary(error))
            return encode(_unwritable(event))

    def _write(self, data: bytes) -> None:
        try:
            write(self.out, data)
        except (OSError, ValueError) as error:      # what came of it nobody knows: no word goes after it
            self.ended = True
            raise Gone from error

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return None         # Splunk cannot be asked from here


class Undisturbed:
    """Around an output: who tells us to stop waits for the events' mark."""

    busy = 0
    lock = threading.Lock()

    def __init__(self, output: Any) -> None:
        self.output = output

    @classmethod
    def enter(cls) -> None:
        with cls.lock:
            cls.busy += 1

    @classmethod
    def leave(cls) -> None:
        with cls.lock:
            cls.busy -= 1

    def deliver(self, unit: Unit, events: List[Event], mark: Mark) -> None:
        self.enter()
        try:
            self.output.deliver(unit, events, mark)
        finally:
            self.leave()


def escaped(line: bytes) -> bytes:
    """What XML reads otherwise; all else that it cannot carry is escaped in the JSON already."""
    return line.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b"\x7f", b"\\u007f")


def pieces(line: bytes, most: int) -> Iterator[bytes]:
    """UTF-8 in pieces of at most so many bytes, no character cut in two."""
    start = 0
    while start < len(line):
        stop = min(start + most, len(line))
        while stop < len(line) and line[stop] & 0xC0 == 0x80:       # inside a character
            stop -= 1
        yield line[start:stop]
        start = stop


def _time(event: Event) -> bytes:
    """`<time>` in seconds; nothing for a moment before 1970, or one that cannot be read: Splunk then reads the event itself, as props.conf says."""
    try:
        at = millis_of(event["@timestamp"])
    except ValueError:
        return b""
    return b"<time>%d.%03d</time>" % divmod(at, 1000) if at >= 0 else b""


def _unwritable(event: Event) -> Event:
    """The same event, as much of it as can be had: the same id and time, its parts down to a depth that every encoder takes."""
    cut: Event = _down_to(DEEPEST, {name: value for name, value in event.items() if name != "error"})
    cut["event"]["kind"] = "pipeline_error"
    cut["error"] = {"message": f"an event of {event['event']['dataset']} could not be encoded as it is; what lies deeper than {DEEPEST} levels is left out"}
    return cut


def _down_to(levels: int, value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _down_to(levels - 1, below) for name, below in value.items()} if levels else {}
    if isinstance(value, (list, tuple)):
        return [_down_to(levels - 1, below) for below in value] if levels else []
    return value
