"""Settings, declared once: a frozen dataclass whose fields read like the form a person fills in.

Kinds: text secret choice duration switch integer port url, and for lists and tables: many, table. A
form is data: `describe` is what every renderer reads, `fill_in` is what turns answers into values.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from .errors import ConfigError

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
NEEDED: Any = dataclasses.MISSING


def setting(kind: str, label: str, default: Any, help: str, **more: Any) -> Any:
    metadata = {"kind": kind, "label": label, "help": help, **more}
    if isinstance(default, (list, dict)):
        return dataclasses.field(
            default_factory=lambda: type(default)(default),
            metadata={**metadata, "default": default},
        )
    return dataclasses.field(default=default, metadata=metadata, repr=kind != "secret")


def text(label: str, default: Any = NEEDED, *, help: str, **more: Any) -> Any:
    return setting("text", label, default, help, **more)


def secret(label: str, default: Any = NEEDED, *, help: str, **more: Any) -> Any:
    """Never shown: not in a repr, a log line or an error; encrypted where the SIEM can."""
    return setting("secret", label, default, help, **more)


def choice(label: str, *options: str, help: str, **more: Any) -> Any:
    """One of the options; the first is the default."""
    return setting("choice", label, options[0], help, options=options, **more)


def duration(label: str, default: Any = NEEDED, *, help: str, **more: Any) -> Any:
    """A number and a unit, such as 30s, 5m, 12h or 1d; milliseconds once filled in. `least`,
    `most`: spelled alike."""
    return setting("duration", label, default, help, **more)


def switch(label: str, default: bool = False, *, help: str, **more: Any) -> Any:
    return setting("switch", label, default, help, **more)


def integer(label: str, default: Any = NEEDED, *, help: str, **more: Any) -> Any:
    """A whole number between `least` and `most`."""
    return setting("integer", label, default, help, **more)


def port(label: str, default: Any = NEEDED, *, help: str, **more: Any) -> Any:
    return setting("integer", label, default, help, least=0, most=65535, **more)


def url(label: str, default: Any = NEEDED, *, help: str, **more: Any) -> Any:
    """http:// or https://, a host, perhaps a path; without a slash at the end once filled in."""
    return setting("url", label, default, help, **more)


def many(label: str, default: Iterable[str] = (), *, help: str, **more: Any) -> Any:
    """A list of texts, from `options` or of a `pattern` where given; one text with commas means
    the same."""
    return setting("many", label, tuple(default), help, **more)


def table(
    label: str, default: Optional[Mapping[str, Any]] = None, *, help: str, **more: Any
) -> Any:
    """Name -> value, as given. `values`: the whole numbers that a value may be."""
    return setting("table", label, dict(default or {}), help, **more)


def millis(spelled: str) -> int:
    found = re.fullmatch(r"([0-9]+)(ms|s|m|h|d)", str(spelled).strip())
    if not found:
        raise ConfigError(
            f'"{spelled}" is no duration; use a number and a unit, such as 30s, 5m, 12h or 1d'
        )
    return int(found[1]) * UNITS[found[2]]


def describe(form: Any) -> List[Dict[str, Any]]:
    """The form as plain data: name, kind, label, help, required, default, and what else was
    declared."""
    return [
        {
            "name": f.name,
            **f.metadata,
            "required": f.default is NEEDED and f.default_factory is NEEDED,
            "default": f.metadata.get("default", None if f.default is NEEDED else f.default),
        }
        for f in dataclasses.fields(form)
    ]


def fill_in(form: Any, given: Mapping[str, Any]) -> Any:
    """The form with a person's answers as values. ConfigError names the key, what is allowed, a
    likely typo."""
    settings = {s["name"]: s for s in describe(form)}
    for name in given:
        if name not in settings:
            raise ConfigError(
                f'there is no setting "{name}"{guess(name, settings)}; there are'
                f" {', '.join(settings)}"
            )
    values = {}
    for name, s in settings.items():
        said = given.get(name)
        if said is None or (said == "" and s["kind"] != "text"):
            if s["required"]:
                raise ConfigError(f"{name} ({s['label']}) is missing. {s['help']}")
            said = s["default"]
        if said is not None and said != "":
            said = _checked(s, said)
        values[name] = said
    return form(**values)


