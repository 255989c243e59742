"""Manifest, mapping and programs -> an integration package of Elastic's: path -> text. Pure;
`packaging/elastic.py` makes the zip.

What an agent collects it puts into `message`, as the vendor said it; the pipeline makes the event
of it, by the same table as Python.
"""

from __future__ import annotations

import io
import json
import re
from operator import attrgetter
from typing import Any, Container, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from ..core.manifest import describe
from ..core.mapping import Dataset, Field, Given
from ..core.model import Plugin
from .elastic import ADDED, Server, flat, lists_of_objects, looked_up, types
from .kibana import View, objects
from .painless import collection_error, last_resort, script, settings_of
from .panels import overview, product_of

FORMAT = "3.6.0"
KIBANA = "^8.18.0 || ^9.0.0"
ELASTIC = Server("elasticsearch", (9, 1))
# What a setting is called on Elastic's pages, where that is not its own name.
DIALECT = {"lookback": "initial_interval"}
# What an agent sets in a program's state itself, whatever the policy says: the resource's URL, as
# one text (beats @00f3c215, x-pack/filebeat/input/cel/input.go:
# `state["url"] = goodURL` in run(), and once more where a program dropped it). A setting with
# several URLs has another key there.
STATE = {"url": "urls"}
KINDS = {
    "text": "text",
    "url": "text",
    "secret": "password",
    "duration": "text",
    "switch": "bool",
    "integer": "integer",
    "choice": "select",
    "many": "text",
    "table": "yaml",
}
PIPELINE = (
    "pipeline_error of {{{_ingest.on_failure_processor_type}}}"
    " {{{_ingest.on_failure_processor_tag}}} in {{{_ingest.pipeline}}}:"
    " {{{_ingest.on_failure_message}}}"
)
# What an agent's input says of itself: `events: {"error": {…}}` of a program, or its evaluation
# failed (beats @00f3c215, x-pack/filebeat/input/cel/input.go, run() and
# errorMessage()). Elastic's own packages know such a document by the same words and leave it as it
# is (integrations @303fb624, `terminate` in
# packages/github/data_stream/security_advisories/elasticsearch/ingest_pipeline/default.yml); here
# it gets the kind and an id.
COLLECTION = (
    "ctx.error instanceof Map && ctx.error.message != null && ctx.message == null && ctx._record =="
    " null && ctx.event?.original == null && ctx.agent?.type != 'siemtap'"
)
PICTURE = "img/overview.png"
PULLED = "cel"
INPUTS = {
    PULLED: "by its API",
    "http_endpoint": "by webhook",
    "udp": "by syslog over UDP",
    "tcp": "by syslog over TCP",
    "filestream": "from a file",
}


class Way(NamedTuple):
    """One of an agent's inputs for a dataset. `account`, `own`: settings on the page of the
    integration, and of this input. `cel`: the program, whose state has all of them. `needed`: those
    of them that must be filled in here. `without`: options that an agent cannot offer. `port`:
    where it listens, if nobody says. `base`: the setting with the API's address."""

    input: str
    account: Tuple[str, ...] = ()
    own: Tuple[str, ...] = ()
    cel: str = ""
    needed: Tuple[str, ...] = ()
    without: Mapping[str, Sequence[str]] = {}
    port: int = 0
    base: str = "url"


class Stream(NamedTuple):
    """How a dataset comes into an agent, and what its pipeline knows beside the mapping. `reader`:
    the Painless function that makes the record, and `reads`, the settings that it asks for.
    `elsewhere`: fields of ours -> the processor that makes them. `sample`: the case whose first
    event is shown. `wanted`: it is switched on, by its first way, unless somebody switches it off.
    """

    ways: Tuple[Way, ...]
    sample: str
    reader: str = ""
    reads: Tuple[str, ...] = ()
    elsewhere: Mapping[str, Dict[str, Any]] = {}
    wanted: bool = True


class Package(NamedTuple):
    """`streams`: by dataset. `twins`: the converters once more, in Painless."""

    streams: Mapping[str, Stream]
    twins: str


