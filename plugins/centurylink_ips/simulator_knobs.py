"""Settings of the simulated vendor: what the vendor's page leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from siemtap.testing.vendor import CommonKnobs

# "classes" are those of Deep Security other than intrusion prevention, in CEF, LEEF and JSON.
USUAL = ("json", "array", "wrapper", "slack", "form", "deep_security", "cef", "classes")
# What few senders do: a line without header and time, an envelope of Amazon SNS, relays before each
# other, a time of the event's own, LEEF.
FORMATS = (*USUAL, "cef_line", "sns", "relayed", "cef_rt", "leef")


@dataclass
class Knobs(CommonKnobs):
    """What is unknown about the real service. Comments list the other values."""

    seed: int = 1
    rate: float = 0.01  # events per second
    formats: Tuple[str, ...] = USUAL  # FORMATS
    twice: int = 0  # every n-th event is sent twice; 0: none
    token_life: float = 14 * 86_400.0  # seconds
    foreign_account: int = 403  # 404
    unknown_server: int = 404  # 400
    second_install: int = 204  # 409
    nothing_set: str = "list"  # 404
    interval_key: str = "intervalCode"  # IntervalCod
    reject_slack: bool = False
    reject_unknown_keys: bool = False
    quoted_numbers: bool = False  # are accepted
    delete_twice: int = 204  # 404
    error_style: str = "message"  # modelState, error, list, text, html, empty
    # Another client changes the list after each read.
    meddle: bool = False
