"""A vendor's command as an alert action: Splunk starts the script for an alert, with the fields
that the alert passes on as parameters."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ...core.manifest import describe, fill_in
from ...core.model import Command, CommandContext, Plugin
from ...edge.client.http import connect
from .logs import configure_logging, log_folder, open_log, set_level
from .names import App, account_settings
from .splunkd import Splunkd, error_summary, parse_values

log = logging.getLogger("siemtap")


def main(
    plugin: Plugin,
    app: App,
    name: str,
    arguments: Optional[List[str]] = None,
    stdin: Any = None,
) -> int:
    """Run the command with the payload on standard input.

    Return the exit status: 0 if every outcome is a success.
    """
    if (sys.argv[1:] if arguments is None else arguments) != ["--execute"]:
        print("FATAL Splunk starts an alert action with --execute", file=sys.stderr)
        return 1
    payload: Dict[str, Any] = {}
    is_ok = False
    configure_logging(app, f"alert:{name}")
    try:
        payload = json.load(stdin or sys.stdin)
        command = next(command for command in plugin.commands if command.name == name)
        splunkd = Splunkd(app, payload["server_uri"], payload["session_key"])
        set_level(splunkd.read_settings("logging").get("loglevel", "INFO"))
        is_ok = run_command(
            plugin=plugin,
            command=command,
            splunkd=splunkd,
            parameters=payload.get("configuration") or {},
            alert=str(payload.get("search_name", "")),
        )
    except Exception as error:  # the account, splunkd, the vendor, or a field of the event
        log.error("alert %s: %s", name, error_summary(error))
        print(f"ERROR {error_summary(error)}", file=sys.stderr)
    report_action(f"{plugin.name}_{name}", payload, is_ok)
    return 0 if is_ok else 1


def report_action(action: str, payload: Any, is_ok: bool) -> None:
    """Write how an action ended, for Enterprise Security, to `<action>_modalert.log`.

    The line is the one of `ModularAction.message` in splunktaucclib 8.2.0 (cim_actions.py), which
    needs modules of Splunk itself. Its fields tie the outcome to the notable event.
    """
    folder = log_folder()
    if folder is None or not isinstance(payload, dict):
        return
    result = payload.get("result")
    result = result if isinstance(result, dict) else {}
    sid = str(payload.get("sid") or "")
    fields = {
        "signature": "the command succeeded" if is_ok else "the command failed",
        "action_name": action,
        "search_name": payload.get("search_name"),
        "sid": sid,
        "orig_sid": result.get("orig_sid"),
        "rid": result.get("rid"),
        "orig_rid": result.get("orig_rid"),
        "app": payload.get("app"),
        "user": payload.get("owner"),
        "action_mode": "saved" if "scheduler" in sid else "adhoc",
        "action_status": "success" if is_ok else "failure",
    }
    words = " ".join(f'{name}="{_quotable(value)}"' for name, value in fields.items() if value)
    handler = open_log(folder / f"{action}_modalert.log")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03d+0000 %(levelname)s %(message)s")
    formatter.converter = time.gmtime
    formatter.datefmt = "%Y-%m-%d %H:%M:%S"
    handler.setFormatter(formatter)
    level = logging.INFO if is_ok else logging.ERROR
    handler.handle(
        logging.LogRecord("siemtap", level, "", 0, f"sendmodaction - {words}", None, None)
    )
    handler.close()


def _quotable(value: Any) -> str:
    return re.sub(r'["\s]+', " ", str(value))


def run_command(
    plugin: Plugin, command: Command, splunkd: Splunkd, parameters: Dict[str, Any], alert: str
) -> bool:
    """Call the vendor with an alert's parameters, log each outcome, and return whether all are ok.

    Without any value nothing is called, and True is returned.
    """
    account = splunkd.read_stanza("account", str(parameters.get("account", "")))
    settings = _settings_of(plugin, account)
    client = plugin.connect(settings, connect(splunkd.read_connection(account)))
    options = {
        option.name: parse_list(parameters.get(option.name))
        for option in command.options
        if not option.flag
    }
    if not any(options.values()):
        log.warning(
            'alert %s of "%s": the result has no value for it; the vendor is not called',
            command.name,
            alert,
        )
        return True
    is_ok = True
    for outcome in command.run(CommandContext(client, settings), (), **options):
        log.log(
            logging.INFO if outcome.ok else logging.ERROR,
            'alert %s of "%s": %s: %s',
            command.name,
            alert,
            outcome.subject,
            outcome.message,
        )
        is_ok = is_ok and outcome.ok
    return is_ok


def _settings_of(plugin: Plugin, account: Mapping[str, str]) -> Any:
    """Return the plugin's settings from an account alone."""
    values = parse_values(account, account_settings(plugin))
    names = {s["name"] for s in describe(plugin.settings)}
    return fill_in(
        plugin.settings, {name: value for name, value in values.items() if name in names}
    )


def parse_list(parameter: Any) -> Tuple[str, ...]:
    """Return the values of a parameter, which are separated by commas.

    Splunk leaves `$result.name$` as it is where the result has no such field: it counts as empty.
    """
    text = re.sub(r"\$result\.[^$]*\$", "", str(parameter or ""))
    values = (value.strip() for value in text.split(","))
    return tuple(filter(None, values))