def files(
    plugin: Plugin,
    contract: Dict[str, Any],
    package: Package,
    samples: Mapping[str, Any],
    version: str,
    picture: str,
) -> Dict[str, str]:
    """All of a package but its picture, which is PICTURE: path -> text. `samples`: an event of
    each dataset. `picture`: how large it is, 1400x900 say."""
    found = {
        "manifest.yml": _yaml(_manifest(plugin, package, version, picture)),
        "changelog.yml": _yaml(
            [
                {
                    "version": version,
                    "changes": [
                        {
                            "description": "The first.",
                            "type": "enhancement",
                            "link": "https://github.com/example/siemtap/pull/1",
                        }
                    ],
                }
            ]
        ),
    }
    readme = [_readme(plugin, package)]
    for name, stream in package.streams.items():
        dataset = plugin.dataset(name)
        place, fields = f"data_stream/{_short(name)}", _fields(plugin, dataset, stream, contract)
        found[f"{place}/manifest.yml"] = _yaml(_stream(plugin, dataset, stream))
        for way in stream.ways:
            found[f"{place}/agent/stream/{way.input}.yml.hbs"] = template(
                plugin, dataset, stream, way
            )
        for pipeline, body in pipelines(plugin, dataset, package).items():
            found[f"{place}/elasticsearch/ingest_pipeline/{pipeline}.yml"] = _yaml(
                body, head="---\n"
            )
        found[f"{place}/sample_event.json"] = (
            json.dumps(samples[name], indent=4, ensure_ascii=False, sort_keys=True) + "\n"
        )
        for file, rows in fields.items():
            found[f"{place}/fields/{file}.yml"] = _yaml(rows)
        readme.append(_exported(dataset, [row for rows in fields.values() for row in rows]))
    shown = overview(
        product_of(map(plugin.dataset, package.streams)), map(plugin.dataset, package.streams)
    )
    known = {
        path: kind
        for dataset in shown.datasets
        for path, kind in types(ELASTIC, contract, dataset).items()
    }
    for saved in objects(shown, known, View("logs-*", named=f"{plugin.name}-overview")):
        found[f"kibana/{saved['type']}/{saved['id']}.json"] = (
            json.dumps(saved, indent=4, ensure_ascii=False, sort_keys=True) + "\n"
        )
    found["docs/README.md"] = "\n".join(readme)
    found["img/icon.svg"] = ICON
    return found


ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32"><path'
    ' fill="#2f6fde" d="M16 3c4 7 8 11 8 17a8 8 0 0 1-16 0c0-6 4-10 8-17z"/></svg>\n'
)


def _short(name: str) -> str:
    return name.partition(".")[2]


def _yaml(value: Any, head: str = "") -> str:
    writer, out = YAML(), io.StringIO()
    writer.width, writer.default_flow_style = 4_096, False
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.representer.ignore_aliases = lambda *_: True
    writer.dump(value, out)
    # a list begins at the left edge, as elastic-package formats it
    return head + (
        re.sub("^  ", "", out.getvalue(), flags=re.MULTILINE)
        if isinstance(value, list)
        else out.getvalue()
    )


# Pages


def _manifest(plugin: Plugin, package: Package, version: str, picture: str) -> Dict[str, Any]:
    ways = [way for stream in package.streams.values() for way in stream.ways]
    inputs = []
    for kind in dict.fromkeys(way.input for way in ways):
        of_kind = [way for way in ways if way.input == kind]
        account, needed = (
            {name for way in of_kind for name in names(way)}
            for names in (attrgetter("account"), attrgetter("needed"))
        )
        without = {name: options for way in of_kind for name, options in way.without.items()}
        inputs.append(
            {
                "type": kind,
                "title": f"Collect {INPUTS[kind]}",
                "description": f"Events of {plugin.title} {INPUTS[kind]}.",
                "vars": [
                    *(
                        _var(s, without.get(s["name"], ()))
                        for s in _asked(plugin, needed)
                        if s["name"] in account
                    ),
                    *(CONNECTION if kind == PULLED else ()),
                ],
            }
        )
    agentless = (
        {
            "agentless": {
                "enabled": True,
                "organization": "security",
                "division": "engineering",
                "team": "security-service-integrations",
            }
        }
        if all(way.input == PULLED for way in ways)
        else {}
    )
    return {
        "format_version": FORMAT,
        "name": plugin.name,
        "title": plugin.title,
        "version": version,
        "description": f"Collect logs from {plugin.title} with Elastic Agent.",
        "type": "integration",
        "categories": ["security", *plugin.categories],
        "conditions": {"kibana": {"version": KIBANA}, "elastic": {"subscription": "basic"}},
        "icons": [
            {
                "src": "/img/icon.svg",
                "title": plugin.title,
                "size": "32x32",
                "type": "image/svg+xml",
            }
        ],
        "screenshots": [
            {
                "src": f"/{PICTURE}",
                "title": f"Panels of the dashboard of {plugin.title}",
                "size": picture,
                "type": "image/png",
            }
        ],
        "policy_templates": [
            {
                "name": plugin.name,
                "title": plugin.title,
                "description": f"Collect logs from {plugin.title}.",
                "data_streams": list(map(_short, package.streams)),
                **(
                    {"deployment_modes": {"default": {"enabled": True}, **agentless}}
                    if agentless
                    else {}
                ),
                "inputs": inputs,
            }
        ],
        "owner": {"github": "example/siemtap", "type": "community"},
    }


