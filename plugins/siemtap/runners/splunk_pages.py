"""What the pages do beside keeping what was entered: an account is tried, an input begins
afresh, and what was kept of it goes with it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Dict, List, Mapping, Set
from urllib.parse import urlsplit

from splunklib.binding import HTTPError

from ..core.errors import ConfigError, SiemtapError
from ..core.manifest import fill_in
from ..core.model import Plugin
from ..core.windows import SECOND
from ..edge.http import connect
from .names import of_account
from .splunkd import KvCheckpoints, Splunkd, Tokens, answers, summary

MASK = "******"  # what a page says of a secret that is to stay as it is
PATIENCE = 15 * SECOND  # a page gives up after half a minute


def trouble(plugin: Plugin, splunkd: Splunkd, name: str, said: Mapping[str, str]) -> str:
    """What is wrong with an account as somebody wants to save it; nothing if the vendor lets us
    in."""
    try:
        given = {key: value for key, value in said.items() if value is not None}
        kept = before(plugin, splunkd, name, given)
        elsewhere = sorted(places(plugin, given) - places(plugin, kept))
        if kept and elsewhere:
            return (
                "Enter the secret again: it was kept for another address, "
                f"and would go to {', '.join(elsewhere)}."
            )
        given = {key: kept.get(key, "") if value == MASK else value for key, value in given.items()}
        if said.get("skip_test") in ("1", "true") or plugin.greet is None:
            return ""
        settings = fill_in(
            plugin.settings, answers(given, {s["name"]: s["kind"] for s in of_account(plugin)})
        )
        connection = splunkd.connection()
        plugin.greet(
            plugin.connect(
                settings, connect(replace(connection, timeout=min(connection.timeout, PATIENCE)))
            )
        )
    except SiemtapError as error:
        return (
            f'{error}. Tick "Save without a test" if this machine cannot reach the vendor and'
            " another one collects."
        )
    except HTTPError as error:
        return (
            f"Splunk refuses what the test needs ({error.status}): accounts are for a role with the"
            " capability list_storage_passwords."
        )
    except Exception as error:
        return (
            f"The test failed in the add-on itself ({summary(error)}). "
            "Is there an odd character in what was entered?"
        )
    return ""


def before(plugin: Plugin, splunkd: Splunkd, name: str, given: Mapping[str, str]) -> Dict[str, str]:
    """Return the account as it is kept, if one of its secrets is to stay: masked, or not given."""
    if all(given.get(s["name"], MASK) != MASK for s in of_account(plugin) if s["kind"] == "secret"):
        return {}
    try:
        return splunkd.stanza("account", name)
    except ConfigError:
        if MASK in given.values():
            raise
        return {}  # a new one


def places(plugin: Plugin, account: Mapping[str, str]) -> Set[str]:
    """Return where an account's secrets are sent: scheme, host and port of each of its
    addresses."""
    addresses: List[str] = []
    for s in of_account(plugin):
        if s["kind"] in ("url", "many"):
            default = s["default"] if s["kind"] == "url" else ",".join(s["default"] or ())
            addresses += str(account.get(s["name"]) or default or "").split(",")
    parts = [urlsplit(address.strip()) for address in addresses if "://" in address]
    return {f"{part.scheme}://{part.netloc}".lower() for part in parts}


def begun(said: Dict[str, str], new: bool) -> None:
    """An input as it is to be kept. One that is new, a clone too, and one that is to be reset have
    a `generation` of their own: a mark of another is none of theirs. A number in the stanza,
    because the input that is just running may still save a mark after us."""
    if said.pop("reset", "") in ("1", "true") or new:
        said["generation"] = str(int(time.time()))


def forget_input(splunkd: Splunkd, input: str) -> None:
    """`acme://main` is no more; nor, if the KV store is there to be asked, are its marks."""
    with suppress(SiemtapError, HTTPError, OSError):
        KvCheckpoints(splunkd, input).forget()


def forget_account(splunkd: Splunkd, name: str) -> None:
    with suppress(HTTPError, OSError):
        Tokens(splunkd, name, {}).drop()
