"""What an add-on's parts are called: in Splunk's confs, on its pages, in the input that they
start."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

from ..core.forms import Every, Receiving
from ..core.manifest import describe
from ..core.model import Plugin


class App(NamedTuple):
    """An add-on's names: of its folder, of its REST handlers, of its modular input."""

    name: str
    root: str
    kind: str


def addon(plugin: Plugin) -> App:
    """`TA-acme-gate`, `ta_acme_gate`, `acme`"""
    name = f"TA-{plugin.addon or plugin.name.replace('_', '-')}"
    return App(name, name.lower().replace("-", "_"), plugin.name)


def sourcetype(dataset: str) -> str:
    return dataset.replace(".", ":", 1)


def of_account(plugin: Plugin) -> List[Dict[str, Any]]:
    """Settings of the account page: whom we are to the vendor."""
    return [s for s in describe(plugin.settings) if s.get("of") == "account"]


def of_input(plugin: Plugin) -> List[Dict[str, Any]]:
    """Settings of the input page; when it runs and where its events go are Splunk's own."""
    return [
        *(
            s
            for s in describe(plugin.settings)
            if s.get("of") != "account" and s["name"] != "interval"
        ),
        *_of_every(),
    ]


def webhook(app: App) -> App:
    """The same add-on's input that is pushed to."""
    return app._replace(kind=f"{app.kind}_webhook")


def of_webhook(plugin: Plugin) -> List[Dict[str, Any]]:
    """Settings of the page of a webhook: how it is reached, and how its events are read. No
    syslog: AppInspect refuses a UDP socket."""
    return [
        *(s for s in describe(Receiving) if s["name"] != "syslog"),
        *(s for s in describe(plugin.settings) if not s.get("of") and s["name"] != "interval"),
        *_of_every(),
    ]


def _of_every() -> List[Dict[str, Any]]:
    return [s for s in describe(Every) if s["name"] in ("tags", "drop")]
