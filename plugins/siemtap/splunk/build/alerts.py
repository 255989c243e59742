"""Render the alert actions of an add-on: the vendor's commands that an alert may run."""

from __future__ import annotations

from typing import List
from xml.sax.saxutils import escape

from ...core.model import Command, Plugin
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
            "param.account": "",
            **{f"param.{option.name}": "" for option in command.options if not option.flag},
        }
        for command in alert_commands(plugin)
    }


def alert_spec(plugin: Plugin) -> str:
    """Return alert_actions.conf.spec: every parameter, explained."""
    lines: List[str] = []
    for command in alert_commands(plugin):
        lines.append(f"[{action_name(plugin, command)}]")
        lines.append("python.required = <string>")
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
