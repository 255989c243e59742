"""The section `queue`."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.manifest import integer


@dataclass(frozen=True)
class Queue:
    """The section `queue`: events that wait for one of several outputs."""

    max_bytes: int = integer(
        "Maximum size",
        10 * 1024**3,
        least=1024**2,
        help=(
            "Of an input with several outputs: how many bytes of events may wait in `path.data` for"
            " one of them, such as while it is down. Above it the inputs of that output wait, too."
        ),
    )
