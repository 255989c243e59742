"""The settings of an input that reads a chosen time range: `siemtap run --from --to`."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Tuple

from ..core.convert import rfc3339
from ..core.windows import Millis

log = logging.getLogger("siemtap")


def settings_of(
    input: str, settings: Any, time_range: Tuple[Millis, Millis], now: Millis
) -> Tuple[Any, Tuple[Millis, Millis]]:
    """Return the settings that read a range, and (its start, the `now` to read it with).

    A plugin gets the range as `now` and `lookback` only: `lag: 0` could break rules of its own.
    So its `now` is the end of the range plus the lag, but never in the future: events younger than
    the lag may still change.
    """
    start, stop = time_range
    lag = getattr(settings, "lag", 0)
    if stop + lag > now:
        log.info(
            "%s: reads up to %s: events younger than `lag` (%d s) may still change",
            input,
            rfc3339(max(start, now - lag)),
            lag // 1000,
        )
    end = min(stop + lag, now)
    return replace(settings, lookback=max(0, end - start)), (start, end)
