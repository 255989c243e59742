"""Write events to standard output as splunkd reads them: a stream of XML elements.

A whole event is an element without `unbroken`, without `<done/>` and without a newline: solnlib
7.0.0 refuses `done` there (modular_input/event.py line 85). `unbroken="1"` marks a fragment.
splunkd joins the fragments of a channel until `<done/>` ends them. Only an event that is too large
for one element is written in fragments.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import BinaryIO, Dict, Iterator, List, Optional, Set
from xml.sax.saxutils import escape, quoteattr

from ...core.model import Mark, Plugin, Unit
from ...core.rows import Event
from ...edge.encode import write
from ...edge.splunk.serializer import Serializer, sourcetype, time_of
from ...engine.protocols import Rejections, Sink
from .splunkd import error_summary

MAX_ELEMENT_BYTES = 1_000_000  # of an event in one element; libxml2 accepts a text of 10,000,000
LINE_ENDS = {"\r": "&#13;"}  # a reader of XML makes another line end of it
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class PipeClosed(BaseException):
    """splunkd no longer reads the pipe, or a write failed halfway: no attempt may contain it."""


class Pipe:
    """The output to splunkd. Delivered means written and flushed: splunkd sends no acknowledgement.

    Any event can be written. The only error is PipeClosed.
    """

    together = False

    def __init__(self, plugin: Plugin, stanza: str, out: BinaryIO) -> None:
        self.stanza = stanza
        self.out = out
        self.lock = threading.Lock()
        name = xml_text(stanza)
        source = f"<source>{escape(name, LINE_ENDS)}</source>"
        self.serializer = Serializer(plugin.datasets, error_summary)
        # elements that name source and sourcetype
        self.metadata: Dict[str, bytes] = {
            dataset.name: f"{source}<sourcetype>{sourcetype(dataset.name)}</sourcetype>".encode()
            for dataset in plugin.datasets
        }
        self.event_tag = f"<event stanza={quoteattr(name)}>".encode()
        self.fragment_tag = f'<event stanza={quoteattr(name)} unbroken="1">'.encode()
        self.written = 0
        self.unreported: Counter[str] = Counter()  # dataset -> events since the last report
        self.is_open = False
        self.is_ended = False

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Write the events and flush; reject none. Raise PipeClosed if the stream has ended."""
        with self.lock:
            if self.is_ended:  # by a stop signal, or by a write that failed inside an element
                raise PipeClosed
            parts = [] if self.is_open else [b"<stream>"]
            for event in events:
                self._add(event, parts)
            self._write(b"".join(parts))
            self.is_open = True
            self.written += len(events)
            self.unreported.update(event["event"]["dataset"] for event in events)
        return []

    def take_counts(self) -> Dict[str, int]:
        """Return how many events of each dataset were written since the last call."""
        with self.lock:
            counts, self.unreported = self.unreported, Counter()
        return counts

    def close(self) -> None:
        """End the stream once. A stop signal meanwhile waits."""
        SignalGuard.enter()
        try:
            with self.lock:
                if not self.is_ended:
                    self.is_ended = True
                    self._write(b"</stream>\n" if self.is_open else b"<stream></stream>\n")
        finally:
            SignalGuard.leave()

    def _add(self, event: Event, parts: List[bytes]) -> None:
        """Add an event's element, or its fragments, of which the last has `<done/>`."""
        line = self.serializer.line(event)
        metadata = self.metadata[event["event"]["dataset"]] + _time(event)
        if len(line) <= MAX_ELEMENT_BYTES:
            parts += (self.event_tag, metadata, b"<data>", escape_line(line), b"</data></event>\n")
            return
        for piece in split_utf8(line, MAX_ELEMENT_BYTES):
            data = escape_line(piece)
            parts += (self.fragment_tag, metadata, b"<data>", data, b"</data></event>\n")
        parts[-1] = b"</data><done/></event>\n"

    def _write(self, data: bytes) -> None:
        try:
            write(self.out, data)
        except (OSError, ValueError) as error:
            self.is_ended = True  # half an element may be written: nothing may follow it
            raise PipeClosed from error

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return None: an input cannot search what is indexed."""
        return None


class SignalGuard:
    """A wrapper around an output that defers a stop signal until the events' mark is saved."""

    busy = 0  # deliveries in progress, of all threads
    lock = threading.Lock()

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    @classmethod
    def enter(cls) -> None:
        with cls.lock:
            cls.busy += 1

    @classmethod
    def leave(cls) -> None:
        with cls.lock:
            cls.busy -= 1

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Deliver the events with their mark, undisturbed by a signal."""
        self.enter()
        try:
            return self.sink.deliver(unit, events, mark)
        finally:
            self.leave()


def xml_text(text: str) -> str:
    """Return a text with U+FFFD for each character that XML 1.0 cannot carry, escaped or not
    (https://www.w3.org/TR/xml/#charsets)."""
    return NOT_XML.sub("\ufffd", text)


def escape_line(line: bytes) -> bytes:
    """Return a line of JSON escaped for XML. JSON already escapes what XML cannot carry."""
    return line.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")


def split_utf8(line: bytes, limit: int) -> Iterator[bytes]:
    """Yield UTF-8 in pieces of at most `limit` bytes that split no character."""
    start = 0
    while start < len(line):
        stop = min(start + limit, len(line))
        while stop < len(line) and line[stop] & 0xC0 == 0x80:  # inside a character
            stop -= 1
        yield line[start:stop]
        start = stop


def _time(event: Event) -> bytes:
    """Return `<time>` in seconds, or nothing for an event whose time Splunk extracts."""
    millis = time_of(event)
    return b"" if millis is None else b"<time>%d.%03d</time>" % divmod(millis, 1000)
