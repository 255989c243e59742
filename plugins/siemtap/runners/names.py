"""What an add-on's parts are called: in Splunk's confs, on its pages, in the input that they start."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

from ..core.forms import Every
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
    every = [s for s in describe(Every) if s["name"] in ("tags", "drop")]
    return [*(s for s in describe(plugin.settings) if s.get("of") != "account" and s["name"] != "interval"), *every]
