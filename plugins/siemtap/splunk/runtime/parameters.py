"""The parameters of a stanza: which there are, and what they mean without an account."""

from __future__ import annotations

import re
from typing import Any, Dict, Optional

from ...core.convert import instant, millis_of
from ...core.errors import ConfigError
from ...core.manifest import describe, fill_in, kind_of
from ...core.model import Plugin
from ...core.windows import Millis

# Parameters that Splunk itself may pass with a stanza
STANDARD_PARAMETERS = (
    "name",
    "interval",
    "index",
    "host",
    "source",
    "sourcetype",
    "disabled",
    "python.version",
    "python.required",
    "start_by_shell",
)


def settings_without_account(plugin: Plugin, values: Dict[str, Any]) -> Any:
    """Return the plugin's settings from an input's values alone.

    A placeholder stands for each required setting, as those come from the account.
    """
    described = describe(plugin.settings)
    filled: Dict[str, Any] = {}
    for s in described:
        if s["required"]:
            filled[s["name"]] = kind_of(s).placeholder
    filled.update({s["name"]: values[s["name"]] for s in described if s["name"] in values})
    return fill_in(plugin.settings, filled)


def parse_start(value: str) -> Optional[Millis]:
    """Return the time of a `start` parameter, or None if it is empty.

    Raise ConfigError if it is neither a date nor a time in UTC.
    """
    if not value:
        return None
    try:
        return millis_of(instant(value if "T" in value else f"{value}T00:00Z"))
    except ValueError:
        raise ConfigError(
            f'start is "{value}"; write a date or a time in UTC, such as 2026-11-01 or'
            " 2026-11-01T06:00Z"
        ) from None


# The fields of a cron expression: name, lowest and highest number (inputs.conf.spec, `interval`:
# "<minute> <hour> <day of month> <month> <day of week>", without names of months or days). 7 is
# Sunday, too.
CRON_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 7),
)
CRON_PART = re.compile(r"(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?")


def check_interval(value: str) -> None:
    """Raise ConfigError for an interval that is neither seconds nor a cron expression.

    0 and -1, with which Splunk starts a script without a pause, or only once, are refused.
    """
    fields = value.split()
    if len(fields) == len(CRON_FIELDS):
        for field, (name, lowest, highest) in zip(fields, CRON_FIELDS):
            if not all(_is_cron_part(part, lowest, highest) for part in field.split(",")):
                raise ConfigError(
                    f'interval is "{value}", and "{field}" is no {name} of a cron expression; write'
                    f" *, numbers from {lowest} to {highest}, ranges such as {lowest}-{highest},"
                    " lists with commas, or steps such as */5"
                )
        return
    match = re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]+)?", value)
    is_seconds = bool(match) and float(value) >= 1
    if value and not is_seconds:
        raise ConfigError(
            f'interval is "{value}"; write a number of seconds, at least 1, or a cron expression of'
            " five fields"
        )


def _is_cron_part(part: str, lowest: int, highest: int) -> bool:
    match = CRON_PART.fullmatch(part)
    if not match:
        return False
    first_text, last_text, step = match.groups()
    first = int(first_text) if first_text else lowest
    last = int(last_text) if last_text else first
    return lowest <= first <= last <= highest and (step is None or int(step) > 0)
