"""Declares settings: a form is a frozen dataclass, and each field is one setting of a kind.

Kinds: text, secret, choice, duration, switch, integer, port, url; many for a list, table for names
and values. `describe` returns a form as plain data, which every renderer reads; `fill_in` turns
configured values into an instance of the form. Every kind takes `label` and `help`, which
administrators read in Splunk, Kibana and sample.yml, and a default; without one it is required.

A kind is declared in two places: KINDS, at the end of this file, has what it means where values are
read; `render.kinds` has what it means to the forms and schemas that are rendered. A test fails for
a kind that only one of them has.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit

from .convert import instant, millis_of
from .errors import ConfigError
from .windows import Millis

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION = r"^[0-9]+(ms|s|m|h|d)$"
INTEGER = r"^-?[0-9]+$"
URL = r"^https?://[^\s/?#]+(/[^\s?#]*)?$"
TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
REQUIRED: Any = dataclasses.MISSING


def setting(kind: str, label: str, default: Any, help: str, **more: Any) -> Any:
    """Return a dataclass field for a setting; `more` is what its kind needs, such as `least`."""
    metadata = {"kind": kind, "label": label, "help": help, **more}
    is_secret = KINDS[kind].is_secret
    if isinstance(default, (list, dict)):
        return dataclasses.field(
            default_factory=lambda: type(default)(default),
            metadata={**metadata, "default": default},
        )
    return dataclasses.field(default=default, metadata=metadata, repr=not is_secret)


def text(label: str, default: Any = REQUIRED, *, help: str, **more: Any) -> Any:
    """Declare a text. `pattern`: a regular expression it must match; `allowed`: the pattern in
    words."""
    return setting("text", label, default, help, **more)


def secret(label: str, default: Any = REQUIRED, *, help: str, **more: Any) -> Any:
    """Declare a text that no repr, log line or error shows; stored encrypted where the SIEM can."""
    return setting("secret", label, default, help, **more)


def choice(label: str, *options: str, help: str, **more: Any) -> Any:
    """Declare a choice of one of the options; the first is the default."""
    return setting("choice", label, options[0], help, options=options, **more)


def duration(label: str, default: Any = REQUIRED, *, help: str, **more: Any) -> Any:
    """Declare a duration: a number and a unit, such as 30s, 5m, 12h or 1d. Its value is in
    milliseconds. `least` and `most` are durations too."""
    return setting("duration", label, default, help, **more)


def switch(label: str, default: bool = False, *, help: str, **more: Any) -> Any:
    """Declare a true-or-false setting."""
    return setting("switch", label, default, help, **more)


def integer(label: str, default: Any = REQUIRED, *, help: str, **more: Any) -> Any:
    """Declare a whole number between `least` and `most`."""
    return setting("integer", label, default, help, **more)


def port(label: str, default: Any = REQUIRED, *, help: str, **more: Any) -> Any:
    """Declare a port number, 0 to 65535."""
    return setting("integer", label, default, help, least=0, most=65535, **more)


def url(label: str, default: Any = REQUIRED, *, help: str, **more: Any) -> Any:
    """Declare an http:// or https:// URL: a host and an optional path. Its value has no trailing
    slash."""
    return setting("url", label, default, help, **more)


def text_list(label: str, default: Iterable[str] = (), *, help: str, **more: Any) -> Any:
    """Declare a list of texts; one text with commas means the same. `options`: the allowed texts;
    `pattern`: what each must match."""
    return setting("many", label, tuple(default), help, **more)


def table(
    label: str, default: Optional[Mapping[str, Any]] = None, *, help: str, **more: Any
) -> Any:
    """Declare a table of names and values. `values`: the whole numbers that are allowed as
    values."""
    return setting("table", label, dict(default or {}), help, **more)


def parse_duration(duration: str) -> int:
    """Return a duration such as 30s or 5m in milliseconds."""
    match = re.fullmatch(r"([0-9]+)(ms|s|m|h|d)", str(duration).strip())
    if not match:
        raise ConfigError(
            f'"{duration}" is not a duration; use a number and a unit, such as 30s, 5m, 12h or 1d'
        )
    return int(match[1]) * UNITS[match[2]]


def parse_time(text: str) -> Millis:
    """Return a time such as 2026-03-04T10:00Z in milliseconds. No zone means UTC."""
    try:
        return millis_of(instant(text))
    except ValueError:
        raise ConfigError(f'"{text}" is not a time; write it like 2026-03-04T10:00Z') from None


def describe(form: Any) -> List[Dict[str, Any]]:
    """Return the form as plain data, one dict a setting: name, kind, label, help, required,
    default, and what else its kind declares."""
    settings = []
    for field in dataclasses.fields(form):
        required = field.default is REQUIRED and field.default_factory is REQUIRED
        default = None if field.default is REQUIRED else field.default
        settings.append(
            {
                "name": field.name,
                **field.metadata,
                "required": required,
                "default": field.metadata.get("default", default),
            }
        )
    return settings


def kind_of(s: Mapping[str, Any]) -> Kind:
    """Return the kind of a setting that `describe` returns."""
    return KINDS[s["kind"]]


def fill_in(form: Any, given: Mapping[str, Any]) -> Any:
    """Return an instance of the form with the configured values, checked and converted.

    A ConfigError names the setting, what is allowed, and the setting that was probably meant.
    """
    settings = {s["name"]: s for s in describe(form)}
    for name in given:
        if name not in settings:
            raise ConfigError(
                f'there is no setting "{name}"{suggest(name, settings)}; there are'
                f" {', '.join(settings)}"
            )
    values = {}
    for name, s in settings.items():
        value = given.get(name)
        if value is None or (value == "" and not kind_of(s).keeps_empty):
            if s["required"]:
                raise ConfigError(f"{name} ({s['label']}) is missing. {s['help']}")
            value = s["default"]
        if value is not None and value != "":
            value = _checked(s, value)
        values[name] = value
    return form(**values)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "interval"?` for a name close to a known one, else ""."""
    close = similar(name, known)
    return f'; did you mean "{close[0]}"?' if close else ""


