"""The check of a configuration against its JSON Schema, and its errors in words."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping, Optional, Set

import jsonschema_rs

from ...core.manifest import DURATION, suggest
from ...render import registry
from . import filebeat

# of the lists whose entries are sections
ENTRIES = {"inputs": "type: …", "processors": "drop_event: …"}


class Validator:
    """A JSON Schema of draft-07. jsonschema is the authority and finds what is wrong; it is
    imported only for a value that the compiled validator does not accept, as its import takes
    longer than the rest of a start."""

    def __init__(self, schema: Dict[str, Any]) -> None:
        self.schema = schema
        self.compiled = jsonschema_rs.Draft7Validator(schema, validate_formats=False)

    def iter_errors(self, value: Any) -> Iterable[Any]:
        """Return the errors of a value, as jsonschema has them."""
        try:
            if self.compiled.is_valid(value):
                return ()
        except ValueError:  # it cannot be read, such as a lone surrogate
            pass
        import jsonschema

        return jsonschema.Draft7Validator(self.schema).iter_errors(value)


def describe_problem(error: Any, name: Any, written: Optional[str]) -> str:
    """Return what is wrong with the value of a setting, and what is allowed. `written`: the
    value as it is in the file, if that is another text."""
    schema, value = error.schema, error.instance
    shown = f'"{value if written is None else written}"'
    if isinstance(value, dict):
        shown = "a section"
    elif isinstance(value, list):
        shown = "a list"
    elif value is None:
        shown = "empty"
    elif schema.get("writeOnly"):
        shown = "not allowed"
    kinds = schema.get("type")
    if schema.get("pattern") == DURATION:
        return f" is {shown}; use a number and a unit, such as 30s, 5m, 12h or 1d"
    if error.validator == "enum":
        allowed = list(map(str, schema["enum"]))
        if name == "type" and str(value) in registry.broken():
            return f": {registry.broken()[str(value)]}"
        if name == "type" and value in filebeat.TYPES:
            return f" is {shown}, an input of Filebeat; allowed are {', '.join(allowed)}"
        return (
            f" is {shown}{suggest(str(value), allowed)}; allowed are {', '.join(allowed)}".replace(
                "?; allowed", "? Allowed"
            )
        )
    if error.validator == "maxProperties":
        return (
            f": only one output is allowed here; found {', '.join(value)}. Name several in"
            " `outputs`"
        )
    if kinds == "array":
        entry = ENTRIES.get(name, "…")
        return f" is {shown}; it must be a list with at least one entry, such as `- {entry}`"
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        return f" is {shown}; it must be a section: settings of its own, indented below it"
    return f" is {shown}; {_expected(schema)}. {schema.get('description', '')}".rstrip()


def _expected(schema: Mapping[str, Any]) -> str:
    """Return what a value must be, in words."""
    options = schema.get("anyOf", [schema])
    kinds: Set[str] = set()
    for option in options:
        kind = option.get("type", ())
        kinds.update([kind] if isinstance(kind, str) else kind)
    if "integer" in kinds:
        bounds = next(option for option in options if option.get("type") == "integer")
        least, most = bounds.get("minimum"), bounds.get("maximum")
        limits = f" from {least} to {most}" if most is not None else f", at least {least}"
        return f"it must be a whole number{limits if least is not None else ''}"
    if "array" in kinds:
        return "it must be a list of texts, or one text with commas"
    if "boolean" in kinds and "number" not in kinds:
        return "it must be true or false"
    if "pattern" in schema and "http" in schema["pattern"]:
        return "it must look like https://host.example.com, with http:// or https://"
    return "it must be one text of another form" if "pattern" in schema else "it must be one text"
