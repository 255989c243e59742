"""Manifest and mapping -> an add-on: UCC's globalConfig, and what Splunk knows of our
sourcetypes. Pure; `packaging/addons.py` builds it."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterable, List, Mapping, Set, Tuple

from ..core.forms import Connection
from ..core.manifest import DURATION, describe, millis
from ..core.mapping import Dataset
from ..core.model import Plugin
from ..outputs.compact import doubles
from ..runners.names import addon, of_account, of_input, of_webhook, sourcetype, webhook
from .datasets import schema_of

NAME = r"^[a-zA-Z]\w*$"
START = r"^$|^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z?)?$"
UCC_SCHEMA = "0.0.10"
Conf = Dict[str, Dict[str, str]]  # stanza -> key -> value


def text(stanzas: Conf) -> str:
    """A conf file."""
    return "\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in keys.items()), ""])
        for name, keys in stanzas.items()
    )


# The pages

SKIP = {
    "type": "checkbox",
    "field": "skip_test",
    "label": "Save without a test",
    "required": False,
    "help": (
        "An account is kept once the vendor has let us in. Tick this where the machine of this page"
        " has no way out, and another one collects."
    ),
}


def global_config(plugin: Plugin, version: str) -> Dict[str, Any]:
    app = addon(plugin)
    accounts = {
        "name": "account",
        "title": "Accounts",
        "table": {
            "header": [{"field": "name", "label": "Name"}, *_columns(of_account(plugin))],
            "actions": ["edit", "clone", "delete"],
        },
        "entity": [_name("account"), *map(_entity, of_account(plugin)), SKIP],
        "restHandlerModule": f"{app.root}_pages",
        "restHandlerClass": "AccountHandler",
    }
    return {
        "pages": {
            "configuration": {
                "title": "Configuration",
                "description": f"Who we are to {plugin.title}, and how to reach it",
                "tabs": [accounts, _proxy(), {"type": "loggingTab"}, _advanced()],
            },
            "inputs": {
                "title": "Inputs",
                "description": f"What to read from {plugin.title}",
                "table": {
                    "header": [
                        {"field": "name", "label": "Name"},
                        {"field": "account", "label": "Account"},
                        {"field": "interval", "label": "Interval"},
                        {"field": "index", "label": "Index"},
                        {"field": "disabled", "label": "Status"},
                    ],
                    "moreInfo": [
                        {"field": "name", "label": "Name"},
                        {"field": "account", "label": "Account"},
                        {"field": "interval", "label": "Interval"},
                        {"field": "index", "label": "Index"},
                        {
                            "field": "disabled",
                            "label": "Status",
                            "mapping": {"true": "Inactive", "false": "Active"},
                        },
                    ],
                    "actions": ["edit", "delete", "clone"],
                },
                "services": _services(plugin),
            },
        },
        "meta": {
            "name": app.name,
            "restRoot": app.root,
            "version": version,
            "displayName": f"{plugin.title} Add-on for Splunk",
            "schemaVersion": UCC_SCHEMA,
            "supportedThemes": ["light", "dark"],
            "supportedPythonVersion": ["3.9", "3.13"],
            "checkForUpdates": False,
        },
    }


def _services(plugin: Plugin) -> List[Dict[str, Any]]:
    app = addon(plugin)
    made = [
        {
            "name": app.kind,
            "title": plugin.title,
            "entity": list(_input_entities(plugin)),
            "groups": _groups(plugin),
            "restHandlerModule": f"{app.root}_pages",
            "restHandlerClass": "InputHandler",
        }
    ]
    if plugin.webhook:
        fields = of_webhook(plugin)
        late = [
            s["name"]
            for s in fields
            if s["name"] not in ("listen", "secret", "certificate", "key", "networks")
        ]
        made.append(
            {
                "name": webhook(app).kind,
                "title": f"{plugin.title}, webhook on a heavy forwarder",
                "groups": [
                    {
                        "label": "Advanced",
                        "fields": late,
                        "options": {"isExpandable": True, "expand": False},
                    }
                ],
                "entity": [
                    _name("input"),
                    {
                        "type": "interval",
                        "field": "interval",
                        "label": "Interval",
                        "help": "Seconds until it is started again, if it ends.",
                        "required": True,
                        "defaultValue": "10",
                    },
                    _index(),
                    *(
                        {**_entity(s), "required": s["name"] in ("listen", "secret")}
                        for s in fields
                    ),
                ],
            }
        )
    return made


def _index() -> Dict[str, Any]:
    return {
        "type": "index",
        "field": "index",
        "label": "Index",
        "help": "Where the events go.",
        "required": True,
        "defaultValue": "default",
    }


def _input_entities(plugin: Plugin) -> Iterable[Dict[str, Any]]:
    yield _name("input")
    yield {
        "type": "singleSelect",
        "field": "account",
        "label": "Account",
        "help": "One of those on the configuration page.",
        "required": True,
        "options": {"referenceName": "account"},
    }
    yield {
        "type": "interval",
        "field": "interval",
        "label": "Interval",
        "help": "Seconds between two cycles, or a cron expression.",
        "required": True,
        "defaultValue": _seconds(plugin),
    }
    yield _index()
    if any(s["name"] == "lookback" for s in of_input(plugin)):
        yield {
            "type": "text",
            "field": "start",
            "label": "Start",
            "required": False,
            "validators": [
                {
                    "type": "regex",
                    "pattern": START,
                    "errorMsg": (
                        "A day or a moment in UTC, such as 2026-11-01 or 2026-11-01T06:00Z."
                    ),
                }
            ],
            "help": (
                "A day, or a moment in UTC: read from there instead of First look back. Change it,"
                " and the input reads from there again: Splunk then has twice what it had already."
            ),
        }
    for s in of_input(plugin):
        yield _entity(s)
    yield {
        "type": "checkbox",
        "field": "reset",
        "label": "Begin afresh",
        "required": False,
        "help": (
            "Tick and save to forget what was read: the input begins again at Start or First look"
            " back."
        ),
    }
    yield {
        "type": "text",
        "field": "generation",
        "label": "Generation",
        "required": False,
        "options": {"display": False},
    }
    yield {
        "type": "singleSelect",
        "field": "checkpoint",
        "label": "Checkpoint",
        "help": "file: only where the KV store is switched off; it then stays on this instance.",
        "defaultValue": "kvstore",
        "options": {
            "disableSearch": True,
            "autoCompleteFields": [
                {"value": "kvstore", "label": "KV store"},
                {"value": "file", "label": "File"},
            ],
        },
    }


def _groups(plugin: Plugin) -> List[Dict[str, Any]]:
    """What stands behind `interval` in the manifest is for whoever knows why; but everybody
    should see how far back the first run reads."""
    names = [s["name"] for s in describe(plugin.settings)]
    late = set(names[names.index("interval") :]) - {"lookback"} if "interval" in names else set()
    fields = [s["name"] for s in of_input(plugin) if s["name"] in late or s["name"] not in names]
    return [
        {
            "label": "Advanced",
            "fields": [*fields, "checkpoint"],
            "options": {"isExpandable": True, "expand": False},
        }
    ]


def _seconds(plugin: Plugin) -> str:
    return str(
        next(
            (
                millis(s["default"]) // 1000
                for s in describe(plugin.settings)
                if s["name"] == "interval"
            ),
            60,
        )
    )


def _name(of: str) -> Dict[str, Any]:
    return {
        "type": "text",
        "field": "name",
        "label": "Name",
        "required": True,
        "help": f"Your own name for this {of}.",
        "validators": [
            {
                "type": "regex",
                "pattern": NAME,
                "errorMsg": "A name begins with a letter, and has letters, digits and underscores.",
            },
            {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "errorMsg": "A name has 1 to 100 characters.",
            },
        ],
    }


def _columns(settings: List[Dict[str, Any]]) -> List[Dict[str, str]]:
    return [
        {"field": s["name"], "label": s["label"]}
        for s in settings
        if s["kind"] in ("url", "many", "choice")
    ][:2]


def _entity(s: Mapping[str, Any]) -> Dict[str, Any]:
    made = {
        "field": s["name"],
        "label": s["label"],
        "help": s["help"].replace("`", ""),
        "required": bool(s["required"]),
        **WIDGETS[s["kind"]](s),
    }
    default = _default(s)
    if default not in (None, ""):
        made["defaultValue"] = default
    return made


def _default(s: Mapping[str, Any]) -> Any:
    default = s["default"]
    if s["kind"] == "many":
        return ("," if s.get("options") else ", ").join(default or ())
    if s["kind"] in ("table", "secret"):
        return None  # an empty field means the default
    return default if s["kind"] == "switch" else None if default is None else str(default)


def _checks(*checks: Tuple[str, str]) -> Dict[str, Any]:
    return {
        "type": "text",
        "validators": [
            {"type": "regex", "pattern": pattern, "errorMsg": message}
            for pattern, message in checks
        ],
    }


def _plain(s: Mapping[str, Any]) -> Dict[str, Any]:
    return (
        _checks((f"^$|{s['pattern']}", f"{s['label']}: {s['allowed']}."))
        if "pattern" in s and s["kind"] == "text"
        else {"type": "text"}
    )


def _bounds(s: Mapping[str, Any]) -> Dict[str, Any]:
    return {
        "type": "text",
        "validators": [
            {
                "type": "number",
                "range": [s.get("least", -(2**31)), s.get("most", 2**31)],
                "errorMsg": (
                    f"{s['label']} is a whole number from {s.get('least', 'any')} to"
                    f" {s.get('most', 'any')}."
                ),
            }
        ],
    }


def _items(options: Iterable[str]) -> List[Dict[str, str]]:
    return [{"value": option, "label": option} for option in options]


WIDGETS: Dict[str, Callable[[Mapping[str, Any]], Dict[str, Any]]] = {
    "text": _plain,
    "secret": lambda s: {"type": "text", "encrypted": True},
    "choice": lambda s: {
        "type": "singleSelect",
        "options": {"disableSearch": True, "autoCompleteFields": _items(s["options"])},
    },
    "duration": lambda s: _checks(
        (DURATION, f"{s['label']} is a number and a unit, such as 30s, 5m, 12h or 1d.")
    ),
    "switch": lambda s: {"type": "checkbox"},
    "integer": _bounds,
    "url": lambda s: _checks(
        (
            r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
            f"{s['label']} looks like https://host.example.com/path.",
        )
    ),
    "many": lambda s: (
        {"type": "multipleSelect", "options": {"delimiter": ",", "items": _items(s["options"])}}
        if s.get("options")
        else {"type": "text"}
    ),
    "table": lambda s: {"type": "textarea", "options": {"rowsMin": 2, "rowsMax": 8}},
}


def _proxy() -> Dict[str, Any]:
    def one(field: str, label: str, help: str, **more: Any) -> Dict[str, Any]:
        return {"field": field, "label": label, "help": help, "type": "text", **more}

    return {
        "name": "proxy",
        "title": "Proxy",
        "entity": [
            one("proxy_enabled", "Use a proxy", "For all inputs.", type="checkbox"),
            one(
                "proxy_type",
                "Kind",
                "How to speak to it.",
                type="singleSelect",
                defaultValue="http",
                options={
                    "disableSearch": True,
                    "autoCompleteFields": [
                        {"value": kind, "label": kind} for kind in ("http", "https", "socks5")
                    ],
                },
            ),
            one("proxy_rdns", "The proxy resolves names", "Only for socks5.", type="checkbox"),
            one(
                "proxy_url",
                "Host",
                "A name or an address, without a port.",
                validators=[
                    {
                        "type": "regex",
                        "pattern": r"^$|^[A-Za-z0-9.:_-]{1,253}$",
                        "errorMsg": "A name or an address.",
                    }
                ],
            ),
            one(
                "proxy_port",
                "Port",
                "Such as 3128.",
                validators=[
                    {
                        "type": "number",
                        "range": [1, 65535],
                        "errorMsg": "A port is a number from 1 to 65535.",
                    }
                ],
            ),
            one("proxy_username", "User name", "If the proxy asks for one."),
            one("proxy_password", "Password", "If the proxy asks for one.", encrypted=True),
        ],
    }


def _advanced() -> Dict[str, Any]:
    wanted = ("ca_file", "fingerprint", "timeout", "user_agent", "verify")
    settings = {s["name"]: s for s in describe(Connection)}
    return {
        "name": "advanced",
        "title": "Advanced",
        "entity": [_entity(settings[name]) for name in wanted],
    }


# What Splunk knows of our events


def props(plugin: Plugin, contract: Dict[str, Any], cim: Mapping[str, Any]) -> Conf:
    app = addon(plugin)
    found: Conf = {
        sourcetype(dataset.name): _props_of(
            dataset,
            cim["datasets"].get(dataset.name, {"fields": {}}),
            _lists(schema_of(contract, dataset)),
        )
        for dataset in plugin.datasets
    }
    found[f"source::...{app.root}_*.log*"] = {
        "sourcetype": f"{app.root}:log",
        "SHOULD_LINEMERGE": "false",
        "TIME_FORMAT": "%Y-%m-%dT%H:%M:%S%z",
    }
    found[f"{app.root}:log"] = {
        "EXTRACT-siemtap": (
            r"^\S+ (?<level>[A-Z]+) pid=(?<pid>\d+) input=(?<input>\S+) (?<message>.*)$"
        )
    }
    return found


def _lists(schema: Dict[str, Any], definitions: Any = None, place: str = "") -> Set[str]:
    """The paths that hold lists: Splunk extracts `event.type` of JSON as `event.type{}`."""
    found: Set[str] = set()
    definitions = definitions or schema["definitions"]
    for name, below in schema["properties"].items():
        below = definitions[below["$ref"].rpartition("/")[2]] if "$ref" in below else below
        if below.get("type") == "array":
            found.add(f"{place}{name}")
        elif "properties" in below:
            found |= _lists(below, definitions, f"{place}{name}.")
    return found


def _props_of(dataset: Dataset, rules: Mapping[str, Any], lists: Set[str]) -> Dict[str, str]:
    made = {
        "KV_MODE": "json",
        "SHOULD_LINEMERGE": "false",
        "LINE_BREAKER": r"([\r\n]+)",
        "TRUNCATE": "0",
        "TIME_PREFIX": r'"@timestamp":"',
        "TIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%3NZ",
        "TZ": "UTC",
        "MAX_TIMESTAMP_LOOKAHEAD": "40",
        "category": "Network & Security",
    }
    alternatives = doubles(dataset)
    for field, rule in sorted(rules["fields"].items()):
        paths = (
            rule.get("out_of") or rule.get("first") or ([rule["from"]] if "from" in rule else [])
        )
        sources = [
            f"{one}{{}}" if one in lists else one
            for one in dict.fromkeys(
                one for path in paths for one in _sources(path, alternatives, dataset)
            )
        ]
        if "map" in rule:
            of = _coalesce(sources)
            cases = "".join(
                f"{of}=={_quoted(ours)}, {_quoted(theirs)}, "
                for ours, theirs in rule["map"].items()
            )
            made[f"EVAL-{field}"] = (
                f"case({cases}true(), {_quoted(rule['else']) if 'else' in rule else 'null()'})"
            )
        elif "is" in rule:
            made[f"EVAL-{field}"] = _quoted(rule["is"])
        elif "present" in rule:
            cases = "".join(
                f"isnotnull({_field(path)}), {_quoted(value)}, "
                for path, value in rule["present"].items()
            )
            made[f"EVAL-{field}"] = f"case({cases}true(), {_coalesce(sources)})"
        elif "match" in rule:
            of = _coalesce(sources)
            found = f'nullif(replace({of}, "{rule["match"]}", "\\1"), "")'
            made[f"EVAL-{field}"] = (
                f'if(match({of}, "{rule["match"]}"),'
                f" {f'lower({found})' if rule.get('lower') else found}, null())"
            )
        elif "length" in rule:
            made[f"EVAL-{field}"] = f"len({_coalesce(sources)})"
        elif "unless" in rule:
            made[f"EVAL-{field}"] = f"nullif({_coalesce(sources)}, {_quoted(rule['unless'])})"
        elif len(sources) == 1 and "else" not in rule and not sources[0].startswith('"'):
            made[f"FIELDALIAS-{field}"] = f"{_alias(sources[0])} ASNEW {field}"
        else:
            otherwise = [_quoted(rule["else"])] if "else" in rule else []
            made[f"EVAL-{field}"] = f"coalesce({', '.join([*map(_field, sources), *otherwise])})"
    return made


def _sources(path: str, alternatives: Mapping[str, str], dataset: Dataset) -> List[str]:
    """Where a field of ours stands in the compact event: there, where it says the same, or
    nowhere because it never varies."""
    found = [path]
    while path in alternatives:
        path = alternatives[path]
        found.append(path)
    constant = dataset.constant.get(found[0])
    if constant is not None:
        found.append(json.dumps(constant[0] if isinstance(constant, list) else constant))
    return found


def _coalesce(sources: List[str]) -> str:
    return (
        _field(sources[0]) if len(sources) == 1 else f"coalesce({', '.join(map(_field, sources))})"
    )


def _field(path: str) -> str:
    """In an eval, a name with dots stands in single quotes; a text in double ones."""
    return path if path.startswith('"') else f"'{path}'" if "." in path or "{" in path else path


def _alias(path: str) -> str:
    return f'"{path}"' if "{" in path else path


def _quoted(said: Any) -> str:
    return json.dumps(str(said))


def eventtypes(plugin: Plugin, cim: Mapping[str, Any]) -> Conf:
    made = {
        f"{addon(plugin).root}_{dataset.name.partition('.')[2]}": {
            "search": f"`{addon(plugin).root}_index` sourcetype={_quoted(sourcetype(dataset.name))}"
        }
        for dataset in plugin.datasets
        if cim["datasets"].get(dataset.name, {}).get("tags")
    }
    return made


def tags(plugin: Plugin, cim: Mapping[str, Any]) -> Conf:
    return {
        f"eventtype={addon(plugin).root}_{dataset.name.partition('.')[2]}": dict.fromkeys(
            cim["datasets"][dataset.name]["tags"], "enabled"
        )
        for dataset in plugin.datasets
        if cim["datasets"].get(dataset.name, {}).get("tags")
    }


def macros(plugin: Plugin) -> Conf:
    return {f"{addon(plugin).root}_index": {"definition": "index=*", "iseval": "0"}}


def collections(plugin: Plugin) -> Conf:
    return {
        f"{addon(plugin).root}_checkpoints": {
            "enforceTypes": "true",
            "field.input": "string",
            "field.unit": "string",
            "field.began": "string",
            "field.state": "string",
            "field.until": "string",
            "replicate": "false",
        }
    }
