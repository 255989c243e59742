"""The demo: every vendor simulated, collected into the embedded store, shown in the terminal and on
the status page."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from ..core.errors import ConfigError
from ..core.manifest import describe
from ..core.windows import Millis
from ..edge.printable import escape_markup
from ..render import registry
from ..testing import simulation
from .config.load import parse
from .config.sections import Config

if TYPE_CHECKING:
    from rich.console import Console


def servers(stack: ExitStack) -> Dict[str, simulation.Server]:
    """Start a simulator of each plugin that has one, on loopback; return them by plugin name."""
    by_name = {}
    for name in registry.installed():
        try:
            server = simulation.Server(simulation.simulator(name, {}))
        except ConfigError:
            continue
        stack.callback(server.close)
        by_name[name] = server
    return by_name


def config(running: Dict[str, simulation.Server], data: Path, port: int) -> Config:
    """Return a configuration that collects everything from every simulator."""
    inputs = [
        {
            "type": name,
            **_all_datasets(name),
            **_listen_settings(name),
            **server.simulated.settings(server.url),
        }
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


def _all_datasets(name: str) -> Dict[str, Any]:
    """Return the setting that switches on all datasets of a plugin, if it has one."""
    return {
        setting["name"]: list(setting["options"])
        for setting in describe(registry.plugin(name).settings)
        if setting["name"] == "datasets" and "options" in setting
    }


def _listen_settings(name: str) -> Dict[str, Any]:
    plugin = registry.plugin(name)
    if not plugin.receive:
        return {}
    settings: Dict[str, Any] = {"syslog": ["udp://127.0.0.1:0"]}
    if plugin.webhook:
        settings.update(listen="127.0.0.1:0", secret="demo-secret-0123456789")
    return settings


def push(shipper: Any, running: Dict[str, simulation.Server], start: Millis, stop: Millis) -> int:
    """Send what the simulated vendors push in start <= time < stop to the shipper's listeners;
    return how many events were accepted."""
    accepted = 0
    for input in shipper.inputs.values():
        if input.receiver and input.receiver.addresses:
            secret = input.input_config.receiving.secret
            sender = simulation.Sender(
                [address.replace("<secret>", secret) for address in input.receiver.addresses]
            )
            simulated = running[input.input_config.plugin.name].simulated
            for message in simulated.pushed(start, stop):
                sender.send(message)
            accepted += len(sender.taken)
            sender.close()
    return accepted


def show(tally: Any, console: Console) -> None:
    """Print how many events arrived by dataset, severity, action, rule and source."""
    from rich.table import Table

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
            table.add_row(escape_markup(value), f"{number:,}")
        console.print(table)