def similar(name: str, known: Iterable[str]) -> List[str]:
    """Return the known name that is closest to a name, in a list; an empty one if none is."""
    return difflib.get_close_matches(name, list(known), 1, 0.6)


def _checked(s: Mapping[str, Any], raw: Any) -> Any:
    """Return a configured value as its setting's kind reads it. ConfigError names the setting."""
    try:
        return kind_of(s).read(s, raw)
    except ConfigError as error:
        raise ConfigError(f"{s['name']}: {error.message}") from None


def _text(s: Mapping[str, Any], raw: Any) -> str:
    if isinstance(raw, (dict, list, tuple)):
        raise ConfigError("must be a text")
    value = str(raw)
    if "pattern" in s and not re.search(s["pattern"], value):
        shown = "this value" if kind_of(s).is_secret else f'"{value}"'
        raise ConfigError(f"{shown} is not allowed; {s['allowed']}")
    return value


def _choice(s: Mapping[str, Any], raw: Any) -> str:
    if raw not in s["options"]:
        raise ConfigError(
            f'"{raw}" is not one of {", ".join(s["options"])}{suggest(str(raw), s["options"])}'
        )
    return str(raw)


def _duration(s: Mapping[str, Any], raw: Any) -> int:
    value = parse_duration(raw)
    if value < parse_duration(s.get("least", "0s")) or (
        "most" in s and value > parse_duration(s["most"])
    ):
        raise ConfigError(
            f'"{raw}" is not between {s.get("least", "0s")} and {s.get("most", "any length")}'
        )
    return value


def _switch(s: Mapping[str, Any], raw: Any) -> bool:
    value = TRUTH.get(str(raw).lower())
    if value is None:
        raise ConfigError(f'"{raw}" is neither true nor false')
    return value


def _integer(s: Mapping[str, Any], raw: Any) -> int:
    if isinstance(raw, bool) or not re.search(INTEGER, str(raw)) or len(str(raw)) > 20:
        raise ConfigError(f'"{str(raw)[:60]}" is not a whole number')
    value = int(raw)
    if value < s.get("least", value) or value > s.get("most", value):
        raise ConfigError(
            f"{value} is not between {s.get('least', 'any')} and {s.get('most', 'any')}"
        )
    return value


def _url(s: Mapping[str, Any], raw: Any) -> str:
    value = str(raw).strip()
    if value == s.get("default") == "":  # the URL follows from another setting
        return value
    try:
        parts = urlsplit(value)
        is_odd = bool(parts.username or parts.password)
    except ValueError:  # [::1 without its other bracket
        is_odd = True
    if not re.search(URL, value) or is_odd:
        raise ConfigError(
            "must look like https://host.example.com/path, without a user, a query or blanks"
        )
    return value.rstrip("/")


def _many(s: Mapping[str, Any], raw: Any) -> Tuple[str, ...]:
    items = [part.strip() for part in raw.split(",")] if isinstance(raw, str) else list(raw)
    if any(isinstance(item, (dict, list)) for item in items):
        raise ConfigError("must be a list of texts")
    values = tuple(dict.fromkeys(str(item) for item in items if item != ""))
    for value in values:
        if "options" in s and value not in s["options"]:
            raise ConfigError(
                f'"{value}" is not one of {", ".join(s["options"])}{suggest(value, s["options"])}'
            )
        if "pattern" in s and not re.search(s["pattern"], value):
            raise ConfigError(f'"{value}" is not allowed; {s["allowed"]}')
    return values


def _table(s: Mapping[str, Any], raw: Any) -> Dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise ConfigError("must be a table of names and values")
    if "values" in s:
        allowed = [str(value) for value in s["values"]]
        for name, value in raw.items():
            if str(value) not in allowed:
                raise ConfigError(f'"{value}" for {name} is not one of {", ".join(allowed)}')
        return {str(name): int(value) for name, value in raw.items()}
    return {str(name): value for name, value in raw.items()}


class Kind(NamedTuple):
    """What a kind of setting means where its values are read."""

    read: Callable[[Mapping[str, Any], Any], Any]  # (setting, configured value) -> checked value
    placeholder: str = "x"  # stands for the value of a required setting that is not at hand
    keeps_empty: bool = False  # an empty text is a value; otherwise it means the default
    is_secret: bool = False
    has_addresses: bool = False  # its value may say where secrets are sent
    is_json: bool = False  # in a conf file of Splunk, where every value is a text


KINDS: Dict[str, Kind] = {
    "text": Kind(_text, keeps_empty=True),
    "secret": Kind(_text, is_secret=True),
    "choice": Kind(_choice),
    "duration": Kind(_duration, placeholder="1m"),
    "switch": Kind(_switch),
    "integer": Kind(_integer, placeholder="1"),
    "url": Kind(_url, placeholder="https://example.com", has_addresses=True),
    "many": Kind(_many, has_addresses=True),
    "table": Kind(_table, is_json=True),
}
