"""What to say about a vendor whose clock differs from this machine's."""

from __future__ import annotations

from typing import Any, Iterator, Tuple

from ..edge.client.http import Http

SKEW_WARNING = 60_000  # milliseconds


def skew_warnings(http: Http) -> Iterator[Tuple[str, str]]:
    """Yield (host, warning) of each host whose clock differs by more than SKEW_WARNING."""
    for host, skew in list(http.skew.items()):
        if abs(skew) > SKEW_WARNING:
            yield (
                host,
                f"the clock of {host} differs from this machine's by {skew / 1000:.0f} s: check"
                " both, or raise `lag`",
            )


def ahead_warning(http: Http, settings: Any) -> str:
    """Return that this machine's clock is ahead of the vendor's by more than `lag`, or ""."""
    ahead = http.ahead()
    if ahead <= getattr(settings, "lag", 0):
        return ""
    hosts = ", ".join(sorted(http.clock_readings))
    return (
        f"the clock of this machine is ahead of {hosts} by {ahead / 1000:.0f} s or more:"
        " synchronize it (NTP), or raise `lag` if the vendor's clock is behind; siemtap reads up to"
        " the vendor's time only"
    )
