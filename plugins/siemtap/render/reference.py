"""Settings, fields and commands as Markdown, for the reference pages in docs/ and the plugins'
READMEs.

Nothing of click is imported: this folder is checked for Python 3.9, which click no longer runs on.
"""

from __future__ import annotations

import inspect
import re
from functools import reduce
from importlib import import_module
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Tuple

from ..core.model import Plugin
from ..core.settings import Receiving
from .config import fields_table, settings_table

Command = Any  # click.Command
Context = Any  # click.Context
CODE_OR_ANGLE = re.compile(r"(`[^`]*`)|[<>]")
ENTITIES = {"<": "&lt;", ">": "&gt;"}
EXTRA = re.compile(r" *\[(default: [^\]]*|required)\]$")  # what click appends to an option's help

# What a plugin uses, by module.
API: Mapping[str, Tuple[str, ...]] = {
    "siemtap.core.model": ("Plugin", "Batch", "Records", "Payload", "Command"),
    "siemtap.core.rows": ("Field", "Split", "Join", "Given", "Dataset", "Cim", "CimClass"),
    "siemtap.core.convert": ("text", "instant", "epoch", "java_date", "ip", "country", "rfc3339"),
    "siemtap.core.declared": ("integer", "integer_within", "lookup", "match", "each", "const"),
    "siemtap.core.errors": ("ConfigError", "AuthError", "Retry", "Malformed"),
    "siemtap.edge.client.http": ("Http", "Http.get", "Http.post", "Http.form", "Http.json"),
    "siemtap.edge.client.api": ("Api", "Api.json", "Api.send"),
    "siemtap.edge.client.bearer": ("Bearer", "token_of", "lifetime_of"),
    "siemtap.edge.client.replies": ("member_of", "raise_for_status"),
    "siemtap.edge.client.messages": ("next_url",),
    "siemtap.edge.client.walk": ("Walk",),
    "siemtap.edge.client.pages": ("Pages", "Page", "LinkExpired"),
    "siemtap.edge.tail": ("tail",),
    "siemtap.testing.contract": ("contract_of", "check_ledger"),
    "siemtap.testing.world": ("World",),
    "siemtap.testing.vendor": ("SimulatedVendor", "Route", "Call"),
    "siemtap.testing.simulation": ("Fault", "Sent"),
}


def api() -> str:
    """Return what a plugin uses as a table: name, and the first sentence of its docstring."""
    rows = ["| name | |", "|---|---|"]
    for module_name, names in API.items():
        rows.append(f"| **`{module_name}`** | |")
        module: Any = import_module(module_name)
        for name in names:
            thing: Any = reduce(getattr, name.split("."), module)
            parameters = [word for word in inspect.signature(thing).parameters if word != "self"]
            sentence = _first_sentence(inspect.getdoc(thing) or "")
            rows.append(f"| `{name}({', '.join(parameters)})` | {sentence}. |")
    return "\n".join(rows)


def tables_of(plugin: Plugin) -> Dict[str, str]:
    """Return the tables of a plugin's README.md by name."""
    return {
        "settings": settings_table(plugin.settings),
        "fields": fields_table(plugin),
        "receiving": settings_table(Receiving),
    }


def fill_tables(text: str, tables: Mapping[str, str]) -> str:
    """Return a page with new tables between its <!-- name --> and <!-- /name --> comments."""
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, comment, rest = text.partition(start)
        if comment:
            text = f"{before}{start}{table}\n{end}{rest.partition(end)[2]}"
    return text


def settings(form: Any) -> str:
    """Return a form's settings as a table in which nothing reads as an HTML tag."""
    return _escaped(settings_table(form))


def vendors(plugins: Iterable[Plugin]) -> str:
    """Return a section for every plugin: its page, and the table of its own settings."""
    return "\n\n".join(
        f"### `{plugin.name}`\n\n"
        f"[{plugin.title}](../../plugins/{plugin.name}/README.md): setup, behaviour, fields.\n\n"
        f"{settings(plugin.settings)}"
        for plugin in plugins
    )


def commands(main: Command) -> str:
    """Return a section for every command, groups before what is in them, and a list of all."""
    sections = list(walk(main, main.context_class(main, info_name="siemtap")))
    rows = ["| command | |", "|---|---|"]
    rows += [
        f"| [`{context.command_path}`](#{context.command_path.replace(' ', '-')}) |"
        f" {_first_sentence(command.help or '')} |"
        for command, context in sections
        if not is_group(command)
    ]
    return "\n\n".join(["\n".join(rows), *(_section(*entry) for entry in sections)])


def is_group(command: Command) -> bool:
    return hasattr(command, "list_commands")


def walk(group: Command, context: Context) -> Iterator[Tuple[Command, Context]]:
    """Yield every command below a group with a context that knows its full name."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = command.context_class(command, info_name=name, parent=context)
        yield command, inner
        if is_group(command):
            yield from walk(command, inner)


def _section(command: Command, context: Context) -> str:
    level = "#" * min(4, context.command_path.count(" ") + 1)
    parts = [f"{level} {context.command_path}", _prose(command.help or "")]
    if not is_group(command):
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        parts += [f"```\n{usage}\n```", *_options(command, context)]
    return "\n\n".join(parts)


def _options(command: Command, context: Context) -> List[str]:
    """Return the table of a command's options, or nothing where it has none."""
    records = [
        record
        for parameter in command.params
        for record in [parameter.get_help_record(context)]
        if record and parameter.param_type_name == "option"
    ]
    if not records:
        return []
    rows = ["| option | |", "|---|---|"]
    rows += [f"| `{name}` | {_prose(EXTRA.sub(_extra, help))} |" for name, help in records]
    return ["\n".join(rows)]


def _extra(match: re.Match[str]) -> str:
    name, _, value = match[1].partition(": ")
    return f" {name.capitalize()}{f': `{value}`' if value else ''}."


def _prose(text: str) -> str:
    """Return a help text as Markdown: one line a paragraph."""
    return _escaped("\n\n".join(" ".join(part.split()) for part in text.split("\n\n")))


def _first_sentence(text: str) -> str:
    """Return what a help text says first, in one line, for a cell of a table."""
    return _prose(text.split("\n\n")[0]).partition(". ")[0].rstrip(".")


def _escaped(markdown: str) -> str:
    """Return Markdown in which `<name>` outside of code is text and no tag."""
    return CODE_OR_ANGLE.sub(lambda match: match[1] or ENTITIES[match[0]], markdown)
