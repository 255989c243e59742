"""The configuration of an agent's inputs, as Handlebars templates that Fleet fills in."""

from __future__ import annotations

from typing import Any, Mapping

from ...core.manifest import kind_of
from ...core.model import Plugin
from ...core.rows import Dataset
from ..painless import settings_of
from .form import CONNECTION, ELASTIC_NAMES, INPUT_OPTIONS, has_value, settings_named, variable_of
from .model import PULLED, Stream, Way

# What an agent sets in a program's state itself, whatever the policy says: the resource's URL, as
# one text (beats @00f3c215, x-pack/filebeat/input/cel/input.go:
# `state["url"] = goodURL` in run(), and once more where a program dropped it). A setting with
# several URLs has another key there.
STATE = {"url": "urls"}


def _assign(s: Mapping[str, Any], indent: str, keys: Mapping[str, str] = {}) -> str:
    """Return the lines that set a setting's value, or nothing if the value may be empty and is.

    `keys`: setting -> the key of its list of values, if that is not the setting's name.
    """
    name = ELASTIC_NAMES.get(s["name"], s["name"])
    variable = variable_of(s)
    if variable.is_list:
        key = keys.get(s["name"], s["name"])
        lines = (
            f"{indent}{key}:\n{{{{#each {name} as |value|}}}}\n{indent}  -"
            " {{escape_string value}}\n{{/each}}\n"
        )
    else:
        escape = "escape_string " if variable.type in ("text", "password") else ""
        lines = f"{indent}{s['name']}: {{{{{escape}{name}}}}}\n"
    if has_value(s):
        return lines
    return f"{{{{#if {name}}}}}\n{lines}{{{{/if}}}}\n"


def _if(name: str, *lines: str) -> str:
    return f"{{{{#if {name}}}}}\n" + "".join(f"{line}\n" for line in lines) + "{{/if}}\n"


def _option(name: str, option: str) -> str:
    """Return the lines of an option of the input that the form has, or nothing without a value."""
    of = next(of for of in CONNECTION if of["name"] == name)
    escape = "escape_string " if of["type"] == "text" else ""
    line = f"{option}: {{{{{escape}{name}}}}}"
    return f"{line}\n" if of["required"] else _if(name, line)


def _polling(plugin: Plugin, way: Way) -> str:
    url = way.base
    many = variable_of(settings_named(plugin, way, (url,))[0]).is_list
    source = "".join(f"  {line}\n" if line else "\n" for line in way.cel.strip().split("\n"))
    secrets = [s["name"] for s in settings_named(plugin, way, way.account) if kind_of(s).is_secret]
    return (
        "config_version: 2\ninterval: {{escape_string interval}}\n"
        + (
            f"{{{{#each {url} as |value|}}}}\n{{{{#if @first}}}}\nresource.url: {{{{escape_string"
            " value}}\n{{/if}}\n{{/each}}\n"
            if many
            else f"resource.url: {{{{escape_string {url}}}}}\n"
        )
        # Files of a tracer that was switched off are deleted if its name is there (beats @00f3c215,
        # x-pack/filebeat/input/cel/input.go, newClient: CleanTraceFiles).
        + "resource.tracer.enabled: {{#if enable_request_tracer}}true{{else}}false{{/if}}\n"
        'resource.tracer.filename: "../../logs/cel/http-request-trace-*.ndjson"\n'
        "resource.tracer.maxbackups: 5\n"
        + "".join(_option(name, option) for name, option in INPUT_OPTIONS.items())
        + "state:\n"
        + "".join(
            _assign(s, "  ", STATE)
            for s in settings_named(plugin, way, (*way.account, *way.own))
            if s["name"] != "interval"
        )
        + "redact:\n  fields:\n"
        + "".join(f"    - {name}\n" for name in [*secrets, "token.text"])
        + f"program: |\n{source}"
    )


def _listening(way: Way) -> str:
    # under a name of its own: the vendor's `tags` are not the agent's
    if way.input == "http_endpoint":
        return (
            "listen_address: {{escape_string listen_address}}\nlisten_port: {{listen_port}}\nurl:"
            ' {{escape_string url}}\nprefix: _record\ncontent_type: ""\n'
            + _if("username", "basic_auth: true", "username: {{escape_string username}}")
            + _if("password", "password: {{escape_string password}}")
            + _if("secret_header", "secret.header: {{escape_string secret_header}}")
            + _if("secret_value", "secret.value: {{escape_string secret_value}}")
            + _if("ssl", "ssl: {{ssl}}")
            + "max_body_bytes: {{max_body_bytes}}\n"
            + _if("http_endpoint_options", "{{http_endpoint_options}}")
        )
    if way.input == "filestream":
        return "paths:\n{{#each paths as |path|}}\n  - {{escape_string path}}\n{{/each}}\n"
    return (
        'host: "{{listen_address}}:{{listen_port}}"\n'
        + (_if("ssl", "ssl: {{ssl}}") if way.input == "tcp" else "")
        + _if(f"{way.input}_options", f"{{{{{way.input}_options}}}}")
    )


def template(plugin: Plugin, dataset: Dataset, stream: Stream, way: Way) -> str:
    """Return the template of an input's configuration."""
    wanted = {*settings_of(dataset), *stream.reads}
    conf = "".join(
        _assign(s, "      ")
        for s in settings_named(
            plugin, way, [name for name in (*way.account, *way.own) if name in wanted]
        )
    )
    conf = (
        f"      channel: {way.input}\n"
        + ("      path: {{escape_string url}}\n" if way.input == "http_endpoint" else "")
        + conf
    )
    return (
        (_polling(plugin, way) if way.input == PULLED else _listening(way))
        + "tags:\n"
        + "".join(
            _if(name, f"  - {name}")
            for name in ("preserve_original_event", "preserve_duplicate_custom_fields")
        )
        + "{{#each tags as |tag|}}\n  - {{escape_string tag}}\n{{/each}}\n"
        + '{{#contains "forwarded" tags}}\npublisher_pipeline.disable_host:'
        " true\n{{/contains}}\nprocessors:\n"
        # at the left edge, where Fleet puts those of the page
        + (
            "- drop_event:\n    when:\n      has_fields: [_nothing]\n"
            if way.input == PULLED
            else ""
        )
        + f"- add_fields:\n    target: _conf\n    fields:\n{conf}"
        + _if("processors", "{{processors}}")
    )
