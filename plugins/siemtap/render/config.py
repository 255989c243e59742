"""Renders forms of settings: as JSON Schema, as sample.yml, as Markdown tables."""

from __future__ import annotations

import json
from typing import Any, Collection, Dict, Iterable, List, Mapping

from ..core.manifest import describe
from ..core.model import Plugin
from ..core.paths import put
from ..core.rows import Given
from ..core.settings import EVENT_SETTINGS, WEBHOOK_SETTINGS, CommonSettings, Connection, Receiving
from .kinds import rendering_of

PROCESSORS: Dict[str, Any] = {
    "title": "Processors",
    "description": (
        "A list of processors in the grammar of Filebeat: what is done with events before their"
        " delivery. Those of an input come before those of the file."
    ),
    "type": "array",
    "items": {"type": "object"},
}
DRAFT = "http://json-schema.org/draft-07/schema#"


def schema_of(form: Any) -> Dict[str, Any]:
    """Return the JSON Schema of a form: an object without other properties."""
    fields = describe(form)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {s["name"]: schema_of_setting(s) for s in fields},
        "required": [s["name"] for s in fields if s["required"]],
    }


def schema_of_setting(s: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the JSON Schema of a setting; `label`, `help` and `allowed` are shown in editors and
    errors."""
    schema = {
        "title": s["label"],
        "description": f"{s['help'].rstrip('.')}; {s['allowed']}." if "allowed" in s else s["help"],
        **rendering_of(s).schema(s),
    }
    if s["default"] not in (None, "", (), {}):
        schema["default"] = list(s["default"]) if isinstance(s["default"], tuple) else s["default"]
    return schema


def forms(plugin: Plugin) -> List[Any]:
    """Return the forms of an input: the plugin's settings and those that every input has."""
    calls = [] if plugin.reads_events else [Connection]
    return [plugin.settings, CommonSettings, *calls, *([Receiving] if plugin.receive else [])]


def absent_settings(plugin: Plugin) -> Collection[str]:
    """Return the settings of these forms that an input does not have: those of a webhook, if the
    vendor sends syslog only; those that change events, if these are read as they are."""
    if plugin.reads_events:
        return EVENT_SETTINGS
    return WEBHOOK_SETTINGS if plugin.receive and not plugin.webhook else ()


def input_schema(plugin: Plugin) -> Dict[str, Any]:
    """Return the JSON Schema of an entry under `inputs` of this plugin's type."""
    schema = merged(*forms(plugin))
    for name in absent_settings(plugin):
        del schema["properties"][name]
    schema["properties"] = {
        "type": {"const": plugin.name},
        **schema["properties"],
        "processors": PROCESSORS,
    }
    schema["required"] = ["type", *schema["required"]]
    return {"$schema": DRAFT, "title": f"siemtap input {plugin.name}", **schema}


def merged(*forms: Any) -> Dict[str, Any]:
    """Return the JSON Schema of one object with the settings of all forms."""
    schemas = [schema_of(form) for form in forms]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: s for schema in schemas for name, s in schema["properties"].items()},
        "required": [name for schema in schemas for name in schema["required"]],
    }


def output_schema(type: str, form: Any) -> Dict[str, Any]:
    """Return the JSON Schema of an entry under `outputs` of this type."""
    schema = schema_of(form)
    schema["properties"] = {"type": {"const": type}, **schema["properties"]}
    schema["required"] = ["type", *schema["required"]]
    return {"$schema": DRAFT, "title": f"siemtap output {type}", **schema}


def file_schema(
    top: Mapping[str, Any], outputs: Mapping[str, Any], plugins: Iterable[Plugin]
) -> Dict[str, Any]:
    """Return the JSON Schema of siemtap.yml.

    top: section -> form, "" for the settings at the top, a section before its subsections.
    outputs: name -> form.
    """
    schema = schema_of(top[""])
    for name, form in top.items():
        if name:
            put(schema["properties"], name, schema_of(form), between="properties")
    schema["properties"]["output"] = {
        "type": "object",
        "additionalProperties": False,
        "maxProperties": 1,
        "properties": {
            name: {**schema_of(form), "type": ["object", "null"]} for name, form in outputs.items()
        },
    }
    schema["properties"]["outputs"] = {
        "title": "Outputs",
        "description": (
            "Outputs by name: each has a `type` and its settings. An input names in `output` those"
            " that get its events."
        ),
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z0-9_-]{1,64}$"},
        "additionalProperties": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": list(outputs)}},
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
    schema["properties"]["processors"] = PROCESSORS
    schema["required"] = [*schema["required"], "inputs"]
    return {"$schema": DRAFT, "title": "siemtap.yml", **schema}


def sample(plugin: Plugin) -> str:
    """Return a sample.yml: an entry under `inputs` with every setting. Required settings refer to
    environment variables; the others are commented out, with their defaults."""
    lines = ["inputs:", f"  - type: {plugin.name}"]
    for form in forms(plugin):
        for s in describe(form):
            if s["name"] in absent_settings(plugin):
                continue
            if s["required"]:
                variable = f"{plugin.name}_{s['name']}".upper()
                line = f"{s['name']}: ${{{variable}}}"
            else:
                line = f"# {s['name']}: {as_yaml(s['default'])}"
            lines += ["", f"    ## {s['help']}", f"    {line}"]
    return "\n".join(lines) + "\n"


def as_yaml(value: Any) -> str:
    """Return a value as YAML (JSON)."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def settings_table(form: Any) -> str:
    """Return a form's settings as a Markdown table."""
    rows = ["| setting | default | |", "|---|---|---|"]
    for s in describe(form):
        if s["required"]:
            default = "**required**"
        elif s["default"] in ("", (), {}):
            default = ""
        else:
            default = f"`{as_yaml(s['default']).strip(chr(34))}`"
        options = ""
        if "options" in s:
            options = f" One of {', '.join(f'`{option}`' for option in s['options'])}."
        rows.append(f"| `{s['name']}` | {default} | {s['help']}{options} |")
    return "\n".join(rows)


def fields_table(plugin: Plugin) -> str:
    """Return the plugin's field mapping as Markdown tables, one a dataset."""
    lines: List[str] = []
    for dataset in plugin.datasets:
        lines += [f"**{dataset.name}**", "", "| source | event field |", "|---|---|"]
        for row in dataset.rows:
            target = (row.target,) if isinstance(row.target, str) else row.target
            if isinstance(row, Given):
                source = f"setting `{row.setting}`"
            else:
                names = (row.source,) if isinstance(row.source, str) else row.source
                source = ", ".join(f"`{name}`" for name in names)
            lines.append(f"| {source} | {', '.join(f'`{path}`' for path in target)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def plugins_table(plugins: Iterable[Plugin]) -> str:
    """Return a Markdown table of all plugins."""
    rows = ["| plugin | vendor | datasets |", "|---|---|---|"]
    rows += [
        f"| [`{plugin.name}`](plugins/{plugin.name}/README.md) | {plugin.title} |"
        f" {', '.join(f'`{dataset.name}`' for dataset in plugin.datasets)} |"
        for plugin in plugins
    ]
    return "\n".join(rows)
