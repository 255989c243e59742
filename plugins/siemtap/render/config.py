"""Forms -> JSON Schema, sample.yml, tables."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterable, List, Mapping

from ..core.forms import Connection, Every, Receiving
from ..core.manifest import DURATION, INTEGER, URL, describe
from ..core.model import Plugin

DRAFT = "http://json-schema.org/draft-07/schema#"


def schema_of(form: Any) -> Dict[str, Any]:
    """One form as a strict object. `label` and `allowed` are words for errors and editors."""
    fields = describe(form)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {s["name"]: schema_of_setting(s) for s in fields},
        "required": [s["name"] for s in fields if s["required"]],
    }


def schema_of_setting(s: Mapping[str, Any]) -> Dict[str, Any]:
    schema = {
        "title": s["label"],
        "description": f"{s['help'].rstrip('.')}; {s['allowed']}." if "allowed" in s else s["help"],
        **KINDS[s["kind"]](s),
    }
    if s["default"] not in (None, "", (), {}):
        schema["default"] = list(s["default"]) if isinstance(s["default"], tuple) else s["default"]
    return schema


def _text(s: Mapping[str, Any]) -> Dict[str, Any]:
    schema: Dict[str, Any] = {
        "type": (
            ["string", "number", "boolean"]
            if s["kind"] == "secret" or "pattern" not in s
            else "string"
        )
    }
    if "pattern" in s:
        schema["pattern"] = f"^$|{s['pattern']}"
    if s["kind"] == "secret":
        schema["writeOnly"] = True
    return schema


def _choice(s: Mapping[str, Any]) -> Dict[str, Any]:
    return {"enum": list(s["options"])}


def _integer(s: Mapping[str, Any]) -> Dict[str, Any]:
    bounds = {name: s[key] for name, key in (("minimum", "least"), ("maximum", "most")) if key in s}
    return {"anyOf": [{"type": "integer", **bounds}, {"type": "string", "pattern": INTEGER}]}


def _many(s: Mapping[str, Any]) -> Dict[str, Any]:
    item = {"enum": list(s["options"])} if "options" in s else {"type": ["string", "number"]}
    return {"anyOf": [{"type": "array", "items": item}, {"type": "string"}]}


KINDS: Dict[str, Callable[[Mapping[str, Any]], Dict[str, Any]]] = {
    "text": _text,
    "secret": _text,
    "choice": _choice,
    "integer": _integer,
    "many": _many,
    "duration": lambda s: {"type": "string", "pattern": DURATION},
    "switch": lambda s: {"type": ["boolean", "string"]},
    "url": lambda s: {"type": "string", "pattern": URL},
    "table": lambda s: {"type": "object"},
}


def forms(plugin: Plugin) -> List[Any]:
    """What a person fills in for an input: the plugin's own, and those that it need not declare."""
    return [plugin.settings, Every, Connection, *([Receiving] if plugin.receive else [])]


def input_schema(plugin: Plugin) -> Dict[str, Any]:
    """One entry under `inputs` of this plugin's type: its own form and those that every input
    has."""
    schema = merged(*forms(plugin))
    schema["properties"] = {"type": {"const": plugin.name}, **schema["properties"]}
    schema["required"] = ["type", *schema["required"]]
    return {"$schema": DRAFT, "title": f"siemtap input {plugin.name}", **schema}


def merged(*forms: Any) -> Dict[str, Any]:
    schemas = [schema_of(form) for form in forms]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: s for schema in schemas for name, s in schema["properties"].items()},
        "required": [name for schema in schemas for name in schema["required"]],
    }


def file_schema(
    top: Mapping[str, Any], outputs: Mapping[str, Any], plugins: Iterable[Plugin]
) -> Dict[str, Any]:
    """The whole siemtap.yml. `top`: section -> form, "" for what stands at the top itself,
    `setup.kibana` after `setup`; `outputs`: name -> form."""
    schema = schema_of(top[""])
    for name, form in top.items():  # a section before the sections in it
        *parents, last = name.split(".")
        place = schema["properties"]
        for parent in parents:
            place = place[parent]["properties"]
        if name:
            place[last] = schema_of(form)
    schema["properties"]["output"] = {
        "type": "object",
        "additionalProperties": False,
        "maxProperties": 1,
        "properties": {
            name: {**schema_of(form), "type": ["object", "null"]} for name, form in outputs.items()
        },
    }
    schema["properties"]["inputs"] = {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": [plugin.name for plugin in plugins]}},
        },
    }
    schema["required"] = [*schema["required"], "inputs"]
    return {"$schema": DRAFT, "title": "siemtap.yml", **schema}


def sample(plugin: Plugin) -> str:
    """An entry under `inputs` with everything in it: what is needed to fill in, the rest
    commented out with its default."""
    lines = ["inputs:", f"  - type: {plugin.name}"]
    for form in forms(plugin):
        for s in describe(form):
            given = (
                f"${{{plugin.name.upper()}_{s['name'].upper()}}}"
                if s["required"]
                else spelled(s["default"])
            )
            lines += [
                "",
                f"    ## {s['help']}",
                f"    {'' if s['required'] else '# '}{s['name']}: {given}",
            ]
    return "\n".join(lines) + "\n"


def spelled(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def settings_table(form: Any) -> str:
    """Markdown."""
    rows = ["| setting | default | |", "|---|---|---|"]
    for s in describe(form):
        default = (
            "**needed**"
            if s["required"]
            else ""
            if s["default"] in ("", (), {})
            else f"`{spelled(s['default']).strip(chr(34))}`"
        )
        options = (
            f" One of {', '.join(f'`{option}`' for option in s['options'])}."
            if "options" in s
            else ""
        )
        rows.append(f"| `{s['name']}` | {default} | {s['help']}{options} |")
    return "\n".join(rows)


def fields_table(plugin: Plugin) -> str:
    """Markdown: what the vendor says -> what we say, row by row."""
    lines: List[str] = []
    for dataset in plugin.datasets:
        lines += [f"**{dataset.name}**", "", "| the vendor's | ours |", "|---|---|"]
        for row in dataset.rows:
            theirs = getattr(row, "theirs", None) or f"setting {getattr(row, 'setting', '')}"
            ours = (row.ours,) if isinstance(row.ours, str) else row.ours
            names = (theirs,) if isinstance(theirs, str) else theirs
            lines.append(
                f"| {', '.join(f'`{name}`' for name in names)}"
                f" | {', '.join(f'`{path}`' for path in ours)} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def plugins_table(plugins: Iterable[Plugin]) -> str:
    rows = ["| plugin | vendor | datasets |", "|---|---|---|"]
    rows += [
        f"| [`{plugin.name}`](plugins/{plugin.name}/README.md) | {plugin.title} |"
        f" {', '.join(f'`{dataset.name}`' for dataset in plugin.datasets)} |"
        for plugin in plugins
    ]
    return "\n".join(rows)
