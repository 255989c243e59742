"""gzip of a request's body."""

from __future__ import annotations

import gzip
from typing import Any

from isal import igzip

from ..core.manifest import integer

FASTEST = 3  # the highest level that ISA-L takes over from zlib
ISAL_LEVEL = 1  # its levels 1 and 2 differ by a hundredth in size, and 3 is slower than zlib's 1


def level_of_gzip() -> Any:
    """Return the setting `compression_level` of an output."""
    return integer(
        "Compression level",
        1,
        least=0,
        most=9,
        help=(
            "Level of gzip: 1 to 3 are fast (ISA-L), 4 to 9 smaller (zlib); 0 turns compression"
            " off."
        ),
    )


def compress(body: bytes, level: int) -> bytes:
    """Return a body as gzip. `level`: 1 to 9, as zlib counts them.

    Levels 1 to 3 are Intel's ISA-L, which takes a fifth of the time of zlib's level 1 for a body
    that is a twentieth smaller; from 4 on zlib makes it smaller still.
    """
    if level <= FASTEST:
        compressed: bytes = igzip.compress(body, ISAL_LEVEL)
        return compressed
    return gzip.compress(body, level)
