"""Render UCC's globalConfig.json: the pages of an add-on, and the REST handlers behind them."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Set

from ...core.manifest import describe, kind_of, parse_duration
from ...core.model import Plugin
from ...core.settings import Connection
from ...render.kinds import items
from ..runtime.names import (
    account_settings,
    addon,
    input_settings,
    proxy_settings,
    webhook_app,
    webhook_settings,
)
from .fields import field

NAME = r"^[a-zA-Z]\w*$"
START = r"^$|^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z?)?$"
UCC_SCHEMA = "0.0.10"
SKIP_TEST = {
    "type": "checkbox",
    "field": "skip_test",
    "label": "Save without a test",
    "required": False,
    "help": (
        "By default an account is saved only if a login succeeds. Tick this if this instance cannot"
        " reach the vendor and another instance runs the inputs."
    ),
}


def global_config(plugin: Plugin, version: str) -> Dict[str, Any]:
    """Return UCC's globalConfig.json: the pages, and the REST handlers behind them."""
    app = addon(plugin)
    return {
        "pages": {
            "configuration": {
                "title": "Configuration",
                "description": f"Accounts of {plugin.title}, proxy, logging and connection",
                "tabs": [
                    _accounts_tab(plugin),
                    _proxy_tab(),
                    {"type": "loggingTab"},
                    _advanced_tab(),
                ],
            },
            "inputs": {
                "title": "Inputs",
                "description": f"Data inputs for {plugin.title}",
                "table": _inputs_table(),
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


def _accounts_tab(plugin: Plugin) -> Dict[str, Any]:
    settings = account_settings(plugin)
    return {
        "name": "account",
        "title": "Accounts",
        "table": {
            "header": [{"field": "name", "label": "Name"}, *_columns(settings)],
            "actions": ["edit", "clone", "delete"],
        },
        "entity": [
            _name_entity("account"),
            *map(field, settings),
            *_proxy_entities(),
            SKIP_TEST,
        ],
        "groups": [_folded_group("Proxy of this account", [s["name"] for s in proxy_settings()])],
        "restHandlerModule": f"{addon(plugin).root}_pages",
        "restHandlerClass": "AccountHandler",
    }


def _proxy_entities() -> Iterator[Dict[str, Any]]:
    """Yield the fields of an account's own proxy."""
    for s in proxy_settings():
        entity = field(s)
        if s["name"] == "proxy":
            entity["help"] = (
                "The proxy for this account, such as http://proxy.example.com:3128, instead of the"
                " one on the tab Proxy."
            )
        yield entity


def _inputs_table() -> Dict[str, Any]:
    columns: List[Dict[str, Any]] = [
        {"field": "name", "label": "Name"},
        {"field": "account", "label": "Account"},
        {"field": "interval", "label": "Interval"},
        {"field": "index", "label": "Index"},
    ]
    status: Dict[str, Any] = {"field": "disabled", "label": "Status"}
    return {
        "header": [*columns, status],
        "moreInfo": [*columns, {**status, "mapping": {"true": "Inactive", "false": "Active"}}],
        "actions": ["edit", "delete", "clone"],
    }


def _services(plugin: Plugin) -> List[Dict[str, Any]]:
    """Return the add-on's modular inputs: the pulled one, and the webhook if it has one."""
    app = addon(plugin)
    services = [
        {
            "name": app.kind,
            "title": plugin.title,
            "entity": list(_input_entities(plugin)),
            "groups": [_folded_group("Advanced", [*_advanced_fields(plugin), "checkpoint"])],
            "restHandlerModule": f"{app.root}_pages",
            "restHandlerClass": "InputHandler",
        }
    ]
    if plugin.webhook:
        services.append(_webhook_service(plugin))
    return services


def _webhook_service(plugin: Plugin) -> Dict[str, Any]:
    settings = webhook_settings(plugin)
    basic = ("listen", "secret", "certificate", "key", "networks")
    return {
        "name": webhook_app(addon(plugin)).kind,
        "title": f"{plugin.title}, webhook on a heavy forwarder",
        "groups": [
            _folded_group("Advanced", [s["name"] for s in settings if s["name"] not in basic])
        ],
        "entity": [
            _name_entity("input"),
            {
                "type": "interval",
                "field": "interval",
                "label": "Interval",
                "help": "Seconds until Splunk restarts the input if it ends.",
                "required": True,
                "defaultValue": "10",
            },
            _index_entity(),
            *({**field(s), "required": s["name"] in ("listen", "secret")} for s in settings),
        ],
    }


def _index_entity() -> Dict[str, Any]:
    return {
        "type": "index",
        "field": "index",
        "label": "Index",
        "help": "The index for the events.",
        "required": True,
        "defaultValue": "default",
    }


def _input_entities(plugin: Plugin) -> Iterator[Dict[str, Any]]:
    """Yield the fields of the input page: Splunk's, the plugin's, and those of the checkpoint."""
    settings = input_settings(plugin)
    lookback = next((s for s in settings if s["name"] == "lookback"), None)
    yield _name_entity("input")
    yield {
        "type": "singleSelect",
        "field": "account",
        "label": "Account",
        "help": "An account of the configuration page.",
        "required": True,
        "options": {"referenceName": "account"},
    }
    yield {
        "type": "interval",
        "field": "interval",
        "label": "Interval",
        "help": "Seconds between two runs of the input, or a cron expression.",
        "required": True,
        "defaultValue": _interval_seconds(plugin),
    }
    yield _index_entity()
    if lookback:
        yield _start_entity(lookback["label"])
    yield from map(field, settings)
    yield from _checkpoint_entities(f" from Start or {lookback['label']}" if lookback else "")


def _start_entity(lookback: str) -> Dict[str, Any]:
    return {
        "type": "text",
        "field": "start",
        "label": "Start",
        "required": False,
        "validators": [
            {
                "type": "regex",
                "pattern": START,
                "errorMsg": "A date or a time in UTC, such as 2026-11-01 or 2026-11-01T06:00Z.",
            }
        ],
        "help": (
            f"A date or a time in UTC to collect from, instead of {lookback}. After a change the"
            " input collects from there again, and Splunk indexes those events a second time."
        ),
    }


def _checkpoint_entities(start: str) -> Iterator[Dict[str, Any]]:
    """Yield the fields that reset the checkpoint and say where it is stored.

    `start`: where a reset input starts, such as " from Start".
    """
    yield {
        "type": "checkbox",
        "field": "reset",
        "label": "Reset checkpoint",
        "required": False,
        "help": (
            f"Tick and save to reset the checkpoint: the next run collects again{start}, and Splunk"
            " indexes those events a second time."
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
        "help": (
            "Where the checkpoint is stored. Choose File only if the KV store is disabled; the"
            " checkpoint then stays on this instance."
        ),
        "defaultValue": "kvstore",
        "options": {
            "disableSearch": True,
            "autoCompleteFields": [
                {"value": "kvstore", "label": "KV store"},
                {"value": "file", "label": "File"},
            ],
        },
    }


def _advanced_fields(plugin: Plugin) -> List[str]:
    """Return the settings of the folded section: those after `interval` in the manifest.

    `lookback` stays outside: everyone should see how far back the first run collects.
    """
    names = [s["name"] for s in describe(plugin.settings)]
    advanced: Set[str] = set()
    if "interval" in names:
        advanced = set(names[names.index("interval") :]) - {"lookback"}
    return [
        s["name"] for s in input_settings(plugin) if s["name"] in advanced or s["name"] not in names
    ]


def _folded_group(label: str, fields: List[str]) -> Dict[str, Any]:
    return {
        "label": label,
        "fields": fields,
        "options": {"isExpandable": True, "expand": False},
    }


def _interval_seconds(plugin: Plugin) -> str:
    """Return the default of `interval` in seconds; 60 if the plugin has no such setting."""
    for s in describe(plugin.settings):
        if s["name"] == "interval":
            return str(parse_duration(s["default"]) // 1000)
    return "60"


def _name_entity(noun: str) -> Dict[str, Any]:
    return {
        "type": "text",
        "field": "name",
        "label": "Name",
        "required": True,
        "help": f"A unique name for the {noun}.",
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
    """Return the columns of the table of accounts: at most two addresses or choices."""
    columns = [
        {"field": s["name"], "label": s["label"]}
        for s in settings
        if kind_of(s).has_addresses or "options" in s
    ]
    return columns[:2]


def _proxy_tab() -> Dict[str, Any]:
    def entity(field: str, label: str, help: str, **more: Any) -> Dict[str, Any]:
        return {"field": field, "label": label, "help": help, "type": "text", **more}

    kinds = {
        "disableSearch": True,
        "autoCompleteFields": items(("http", "https", "socks5")),
    }
    host = {
        "type": "regex",
        "pattern": r"^$|^[A-Za-z0-9.:_-]{1,253}$",
        "errorMsg": "A host name or an IP address.",
    }
    port = {
        "type": "number",
        "range": [1, 65535],
        "errorMsg": "A port is a number from 1 to 65535.",
    }
    return {
        "name": "proxy",
        "title": "Proxy",
        "entity": [
            entity(
                "proxy_enabled",
                "Enable",
                "Use a proxy for all accounts that have none of their own.",
                type="checkbox",
            ),
            entity(
                "proxy_type",
                "Proxy type",
                "The protocol of the proxy.",
                type="singleSelect",
                defaultValue="http",
                options=kinds,
            ),
            entity(
                "proxy_rdns",
                "Remote DNS resolution",
                "The proxy resolves host names. For socks5 only.",
                type="checkbox",
            ),
            entity(
                "proxy_url",
                "Host",
                "A host name or an IP address, without a port.",
                validators=[host],
            ),
            entity("proxy_port", "Port", "Such as 3128.", validators=[port]),
            entity("proxy_username", "User name", "If the proxy requires one."),
            entity("proxy_password", "Password", "If the proxy requires one.", encrypted=True),
        ],
    }


def _advanced_tab() -> Dict[str, Any]:
    settings = {s["name"]: s for s in describe(Connection)}
    names = ("ca_file", "fingerprint", "timeout", "user_agent", "verify")
    return {
        "name": "advanced",
        "title": "Advanced",
        "entity": [field(settings[name]) for name in names],
    }