def _one(name: str, kind: str, title: str, description: str, **more: Any) -> Dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "title": title,
        "description": description,
        "multi": False,
        "required": False,
        "show_user": False,
        **more,
    }


SSL = _one(
    "ssl",
    "yaml",
    "SSL configuration",
    "Such as certificate_authorities of a private CA; for what listens, certificate and key.",
)
CONNECTION = [
    _one("proxy_url", "text", "Proxy URL", "Such as http://user:password@proxy.example.com:3128."),
    SSL,
    _one(
        "http_client_timeout", "text", "HTTP client timeout", "For a whole answer.", default="60s"
    ),
    _one(
        "enable_request_tracer",
        "bool",
        "Enable request tracing",
        "Writes requests, with their secrets, to the agent's log folder: only while you look for"
        " something.",
        default=False,
    ),
]
SHOWN = ("interval", "lookback", "url", "paths")


def _listens(port: int) -> List[Dict[str, Any]]:
    return [
        _one(
            "listen_address",
            "text",
            "Listen address",
            "The address to listen on; 0.0.0.0 for all.",
            default="localhost",
            required=True,
            show_user=True,
        ),
        _one(
            "listen_port",
            "integer",
            "Listen port",
            "The port to listen on.",
            default=port,
            required=True,
            show_user=True,
        ),
    ]


def _page(way: Way) -> List[Dict[str, Any]]:
    """What an agent's input asks for itself."""
    if way.input == "http_endpoint":
        return [
            *_listens(way.port),
            _one(
                "url",
                "text",
                "URL path",
                "The path of the webhook's address; /account/server names both.",
                default="/",
                required=True,
                show_user=True,
            ),
            _one(
                "username",
                "text",
                "User name",
                "With a password: basic authentication.",
                show_user=True,
            ),
            _one(
                "password",
                "password",
                "Password",
                "With the user name.",
                secret=True,
                show_user=True,
            ),
            _one(
                "secret_header",
                "text",
                "Secret header",
                "The name of a header that must hold the secret value.",
                secret=False,
            ),
            _one(
                "secret_value",
                "password",
                "Secret value",
                "What the header must hold.",
                secret=True,
            ),
            SSL,
        ]
    if way.input == "udp":
        return [
            *_listens(way.port),
            _one(
                "udp_options",
                "yaml",
                "UDP options",
                "Such as read_buffer and max_message_size.",
                default="max_message_size: 64KiB\n",
            ),
        ]
    if way.input == "tcp":
        return [
            *_listens(way.port),
            SSL,
            _one(
                "tcp_options",
                "yaml",
                "TCP options",
                "Such as framing (delimiter, rfc6587) and max_message_size.",
                default="framing: delimiter\nmax_message_size: 256KiB\n",
            ),
        ]
    return (
        [
            _one(
                "paths",
                "text",
                "Paths",
                "The files to follow.",
                multi=True,
                required=True,
                show_user=True,
            )
        ]
        if way.input == "filestream"
        else []
    )


def _var(s: Mapping[str, Any], without: Sequence[str] = ()) -> Dict[str, Any]:
    about = s["help"].replace("`", "") + (
        " Hours are the longest unit here: 48h." if s["kind"] == "duration" else ""
    )
    made = _one(
        DIALECT.get(s["name"], s["name"]),
        KINDS[s["kind"]],
        s["label"],
        about,
        required=_is_needed(s),
        show_user=s["required"] or s["name"] in SHOWN or s["kind"] == "secret",
    )
    # package-spec asks, for a name that sounds like one
    if s["kind"] == "secret" or any(
        word in s["name"] for word in ("token", "secret", "password", "key")
    ):
        made["secret"] = s["kind"] == "secret"
    if s["kind"] == "many":
        made["multi"] = True
    if s["kind"] == "choice":
        made["options"] = [
            {"text": option, "value": option} for option in s["options"] if option not in without
        ]
    if s["default"] not in (None, "", (), {}):
        made["default"] = list(s["default"]) if isinstance(s["default"], tuple) else s["default"]
    return made


