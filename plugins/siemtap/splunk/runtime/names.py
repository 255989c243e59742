"""The names of an add-on's parts, and the settings of each of its pages."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Dict, List, NamedTuple

from ...core.manifest import describe
from ...core.model import Plugin
from ...core.settings import CommonSettings, Connection, Receiving


class App(NamedTuple):
    """The names of an add-on.

    `name`: the app's folder. `root`: the prefix of its conf files, REST endpoints, KV store
    collection, index macro and log files. `kind`: the modular input, as in `[<kind>://<name>]`.
    """

    name: str
    root: str
    kind: str


def addon(plugin: Plugin) -> App:
    """Return the names of a plugin's add-on, such as `TA-acme-gate`, `ta_acme_gate`, `acme`."""
    name = f"TA-{plugin.addon or plugin.name.replace('_', '-')}"
    root = name.lower().replace("-", "_")
    return App(name, root, plugin.name)


def webhook_app(app: App) -> App:
    """Return the same names for the add-on's second modular input, the webhook."""
    return app._replace(kind=f"{app.kind}_webhook")


def file_name(name: str) -> str:
    """Return a stanza's name as the name of a file: itself, or if it has other characters than
    letters, digits, `_`, `.` and `-`, or more than 80, what remains of it with a digest."""
    plain = re.sub("[^0-9A-Za-z_.-]+", "-", name)[:80]
    if plain == name and not name.startswith("."):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{plain.lstrip('.')}-{digest[:12]}"


def account_settings(plugin: Plugin) -> List[Dict[str, Any]]:
    """Return the settings of the account page: addresses and credentials of the vendor's API."""
    return [s for s in describe(plugin.settings) if s.get("of") == "account"]


def proxy_settings() -> List[Dict[str, Any]]:
    """Return the settings of an account's own proxy; with `proxy` it is used instead of the proxy
    of the configuration page."""
    names = ("proxy", "proxy_user", "proxy_password")
    return [s for s in describe(Connection) if s["name"] in names]


def input_settings(plugin: Plugin) -> List[Dict[str, Any]]:
    """Return the settings of the input page, without those of Splunk: `interval`, `index`."""
    own = [
        s
        for s in describe(plugin.settings)
        if s.get("of") not in ("account", "shipper") and s["name"] != "interval"
    ]
    return own + _common_settings()


def webhook_settings(plugin: Plugin) -> List[Dict[str, Any]]:
    """Return the settings of the webhook's page: how it listens, and how its events are read.

    `syslog` is left out: AppInspect rejects an add-on that opens a UDP socket.
    """
    receiving = [s for s in describe(Receiving) if s["name"] != "syslog"]
    own = [s for s in describe(plugin.settings) if not s.get("of") and s["name"] != "interval"]
    return receiving + own + _common_settings()


def _common_settings() -> List[Dict[str, Any]]:
    return [s for s in describe(CommonSettings) if s["name"] in ("tags", "drop")]
