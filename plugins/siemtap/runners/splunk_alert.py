"""A vendor's command as an alert action: an alert fires, Splunk starts us with what it found,
and the vendor is asked, once for each result."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any, Dict, List, Optional

from ..core.manifest import describe, fill_in
from ..core.model import Command, Plugin, Site
from ..edge.http import connect
from .names import App, of_account
from .splunk import logs
from .splunkd import Splunkd, answers, summary

log = logging.getLogger("siemtap")


def main(
    plugin: Plugin, app: App, name: str, words: Optional[List[str]] = None, stdin: Any = None
) -> int:
    """The exit status: 0 if the vendor did all that was asked for."""
    if (sys.argv[1:] if words is None else words) != ["--execute"]:
        print("FATAL Splunk starts an alert action with --execute", file=sys.stderr)
        return 1
    try:
        said = json.load(stdin or sys.stdin)
        command = next(command for command in plugin.commands if command.name == name)
        splunkd = Splunkd(app, said["server_uri"], said["session_key"])
        logs(app, f"alert:{name}", logging.INFO)
        return (
            0
            if asked(
                plugin,
                command,
                splunkd,
                said.get("configuration") or {},
                str(said.get("search_name", "")),
            )
            else 1
        )
    except Exception as error:  # the account, splunkd, the vendor, or what the event holds
        log.error("alert %s: %s", name, summary(error))
        print(f"ERROR {summary(error)}", file=sys.stderr)
    return 1


def asked(
    plugin: Plugin, command: Command, splunkd: Splunkd, said: Dict[str, Any], alert: str
) -> bool:
    """Values stand in a field each, several with commas between; a field that the result did not
    have is empty, or still its own name."""
    account = splunkd.stanza("account", str(said.get("account", "")))
    settings = fill_in(
        plugin.settings,
        {
            name: value
            for name, value in answers(
                account, {s["name"]: s["kind"] for s in of_account(plugin)}
            ).items()
            if name in {s["name"] for s in describe(plugin.settings)}
        },
    )
    site = Site(plugin.connect(settings, connect(splunkd.connection())), settings)
    options = {
        option.name: tuple(
            filter(
                None,
                (
                    one.strip()
                    for one in re.sub(
                        r"\$result\.[^$]*\$", "", str(said.get(option.name) or "")
                    ).split(",")
                ),
            )
        )
        for option in command.options
        if not option.flag
    }
    if not any(options.values()):
        log.warning(
            'alert %s of "%s": the result names nobody; nothing was asked', command.name, alert
        )
        return True
    well = True
    for outcome in command.run(site, (), **options):
        log.log(
            logging.INFO if outcome.well else logging.ERROR,
            'alert %s of "%s": %s: %s',
            command.name,
            alert,
            outcome.subject,
            outcome.said,
        )
        well = well and outcome.well
    return well