def _is_needed(s: Mapping[str, Any]) -> bool:
    """What has a default must not be emptied: the program counts on it."""
    return bool(s["required"] or (s["default"] not in (None, "", (), {}) and s["kind"] != "switch"))


def _stream(plugin: Plugin, dataset: Dataset, stream: Stream) -> Dict[str, Any]:
    title = f"{plugin.title} {_short(dataset.name)}"
    return {
        "title": title,
        "type": "logs",
        "streams": [
            {
                "input": way.input,
                "title": title,
                "description": f"Collect {dataset.name} {INPUTS[way.input]}.",
                "template_path": f"{way.input}.yml.hbs",
                **({} if stream.wanted and way is stream.ways[0] else {"enabled": False}),
                "vars": [
                    *_page(way),
                    *(_var(s) for s in _settings(plugin, way, way.own)),
                    _one(
                        "tags",
                        "text",
                        "Tags",
                        "Words of your own.",
                        multi=True,
                        show_user=False,
                        default=["forwarded", dataset.name.replace(".", "-").replace("_", "-")],
                    ),
                    _one(
                        "preserve_original_event",
                        "bool",
                        "Preserve original event",
                        "Keep the vendor's record, redacted, in event.original.",
                        show_user=True,
                        default=False,
                    ),
                    _one(
                        "preserve_duplicate_custom_fields",
                        "bool",
                        "Preserve duplicate custom fields",
                        f"Keep fields of {plugin.name} whose value stands in an ECS field, too.",
                        default=True,
                    ),
                    _one(
                        "processors",
                        "yaml",
                        "Processors",
                        "Of the agent, before the events leave it.",
                    ),
                ],
            }
            for way in stream.ways
        ],
    }


def _asked(plugin: Plugin, needed: Container[str]) -> List[Dict[str, Any]]:
    return [
        {**s, "required": s["required"] or s["name"] in needed} for s in describe(plugin.settings)
    ]


def _settings(plugin: Plugin, way: Way, names: Sequence[str]) -> List[Dict[str, Any]]:
    said = {s["name"]: s for s in _asked(plugin, way.needed)}
    return [said[name] for name in names]


# What an agent gets: Handlebars


def _given(s: Mapping[str, Any], indent: str, keys: Mapping[str, str] = {}) -> str:
    """A setting's value as Fleet puts it there; nothing, where it may be empty and is. `keys`:
    under which key several values stand, if not under the setting's name."""
    name = DIALECT.get(s["name"], s["name"])
    if s["kind"] == "many":
        made = (
            f"{indent}{keys.get(s['name'], s['name'])}:\n{{{{#each {name} as |one|}}}}\n{indent}  -"
            " {{escape_string one}}\n{{/each}}\n"
        )
    else:
        made = (
            f"{indent}{s['name']}:"
            f" {{{{{'escape_string ' if s['kind'] in ('text', 'url', 'secret', 'duration') else ''}{name}}}}}\n"
        )
    return (
        made
        if _is_needed(s) or s["kind"] == "switch"
        else f"{{{{#if {name}}}}}\n{made}{{{{/if}}}}\n"
    )


def _if(name: str, *lines: str) -> str:
    return f"{{{{#if {name}}}}}\n" + "".join(f"{line}\n" for line in lines) + "{{/if}}\n"


