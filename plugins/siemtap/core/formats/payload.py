"""The text of a received payload, decompressed within a limit."""

from __future__ import annotations

import zlib
from typing import Iterator

from ..errors import Malformed
from ..model import Payload

# Bytes of a body after decompression. As text it may take four times as much memory.
MAX_BODY = 8 * 1024 * 1024


def text_of(payload: Payload) -> str:
    """Return the decompressed text of a payload. Bytes that are not UTF-8 become escapes such as
    `\\x82`, so that two payloads that differ in them stay different."""
    body = payload.body
    encoding = payload.headers.get("content-encoding", "").strip().lower()
    if "gzip" in encoding:
        body = b"".join(_gzip_members(body))
    elif encoding not in ("", "identity"):
        raise Malformed(f"unknown content encoding: {encoding[:40]}")
    return body.decode("utf-8-sig", "backslashreplace")


def _gzip_members(body: bytes) -> Iterator[bytes]:
    """Yield the members of a gzip file, of which there may be several (RFC 1952, 2.2)."""
    left = MAX_BODY
    while body:
        unpacker = zlib.decompressobj(31)
        try:
            member = unpacker.decompress(body, left + 1)
        except zlib.error:
            raise Malformed("Content-Encoding is gzip, but the body is not") from None
        left -= len(member)
        if not unpacker.eof or left < 0:
            raise Malformed(f"truncated gzip, or more than {MAX_BODY} bytes")
        yield member
        body = unpacker.unused_data.lstrip(b"\0")
