"""Write standard output as splunkd reads it: a stream of events in XML.

A whole event is an element without `unbroken`, without `<done/>` and without a newline: solnlib
7.0.0 refuses `done` there (modular_input/event.py line 85). `unbroken="1"` marks a fragment, which
splunkd glues to those of its channel until `<done/>` ends them. Only what is too large for one
element is written in fragments.
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

PIECE = 1_000_000  # bytes of an event in one element; libxml2 takes ten times that as a text
DEEPEST = 20  # levels kept of an event that cannot be encoded as it is


class Gone(Exception):
    """Nobody reads our pipe any more."""


class Pipe:
    """Standard output. Safe means written and flushed; Splunk offers no more than that.

    Any event can be written. Gone, when the pipe breaks, is the only error.
    """

    together = False

    def __init__(self, plugin: Plugin, stanza: str, out: BinaryIO) -> None:
        self.stanza, self.out = stanza, out
        self.lock = threading.Lock()
        rules = contract.read("cim.json")["datasets"]
        self.small = {
            dataset.name: compact(dataset, rules.get(dataset.name, {}))
            for dataset in plugin.datasets
        }
        source = f"<source>{escape(stanza)}</source>"
        self.tags = {
            dataset.name: f"{source}<sourcetype>{sourcetype(dataset.name)}</sourcetype>".encode()
            for dataset in plugin.datasets
        }
        self.whole = f"<event stanza={quoteattr(stanza)}>".encode()
        self.fragment = f'<event stanza={quoteattr(stanza)} unbroken="1">'.encode()
        self.written, self.open, self.ended = 0, False, False

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> None:
        with self.lock:
            if self.ended:  # by somebody who told us to stop, or in the middle of an element
                raise Gone
            parts = [] if self.open else [b"<stream>"]
            for event in events:
                self._add(event, parts)
            self._write(b"".join(parts))
            self.open = True
            self.written += len(events)

    def close(self) -> None:
        """End the stream, once, whoever tells us to stop meanwhile."""
        Undisturbed.enter()
        try:
            with self.lock:
                if not self.ended:
                    self.ended = True
                    self._write(b"</stream>\n" if self.open else b"<stream></stream>\n")
        finally:
            Undisturbed.leave()

    def _add(self, event: Event, parts: List[bytes]) -> None:
        """Add an event's element, or those of its pieces, the last of which is done."""
        line = self._line(event)
        tags = self.tags[event["event"]["dataset"]] + _time(event)
        if len(line) <= PIECE:
            parts += (self.whole, tags, b"<data>", escaped(line), b"</data></event>\n")
            return
        for piece in pieces(line, PIECE):
            parts += (self.fragment, tags, b"<data>", escaped(piece), b"</data></event>\n")
        parts[-1] = b"</data><done/></event>\n"

    def _line(self, event: Event) -> bytes:
        try:
            return encode(self.small[event["event"]["dataset"]](event))
        except Exception as error:  # it must not hold up those behind it
            log.error("an event cannot be encoded (%s); a pipeline_error is sent", summary(error))
            return encode(_shallow(event))

    def _write(self, data: bytes) -> None:
        try:
            write(self.out, data)
        except (OSError, ValueError) as error:  # half of it may be there: nothing goes behind
            self.ended = True
            raise Gone from error

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return None  # Splunk cannot be asked from here


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
    """Escape what XML reads otherwise; the JSON has escapes already for what XML cannot carry."""
    line = line.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return line.replace(b"\x7f", b"\\u007f")


def pieces(line: bytes, most: int) -> Iterator[bytes]:
    """Cut UTF-8 into pieces of at most so many bytes, and no character in two."""
    start = 0
    while start < len(line):
        stop = min(start + most, len(line))
        while stop < len(line) and line[stop] & 0xC0 == 0x80:  # inside a character
            stop -= 1
        yield line[start:stop]
        start = stop


def _time(event: Event) -> bytes:
    """Return `<time>` in seconds, or nothing for a moment before 1970 and one that cannot be read.

    Where there is none, Splunk looks for the time in the event, as props.conf says.
    """
    try:
        at = millis_of(event["@timestamp"])
    except ValueError:
        return b""
    return b"<time>%d.%03d</time>" % divmod(at, 1000) if at >= 0 else b""


def _shallow(event: Event) -> Event:
    """Return the event as a pipeline_error with the same id, cut at a depth that encoders take."""
    name = event["event"]["dataset"]
    cut: Event = _down_to(DEEPEST, event)
    cut["event"]["kind"] = "pipeline_error"
    cut["error"] = {
        "message": (
            f"an event of {name} cannot be encoded; what lies deeper than {DEEPEST} levels"
            " is left out"
        )
    }
    return cut


def _down_to(levels: int, value: Any) -> Any:
    if isinstance(value, dict):
        inner = value.items() if levels else ()
        return {str(name): _down_to(levels - 1, below) for name, below in inner}
    if isinstance(value, (list, tuple)):
        return [_down_to(levels - 1, below) for below in (value if levels else ())]
    return value