def _connected(plugin: Plugin, way: Way) -> str:
    url = way.base
    many = _settings(plugin, way, (url,))[0]["kind"] == "many"
    source = "".join(f"  {line}\n" if line else "\n" for line in way.cel.strip().split("\n"))
    secrets = [s["name"] for s in _settings(plugin, way, way.account) if s["kind"] == "secret"]
    return (
        "config_version: 2\ninterval: {{escape_string interval}}\n"
        + (
            f"{{{{#each {url} as |one|}}}}\n{{{{#if @first}}}}\nresource.url: {{{{escape_string"
            " one}}\n{{/if}}\n{{/each}}\n"
            if many
            else f"resource.url: {{{{escape_string {url}}}}}\n"
        )
        + _if(
            "enable_request_tracer",
            "resource.tracer.enabled: true",
            'resource.tracer.filename: "../../logs/cel/http-request-trace-*.ndjson"',
            "resource.tracer.maxbackups: 5",
        )
        + _if("proxy_url", "resource.proxy_url: {{escape_string proxy_url}}")
        + _if("ssl", "resource.ssl: {{ssl}}")
        + _if("http_client_timeout", "resource.timeout: {{escape_string http_client_timeout}}")
        + "state:\n"
        + "".join(
            _given(s, "  ", STATE)
            for s in _settings(plugin, way, (*way.account, *way.own))
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
        )
    if way.input == "filestream":
        return "paths:\n{{#each paths as |path|}}\n  - {{escape_string path}}\n{{/each}}\n"
    return (
        'host: "{{listen_address}}:{{listen_port}}"\n'
        + (_if("ssl", "ssl: {{ssl}}") if way.input == "tcp" else "")
        + _if(f"{way.input}_options", f"{{{{{way.input}_options}}}}")
    )


def template(plugin: Plugin, dataset: Dataset, stream: Stream, way: Way) -> str:
    wanted = {*settings_of(dataset), *stream.reads}
    conf = "".join(
        _given(s, "      ")
        for s in _settings(
            plugin, way, [name for name in (*way.account, *way.own) if name in wanted]
        )
    )
    conf = (
        f"      channel: {way.input}\n"
        + ("      path: {{escape_string url}}\n" if way.input == "http_endpoint" else "")
        + conf
    )
    return (
        (_connected(plugin, way) if way.input == PULLED else _listening(way))
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


# Pipelines


def _failed(dataset: Dataset) -> List[Dict[str, Any]]:
    """Keep a document whose pipeline failed: with its time, an id, and what may be shown. An
    event that is one already stays as it is."""
    # One text in any case: not every server runs a script on a document with a number beyond 64
    # bits. Nothing here may end the list: the document would be lost.
    return [
        {
            "remove": {
                "tag": "failed-record",
                "field": "_record",
                "ignore_missing": True,
                "if": "ctx.message != null",
            }
        },
        {
            "convert": {
                "tag": "failed-record-text",
                "field": "_record",
                "type": "string",
                "ignore_missing": True,
                "ignore_failure": True,
            }
        },
        {
            "script": {
                "tag": "failed-event",
                "lang": "painless",
                "source": LiteralScalarString(last_resort(dataset)),
                "ignore_failure": True,
            }
        },
        {"set": {"tag": "failed-kind", "field": "event.kind", "value": "pipeline_error"}},
        {"append": {"tag": "failed-message", "field": "error.message", "value": PIPELINE}},
        {
            "set": {
                "tag": "failed-id",
                "field": "_id",
                "value": "{{{event.id}}}",
                "if": "ctx.event?.id != null",
            }
        },
        {
            "remove": {
                "tag": "failed-message-as-it-came",
                "field": "message",
                "ignore_missing": True,
                "if": "ctx.event?.id == null",
            }
        },
        # as it came, it may hold what is never shown
        {
            "remove": {
                "tag": "failed-secrets",
                "field": ["_record", "_conf"],
                "ignore_missing": True,
            }
        },
    ]


def _default(plugin: Plugin, dataset: Dataset, package: Package) -> Dict[str, Any]:
    """An event that siemtap's own shipper wrote passes; where it comes from, and with what, is
    looked up for both."""
    steps: List[Dict[str, Any]] = []
    if any(way.input == PULLED for way in package.streams[dataset.name].ways):
        source = collection_error(dataset, package.twins, _defaults(plugin, settings_of(dataset)))
        steps += [
            {
                "script": {
                    "tag": "collection-error",
                    "lang": "painless",
                    "if": COLLECTION,
                    "source": LiteralScalarString(source),
                }
            },
            {
                "set": {
                    "tag": "collection-error-id",
                    "field": "_id",
                    "value": "{{{event.id}}}",
                    "if": COLLECTION,
                }
            },
        ]
    steps += [
        {
            "pipeline": {
                "tag": "mapping",
                "name": '{{ IngestPipeline "mapping" }}',
                "if": f"ctx.agent?.type != 'siemtap' && !({COLLECTION})",
            }
        },
        {
            "set": {
                "tag": "ingested",
                "field": "event.ingested",
                "value": "{{{_ingest.timestamp}}}",
                "if": "ctx.event?.ingested == null",
            }
        },
        *looked_up(dataset.targets(), frozenset(("geoip", "user_agent"))),
        flat(dataset),
    ]
    return {
        "description": f"{dataset.name}, from an agent or from siemtap.",
        "processors": steps,
        "on_failure": _failed(dataset),
    }


def _defaults(plugin: Plugin, names: Container[str]) -> Dict[str, Any]:
    return {
        s["name"]: list(s["default"]) if isinstance(s["default"], tuple) else s["default"]
        for s in describe(plugin.settings)
        if s["name"] in names
    }


def pipelines(plugin: Plugin, dataset: Dataset, package: Package) -> Dict[str, Dict[str, Any]]:
    return {
        "default": _default(plugin, dataset, package),
        "mapping": _mapping(plugin, dataset, package),
    }


def duplicates(dataset: Dataset) -> List[str]:
    """The vendor's fields that have the value of an ECS field."""
    own = f"{dataset.namespace}."
    return [
        path
        for row in dataset.rows
        if isinstance(row, Field)
        and isinstance(row.ours, tuple)
        and not all(path.startswith(own) for path in row.ours)
        for path in row.ours
        if path.startswith(own)
    ]


def _mapping(plugin: Plugin, dataset: Dataset, package: Package) -> Dict[str, Any]:
    stream = package.streams[dataset.name]
    wanted = {*settings_of(dataset), *stream.reads}
    source = script(
        dataset,
        package.twins,
        _defaults(plugin, wanted),
        stream.reader,
        frozenset(stream.elsewhere),
    )
    kinds = {way.input for way in stream.ways}
    steps: List[Dict[str, Any]] = []
    if kinds - {PULLED, "http_endpoint"}:
        steps.append(
            {
                "rename": {
                    "tag": "line",
                    "field": "message",
                    "target_field": "_record",
                    "ignore_missing": True,
                    "if": f"ctx._record == null && ctx._conf?.channel != '{PULLED}'",
                }
            }
        )
    if PULLED in kinds:
        steps.append(
            {
                "json": {
                    "tag": "record",
                    "field": "message",
                    "target_field": "_record",
                    "if": f"ctx._conf?.channel == '{PULLED}'",
                    "on_failure": [
                        {"set": {"tag": "no-record", "field": "_record", "value": "{{{message}}}"}}
                    ],
                }
            }
        )
    return {
        "description": f"One record of {dataset.name} -> an event.",
        "processors": [
            *steps,
            {"script": {"tag": "event", "lang": "painless", "source": LiteralScalarString(source)}},
            *({"drop": {"tag": "unwanted", "if": "ctx._drop == true"}} for _ in stream.reader[:1]),
            *(
                {
                    "remove": {
                        "tag": f"duplicate-{path}",
                        "field": path,
                        "ignore_missing": True,
                        "if": (
                            "ctx.tags == null ||"
                            " !ctx.tags.contains('preserve_duplicate_custom_fields')"
                        ),
                    }
                }
                for path in duplicates(dataset)
            ),
            *stream.elsewhere.values(),
            {"set": {"tag": "id", "field": "_id", "value": "{{{event.id}}}"}},
        ],
        "on_failure": _failed(dataset),
    }


# Fields


def _fields(
    plugin: Plugin, dataset: Dataset, stream: Stream, contract: Dict[str, Any]
) -> Dict[str, List[Dict[str, Any]]]:
    theirs: Dict[str, str] = {}
    for row in dataset.rows:
        if not isinstance(row, Given):
            for path in [row.ours] if isinstance(row.ours, str) else row.ours:
                theirs.setdefault(
                    path, row.theirs if isinstance(row.theirs, str) else ", ".join(row.theirs)
                )
    found: Dict[str, List[Dict[str, Any]]] = {
        "base-fields": [],
        "ecs": [],
        "fields": [],
        "agent": [
            {"name": name, "type": kind, "description": "Of the agent's input."}
            for name, kind in _of_agent(stream)
        ],
    }
    for path, spec in types(ELASTIC, contract, dataset).items():
        file = (
            "base-fields"
            if path == "@timestamp"
            or path.startswith("data_stream.")
            or path in ("event.module", "event.dataset")
            else "fields"
            if path.startswith(f"{plugin.name}.")
            else "ecs"
        )
        about = (
            f"Of {plugin.title}'s {theirs[path]}."
            if path in theirs
            else (
                "Looked up by the pipeline."
                if path in ADDED
                else f"The same in all events of {dataset.name}, or of one input."
            )
        )
        found[file].append(
            {"name": path, "description": about, **spec}
            if path != "data_stream.namespace"
            else {
                "name": path,
                "description": "The data stream's namespace.",
                "type": "constant_keyword",
            }
        )
    found["fields"] += [
        {"name": path, "description": f"Of {plugin.title}'s {theirs[path]}.", "type": "group"}
        for path in lists_of_objects(contract, dataset)
        if path in theirs
    ]
    return found


def _of_agent(stream: Stream) -> Iterator[Tuple[str, str]]:
    kinds = {way.input for way in stream.ways}
    yield "input.type", "keyword"
    if PULLED in kinds:
        yield "error.code", "keyword"
    if kinds & {"udp", "tcp"}:
        yield "log.source.address", "keyword"
    if "filestream" in kinds:
        yield from (("log.file.path", "keyword"), ("log.offset", "long"))


def _exported(dataset: Dataset, rows: List[Dict[str, Any]]) -> str:
    lines = "\n".join(
        f"| {row['name']} | {row['description']} | {row['type']} |"
        for row in sorted(rows, key=lambda row: str(row["name"]))
    )
    return (
        f"### {dataset.name.partition('.')[2]}\n\n**Exported fields**\n\n| Field | Description |"
        f" Type |\n|---|---|---|\n{lines}\n"
    )


def _readme(plugin: Plugin, package: Package) -> str:
    names = ", ".join(f"`{name}`" for name in package.streams)
    rows = "\n".join(
        f"| `{name}` | {', '.join(INPUTS[way.input] for way in stream.ways)} |"
        for name, stream in package.streams.items()
    )
    listens = sorted(
        {way.input for stream in package.streams.values() for way in stream.ways}
        & {"http_endpoint", "udp", "tcp"}
    )
    ways = "a way from the agent to the vendor's API" + (
        "; for what is pushed, a way from the vendor to the agent's port" if listens else ""
    )
    return f"""# {plugin.title}

## Overview

This integration collects {names} from {plugin.title} with Elastic Agent; nothing else is to be installed. Its events have the same fields and ids as those of siemtap's shipper, which may write into the same data streams.

### Compatibility

Kibana and Elastic Agent {KIBANA.replace("^", "").replace(" || ", ", ")} and newer.

### How it works

What is asked for is read window by window; how far it is, and the ids at the edge, are the agent's cursor, so that nothing is lost and nothing comes twice. An ingest pipeline makes the event.

## What data does this integration collect?

| Data stream | How |
|---|---|
{rows}

Each record becomes one event, in ECS, with the vendor's own words beside it.

### Supported use cases

Overview and search of what {plugin.title} saw, side by side with other sources, in the dashboard that comes with it; alerts of Elastic Security, as below.

## What do I need to use this integration?

The credentials that the form asks for, and {ways}.

## How do I deploy this integration?

### Agent-based deployment

An Elastic Agent must be installed and enrolled in Fleet, on a host from where the vendor can be reached.

### Onboard / configure

1. In Kibana, open **Integrations**, choose **Create new integration** and then **Upload it as a .zip**, and give it the zip.
2. Choose **Add {plugin.title}**, fill in the form, switch on the inputs that you want, and choose an agent policy.

### Validation

In Discover, look for `data_stream.dataset : {plugin.name}.*`, or open the dashboard `{overview(product_of(map(plugin.dataset, package.streams)), map(plugin.dataset, package.streams)).title}`.

## Alerts

Events that are alerts have `event.kind : alert`, the rule's name as `message`, and `event.severity` 21, 47, 73 or 99. In Kibana, **Security**, **Rules**, **Detection rules (SIEM)**, **Add Elastic rules**: install and enable the rule *External Alerts*, and each of them becomes an alert of Elastic Security with that name and severity.

## Troubleshooting

What a record or the API refuses is an event with `event.kind : pipeline_error` and the reason as `error.message`; for the API, the agent's page shows the input as degraded, too. This package was checked by
package-spec, by mito against a simulated vendor, and by its pipelines on OpenSearch; it was never run in a real Kibana or agent.

## Performance and scaling

One agent a policy: two of them would ask the same API twice. The id of an event is its document's id, so that what is read again is not indexed again.

## Reference
"""
