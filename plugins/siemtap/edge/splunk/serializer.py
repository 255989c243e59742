"""An event as Splunk indexes it: its line (`_raw`), its time, its sourcetype."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Iterable, Optional

from ...core.convert import millis_of
from ...core.rows import Dataset, Event
from ...core.windows import Millis
from ..encode import encode
from .compact import whole
from .lines import line_encoder

log = logging.getLogger("siemtap")

MAX_DEPTH = 20  # levels kept of an event that cannot be encoded


class Serializer:
    """Serializes the events of some datasets. Any event can be serialized.

    `describe`: what the log says of the error of an event that cannot be encoded; never its text,
    which may have a secret.
    """

    def __init__(
        self,
        datasets: Iterable[Dataset],
        describe: Callable[[BaseException], str] = lambda error: type(error).__name__,
    ) -> None:
        self.describe = describe
        self.encoders: Dict[str, Callable[[Event], bytes]] = {
            dataset.name: line_encoder(dataset) for dataset in datasets
        }

    def line(self, event: Event) -> bytes:
        """Return the event's line of JSON; of a pipeline_error if the event cannot be encoded."""
        encoder = self.encoders.get(event["event"]["dataset"], _encode_whole)
        try:
            line = encoder(event)
        except Exception as error:  # the events after it must still be written
            log.error(
                "an event cannot be encoded (%s); a pipeline_error is sent", self.describe(error)
            )
            line = encoder(_encoding_error(event))
        # which XML 1.0 (2.2) discourages in the stream to splunkd
        return line.replace(b"\x7f", b"\\u007f")


def _encode_whole(event: Event) -> bytes:
    """Return the line of an event whose plugin is not installed any more."""
    return encode(whole(event))


def sourcetype(dataset: str) -> str:
    """Return a dataset's sourcetype: `acme:event` for `acme.event`."""
    return dataset.replace(".", ":", 1)


def time_of(event: Event) -> Optional[Millis]:
    """Return an event's time; None before 1970, or if `@timestamp` is no time.

    Splunk gets no time then, and extracts the timestamp from the event, as props.conf says.
    """
    try:
        millis = millis_of(event["@timestamp"])
    except ValueError:
        return None
    return millis if millis >= 0 else None


def _encoding_error(event: Event) -> Event:
    """Return the event as a pipeline_error with the same id, cut at MAX_DEPTH levels."""
    name = event["event"]["dataset"]
    cut: Event = _cut_below(MAX_DEPTH, event)
    cut["event"]["kind"] = "pipeline_error"
    cut["error"] = {
        "message": (
            f"an event of {name} cannot be encoded; values nested deeper than {MAX_DEPTH} levels"
            " are left out"
        )
    }
    return cut


def _cut_below(levels: int, value: Any) -> Any:
    """Return a value with empty objects and lists below so many levels."""
    if isinstance(value, dict):
        items = value.items() if levels else ()
        return {str(name): _cut_below(levels - 1, inner) for name, inner in items}
    if isinstance(value, (list, tuple)):
        return [_cut_below(levels - 1, inner) for inner in (value if levels else ())]
    return value
