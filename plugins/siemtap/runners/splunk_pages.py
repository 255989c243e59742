"""What the pages do beside keeping what was entered: an account is tried, an input begins afresh, and what was kept of it goes with it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Dict, Mapping

from splunklib.binding import HTTPError

from ..core.errors import SiemtapError
from ..core.manifest import fill_in
from ..core.model import Plugin
from ..core.windows import SECOND
from ..edge.http import connect
from .names import of_account
from .splunkd import KvCheckpoints, Splunkd, Tokens, answers

MASK = "******"             # what a page says of a secret that is to stay as it is
PATIENCE = 15 * SECOND      # a page gives up after half a minute


def trouble(plugin: Plugin, splunkd: Splunkd, name: str, said: Mapping[str, str]) -> str:
    """What is wrong with an account as somebody wants to save it; nothing if the vendor lets us in."""
    if said.get("skip_test") in ("1", "true") or plugin.greet is None:
        return ""
    try:
        given = {key: value for key, value in said.items() if value is not None}
        if MASK in given.values():
            kept = splunkd.stanza("account", name)
            given = {key: kept.get(key, "") if value == MASK else value for key, value in given.items()}
        settings = fill_in(plugin.settings, answers(given, {s["name"]: s["kind"] for s in of_account(plugin)}))
        connection = splunkd.connection()
        plugin.greet(plugin.connect(settings, connect(replace(connection, timeout=min(connection.timeout, PATIENCE)))))
    except SiemtapError as error:
        return f"{error}. Tick \"Save without a test\" if this machine cannot reach the vendor and another one collects."
    except HTTPError as error:
        return f"Splunk refuses what the test needs ({error.status}): accounts are for a role with the capability list_storage_passwords."
    return ""


def begun(said: Dict[str, str], new: bool) -> None:
    """An input as it is to be kept. One that is new, a clone too, and one that is to be reset have a `generation` of their own: a mark of another
    is none of theirs. A number in the stanza, because the input that is just running may still save a mark after us."""
    if said.pop("reset", "") in ("1", "true") or new:
        said["generation"] = str(int(time.time()))


def forget_input(splunkd: Splunkd, input: str) -> None:
    """`acme://main` is no more; nor, if the KV store is there to be asked, are its marks."""
    with suppress(SiemtapError, HTTPError, OSError):
        KvCheckpoints(splunkd, input).forget()


def forget_account(splunkd: Splunkd, name: str) -> None:
    with suppress(HTTPError, OSError):
        Tokens(splunkd, name, {}).drop()
