"""Every vendor there is, simulated, collected into the embedded store, shown in the terminal and
on the status page."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List

from rich.console import Console
from rich.table import Table

from ..core.manifest import describe
from ..core.windows import Millis
from . import plugins, simulate
from .config import Config, parse


def servers(stack: ExitStack) -> Dict[str, simulate.Server]:
    """A simulator of each plugin, behind a socket on loopback."""
    found = {}
    for name in plugins.installed():
        server = simulate.Server(simulate.simulator(name, {}))
        stack.callback(server.close)
        found[name] = server
    return found


def config(running: Dict[str, simulate.Server], data: Path, port: int) -> Config:
    """What a person would have written who wants all that there is."""
    inputs = [
        {"type": name, **_everything(name), **_ears(name), **server.simulated.settings(server.url)}
        for name, server in running.items()
    ]
    return parse(
        json.dumps(
            {
                "path": {"data": str(data)},
                "http": {"port": port},
                "logging": {"level": "warning"},
                "inputs": inputs,
            }
        ),
        "siemtap demo",
    )


def _everything(name: str) -> Dict[str, Any]:
    return {
        s["name"]: list(s["options"])
        for s in describe(plugins.plugin(name).settings)
        if s["name"] == "datasets" and "options" in s
    }


def _ears(name: str) -> Dict[str, Any]:
    return (
        {
            "listen": "127.0.0.1:0",
            "secret": "demo-secret-0123456789",
            "syslog": ["udp://127.0.0.1:0"],
        }
        if plugins.plugin(name).receive
        else {}
    )


def push(shipper: Any, running: Dict[str, simulate.Server], start: Millis, stop: Millis) -> int:
    """What the vendors that push have sent in this time, through our own listeners; how many
    were taken."""
    taken = 0
    for input in shipper.inputs.values():
        if input.reception and input.reception.addresses:
            sender = simulate.Sender(
                [
                    place.replace("<secret>", input.wish.receiving.secret)
                    for place in input.reception.addresses
                ]
            )
            for thing in running[input.wish.plugin.name].simulated.pushed(start, stop):
                sender.send(thing)
            taken += len(sender.taken)
            sender.close()
    return taken


def show(tally: Any, console: Console) -> None:
    """What arrived."""
    titles = (
        ("dataset", "dataset"),
        ("severity", "severity"),
        ("action", "action"),
        ("rule", "top rules"),
        ("source", "top attackers"),
    )
    for name, title in titles:
        table = Table(title=title, title_justify="left", show_header=False, min_width=60)
        table.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
        table.add_column(justify="right")
        rows: List[Any] = tally.top(name, 5 if title.startswith("top") else 20)
        for value, number in rows:
            table.add_row(printable(value), f"{number:,}")
        console.print(table)


def printable(said: str) -> str:
    """Attackers write into these texts; a terminal obeys control characters."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in said
    ).replace("[", "\\[")