def guess(name: str, known: Iterable[str]) -> str:
    """`; did you mean "interval"?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def _checked(s: Mapping[str, Any], said: Any) -> Any:
    try:
        return KINDS[s["kind"]](s, said)
    except ConfigError as error:
        raise ConfigError(f"{s['name']}: {error.what}") from None


def _text(s: Mapping[str, Any], said: Any) -> str:
    if isinstance(said, (dict, list, tuple)):
        raise ConfigError("must be a text")
    value = str(said)
    if "pattern" in s and not re.search(s["pattern"], value):
        shown = "this value" if s["kind"] == "secret" else f'"{value}"'
        raise ConfigError(f"{shown} is not allowed; {s['allowed']}")
    return value


def _choice(s: Mapping[str, Any], said: Any) -> str:
    if said not in s["options"]:
        raise ConfigError(
            f'"{said}" is not one of {", ".join(s["options"])}{guess(str(said), s["options"])}'
        )
    return str(said)


def _duration(s: Mapping[str, Any], said: Any) -> int:
    value = millis(said)
    if value < millis(s.get("least", "0s")) or ("most" in s and value > millis(s["most"])):
        raise ConfigError(
            f'"{said}" is not between {s.get("least", "0s")} and {s.get("most", "any length")}'
        )
    return value


def _switch(s: Mapping[str, Any], said: Any) -> bool:
    value = TRUTH.get(str(said).lower())
    if value is None:
        raise ConfigError(f'"{said}" is neither true nor false')
    return value


def _integer(s: Mapping[str, Any], said: Any) -> int:
    if isinstance(said, bool) or not re.search(INTEGER, str(said)):
        raise ConfigError(f'"{said}" is not a whole number')
    value = int(said)
    if value < s.get("least", value) or value > s.get("most", value):
        raise ConfigError(
            f"{value} is not between {s.get('least', 'any')} and {s.get('most', 'any')}"
        )
    return value


def _url(s: Mapping[str, Any], said: Any) -> str:
    value = str(said).strip()
    parts = urlsplit(value)
    if not re.search(URL, value) or parts.username or parts.password:
        raise ConfigError(
            "must look like https://host.example.com/path, without a user, a query or blanks"
        )
    return value.rstrip("/")


def _many(s: Mapping[str, Any], said: Any) -> Tuple[str, ...]:
    items = [part.strip() for part in said.split(",")] if isinstance(said, str) else list(said)
    if any(isinstance(item, (dict, list)) for item in items):
        raise ConfigError("must be a list of texts")
    values = tuple(dict.fromkeys(str(item) for item in items if item != ""))
    for value in values:
        if "options" in s and value not in s["options"]:
            raise ConfigError(
                f'"{value}" is not one of {", ".join(s["options"])}{guess(value, s["options"])}'
            )
        if "pattern" in s and not re.search(s["pattern"], value):
            raise ConfigError(f'"{value}" is not allowed; {s["allowed"]}')
    return values


def _table(s: Mapping[str, Any], said: Any) -> Dict[str, Any]:
    if not isinstance(said, Mapping):
        raise ConfigError("must be a table of names and values")
    if "values" in s:
        for name, value in said.items():
            if str(value) not in map(str, s["values"]):
                raise ConfigError(
                    f'"{value}" for {name} is not one of {", ".join(map(str, s["values"]))}'
                )
        return {str(name): int(value) for name, value in said.items()}
    return {str(name): value for name, value in said.items()}


KINDS: Dict[str, Callable[[Mapping[str, Any], Any], Any]] = {
    "text": _text,
    "secret": _text,
    "choice": _choice,
    "duration": _duration,
    "switch": _switch,
    "integer": _integer,
    "url": _url,
    "many": _many,
    "table": _table,
}
