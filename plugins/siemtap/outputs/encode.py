"""Event -> JSON in UTF-8, without escapes for what UTF-8 can carry."""

from __future__ import annotations

import json
import re

import orjson

from ..core.mapping import Event

LONE = re.compile("[\ud800-\udfff]")


def encode(event: Event) -> bytes:
    """One line, without its end. A lone surrogate, which UTF-8 cannot carry, is escaped."""
    try:
        return orjson.dumps(event)
    except (TypeError, ValueError):     # a lone surrogate, or a number beyond 64 bits
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"), default=str)
        return LONE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
