"""Event -> JSON in UTF-8, without escapes for what UTF-8 can carry; and the way of its bytes
into a file or a pipe."""

from __future__ import annotations

import json
import math
import re
from typing import Any, BinaryIO

from ..core.mapping import Event

orjson: Any
try:
    import orjson
except ImportError:  # an add-on carries nothing that was compiled
    orjson = None

PLAIN = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False
).encode
LONE = re.compile("[\ud800-\udfff]")
UNSAFE = re.compile(rb"\xc2[\x80-\x9f]|\xef\xbf[\xbe\xbf]")  # C1 controls, U+FFFE, U+FFFF


def encode(event: Event) -> bytes:
    """One line, without its end. Escaped are only control characters, C1 controls, lone
    surrogates, U+FFFE and U+FFFF."""
    try:
        line = orjson.dumps(event) if orjson else PLAIN(event).encode()
        return line if line.isascii() else _escaped(line)
    # a lone surrogate, a number beyond 64 bits, or one that is none
    except (TypeError, ValueError):
        text = json.dumps(_finite(event), ensure_ascii=False, separators=(",", ":"), default=str)
        return _escaped(LONE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode())


def _finite(value: Any) -> Any:
    """Return a value with null for each float that JSON does not have, as orjson writes them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def _escaped(line: bytes) -> bytes:
    return UNSAFE.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line)


def write(out: BinaryIO, said: bytes) -> None:
    """All of it, and on its way. A raw file takes what it likes of a write that a signal
    interrupts, and standard output is one under PYTHONUNBUFFERED."""
    left = memoryview(said)
    while left:
        left = left[out.write(left) or 0 :]
    out.flush()
