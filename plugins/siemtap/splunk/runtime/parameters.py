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


def check_interval(value: str) -> None:
    """Raise ConfigError for an interval that is neither seconds nor a cron expression."""
    match = re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]+)?", value)
    is_seconds = bool(match) and float(value) >= 1
    is_cron = len(value.split()) == 5
    if value and not is_seconds and not is_cron:
        raise ConfigError(
            f'interval is "{value}"; write a number of seconds, at least 1, or a cron expression of'
            " five fields"
        )
