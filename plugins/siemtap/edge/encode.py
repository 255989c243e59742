"""Events as JSON in UTF-8. Only what a reader cannot carry is escaped, and what UTF-8 cannot carry
is replaced."""

from __future__ import annotations

import json
import math
import re
from typing import Any, BinaryIO, Dict, Optional

from ..core.rows import Event

orjson: Any
try:
    import orjson
except ImportError:  # a Splunk add-on carries no compiled code
    orjson = None

PLAIN = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False
).encode
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACED = "replaced_surrogate"  # the tag of an event with a lone surrogate
UNSAFE = re.compile(rb"\xc2[\x80-\x9f]|\xef\xbf[\xbe\xbf]")  # C1 controls, U+FFFE, U+FFFF


def encode(event: Event) -> bytes:
    """Return an event as one line of JSON, without a line end.

    Escaped are control characters, C1 controls, U+FFFE and U+FFFF only. A lone surrogate becomes
    U+FFFD, since many readers of JSON refuse it, and the event gets the tag REPLACED. What was
    written while the event was mapped is not written again.
    """
    line: Optional[bytes] = getattr(event, "line", None)  # of a WrittenEvent
    if line is not None:
        return line
    try:
        line = orjson.dumps(event) if orjson else PLAIN(event).encode()
        return line if line.isascii() else _escape(line)
    # a lone surrogate, an integer beyond 64 bits, NaN or infinity
    except (TypeError, ValueError):
        text = _dumps(event)
        if LONE_SURROGATE.search(text):
            text = _dumps({**event, "tags": [*event.get("tags", ()), REPLACED]})
        return _escape(LONE_SURROGATE.sub("\ufffd", text).encode())


def _dumps(event: Event) -> str:
    return json.dumps(_portable(event), ensure_ascii=False, separators=(",", ":"), default=str)


def _portable(value: Any) -> Any:
    """Return a value with null for NaN and infinity, as orjson writes them, and with names that
    stay different when their lone surrogates are replaced."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        portable: Dict[Any, Any] = {}
        written = set()
        for name, inner in value.items():
            while LONE_SURROGATE.sub("\ufffd", str(name)) in written:
                name = f"{name}\ufffd"
            written.add(LONE_SURROGATE.sub("\ufffd", str(name)))
            portable[name] = _portable(inner)
        return portable
    if isinstance(value, (list, tuple)):
        return [_portable(inner) for inner in value]
    return value


def _escape(line: bytes) -> bytes:
    if b"\xc2" not in line and b"\xef\xbf" not in line:  # a tenth of the time of the expression
        return line
    return UNSAFE.sub(lambda match: b"\\u%04x" % ord(match[0].decode()), line)


def write(out: BinaryIO, data: bytes) -> None:
    """Write all bytes, and flush.

    A raw file may take only a part of a write that a signal interrupts. Standard output is raw
    under PYTHONUNBUFFERED.
    """
    left = memoryview(data)
    while left:
        left = left[out.write(left) or 0 :]
    out.flush()
