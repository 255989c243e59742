"""The script of an input, in the three ways splunkd starts it: scheme, validation, one cycle.

from siemtap.splunk.runtime.script import main
sys.exit(main(PLUGIN, App("TA-acme", "ta_acme", "acme")))
"""

from __future__ import annotations

import sys
from typing import Any, BinaryIO, List, Optional, Type
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from splunklib.modularinput import Argument, InputDefinition, Scheme, ValidationDefinition

from ...core.errors import ConfigError, SiemtapError
from ...core.model import Plugin
from ...edge.clock import SYSTEM, Clock
from .input import Input
from .names import App, account_settings
from .parameters import STANDARD_PARAMETERS, check_interval, settings_without_account
from .splunkd import error_summary, parse_values


def main(
    plugin: Plugin,
    app: App,
    arguments: Optional[List[str]] = None,
    stdin: Any = None,
    out: Optional[BinaryIO] = None,
    clock: Clock = SYSTEM,
    input_type: Optional[Type[Input]] = None,
) -> int:
    """Run the script as splunkd asks for it, and return the exit status.

    `--scheme` writes the scheme, `--validate-arguments` checks a stanza; without an argument one
    cycle of the stanza runs.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    input_type = input_type or Input
    stdin = stdin or sys.stdin.buffer
    out = out or sys.stdout.buffer
    try:
        if arguments == ["--scheme"]:
            return write_scheme(build_scheme(plugin, input_type), out)
        if arguments == ["--validate-arguments"]:
            return validate(plugin, ValidationDefinition.parse(stdin), out, input_type)
        if not arguments:
            return input_type(plugin, app, InputDefinition.parse(stdin), out, clock).run()
    except Exception as error:  # splunkd's XML may raise anything
        print(f"ERROR {error_summary(error)}", file=sys.stderr)
        return 1
    print(
        f"ERROR unknown arguments: {' '.join(arguments)}; splunkd passes --scheme,"
        " --validate-arguments, or none",
        file=sys.stderr,
    )
    return 1


def build_scheme(plugin: Plugin, input_type: Type[Input]) -> Scheme:
    """Return the introspection scheme: the input's parameters, validated by this script."""
    scheme = Scheme(plugin.title)
    scheme.description = f"Events of {plugin.title}"
    scheme.use_external_validation = True
    scheme.use_single_instance = False
    scheme.streaming_mode = Scheme.streaming_mode_xml
    for name, title, description in input_type.extra_parameters:
        is_required = name == "account" and bool(account_settings(plugin))
        scheme.add_argument(
            Argument(name, title=title, description=description, required_on_create=is_required)
        )
    for s in input_type.settings_of(plugin):
        scheme.add_argument(
            Argument(
                s["name"],
                title=s["label"],
                description=s["help"],
                required_on_create=False,
            )
        )
    return scheme


def write_scheme(scheme: Scheme, out: BinaryIO) -> int:
    """Write the scheme as XML, and return the exit status."""
    out.write(ElementTree.tostring(scheme.to_xml()) + b"\n")
    out.flush()
    return 0


def validate(
    plugin: Plugin, definition: ValidationDefinition, out: BinaryIO, input_type: Type[Input]
) -> int:
    """Check a stanza's parameters, write the first error as XML, and return the exit status.

    No network call is made: the page waits for the answer.
    """
    try:
        parameters = {
            name: value for name, value in definition.parameters.items() if isinstance(value, str)
        }
        settings = input_type.settings_of(plugin)
        names = [s["name"] for s in settings]
        check_interval(parameters.get("interval", ""))
        known = {
            *names,
            *STANDARD_PARAMETERS,
            *(name for name, _, _ in input_type.extra_parameters),
        }
        unknown = set(parameters) - known
        if unknown:
            raise ConfigError(
                f"there is no setting {sorted(unknown)[0]}; there are {', '.join(sorted(names))}"
            )
        values = parse_values(parameters, settings)
        settings_without_account(plugin, values)
        input_type.check({**parameters, **values})
    except SiemtapError as error:
        out.write(f"<error><message>{escape(str(error))}</message></error>\n".encode())
        out.flush()
        return 1
    return 0
