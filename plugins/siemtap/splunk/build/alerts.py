"""Render the alert actions of an add-on: the vendor's commands that an alert may run."""

from __future__ import annotations

import json
from typing import Any, Dict, List
from xml.sax.saxutils import escape

from ...core.model import Command, Plugin
from ..runtime.names import addon
from .conf import Conf


def alert_commands(plugin: Plugin) -> List[Command]:
    """Return the commands that an alert may run."""
    return [command for command in plugin.commands if command.alert]


def action_name(plugin: Plugin, command: Command) -> str:
    """Return the name of a command's alert action, such as `acme_unblock`."""
    return f"{plugin.name}_{command.name}"


def alert_actions(plugin: Plugin) -> Conf:
    """Return alert_actions.conf: a stanza for each command that an alert may run."""
    return {
        action_name(plugin, command): {
            "is_custom": "1",
            "label": command.alert,
            "description": command.help,
            "icon_path": "appIcon.png",
            "payload_format": "json",
            "python.version": "python3",
            "python.required": "3.9, 3.13",
            "disabled": "0",
            "param._cam": json.dumps(_adaptive_response(plugin)),
            "param.account": "",
            **{f"param.{option.name}": "" for option in command.options if not option.flag},
        }
        for command in alert_commands(plugin)
    }


def _adaptive_response(plugin: Plugin) -> Dict[str, Any]:
    """Return what makes Enterprise Security offer an action for notable events. Its keys are those
    of UCC's documentation, "Adaptive Response"."""
    constant = plugin.datasets[0].constant
    return {
        "category": ["Device Control"],
        "task": ["allow"],
        "subject": ["network.client"],
        "technology": [
            {
                "vendor": constant.get("observer.vendor", plugin.title),
                "product": constant.get("observer.product", plugin.title),
                "version": ["any"],
            }
        ],
        "supports_adhoc": True,
        "supports_cloud": True,
        "drilldown_uri": (
            f"../{addon(plugin).name}/search?q=search%20index%3D_internal%20sourcetype%3D"
            f"{addon(plugin).root}%3Alog%20alert"
        ),
    }


def alert_spec(plugin: Plugin) -> str:
    """Return alert_actions.conf.spec: every parameter, explained."""
    lines: List[str] = []
    for command in alert_commands(plugin):
        lines.append(f"[{action_name(plugin, command)}]")
        lines.append("python.required = <string>")
        lines.append("param._cam = <json> Adaptive Response parameters.")
        lines.append("param.account = <string> An account of the configuration page.")
        for option in command.options:
            if not option.flag:
                lines.append(f"param.{option.name} = <string> {option.help}")
    return "".join(f"{line}\n" for line in lines)


def alert_form(plugin: Plugin, command: Command) -> str:
    """Return the HTML form of an alert action in the dialog of an alert."""
    name = action_name(plugin, command)

    def control(field: str, label: str, help: str) -> str:
        parameter = f"action.{name}.param.{field}"
        return (
            '<div class="control-group"><label class="control-label"'
            f' for="{name}_{field}">{escape(label)}</label><div class="controls"><input type="text"'
            f' name="{parameter}" id="{name}_{field}"/><span'
            f' class="help-block">{escape(help)}</span></div></div>'
        )

    controls = [control("account", "Account", "An account of the configuration page.")]
    controls += [
        control(
            option.name,
            option.name.replace("_", " ").capitalize(),
            f"{option.help} Use a field of the result, such as $result.src_ip$, or values separated"
            " by commas. Empty: none.",
        )
        for option in command.options
        if not option.flag
    ]
    return '<form class="form-horizontal form-complex">' + "".join(controls) + "</form>\n"
