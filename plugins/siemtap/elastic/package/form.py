"""The settings of a plugin and of an agent's input, as the form of an integration shows them."""

from __future__ import annotations

from typing import Any, Container, Dict, List, Mapping, Sequence

from ...core.manifest import describe, kind_of
from ...core.model import Plugin
from ...render.kinds import Variable, rendering_of
from .model import Package, Way

# What a setting is called on Elastic's pages, where that is not its own name.
ELASTIC_NAMES = {"lookback": "initial_interval"}
# Settings that no form of a package has, whatever the vendor.
ABSENT = {
    "keep_original": "the form has Preserve original event",
    "severity_map": (
        "it would travel with each event; the data stream's @custom pipeline can set event.severity"
    ),
    "concurrency": "an agent sends one request at a time",
    "datasets": "each dataset is a data stream with a switch of its own",
}
SHOWN = ("interval", "lookback", "url", "paths")


def variable(name: str, kind: str, title: str, description: str, **more: Any) -> Dict[str, Any]:
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


SSL = variable(
    "ssl",
    "yaml",
    "SSL configuration",
    "Such as certificate_authorities of a private CA; for what listens, certificate and key.",
)
# Options of beats' cel input, under the names and with the defaults that it has itself (beats
# @029da339, x-pack/filebeat/input/cel/config.go: ResourceConfig and defaultConfig), but for
# the timeout, which is 30s there. {name: option of the input}
INPUT_OPTIONS = {
    "proxy_url": "resource.proxy_url",
    "ssl": "resource.ssl",
    "http_client_timeout": "resource.timeout",
    "retry_max_attempts": "resource.retry.max_attempts",
    "retry_wait_min": "resource.retry.wait_min",
    "retry_wait_max": "resource.retry.wait_max",
    "keep_alive_disable": "resource.keep_alive.disable",
    "max_executions": "max_executions",
}
CONNECTION = [
    variable(
        "proxy_url", "text", "Proxy URL", "Such as http://user:password@proxy.example.com:3128."
    ),
    SSL,
    variable(
        "http_client_timeout", "text", "HTTP client timeout", "For a whole answer.", default="60s"
    ),
    variable(
        "retry_max_attempts",
        "integer",
        "Maximum number of retries",
        "How often the agent repeats a request that was answered with 429 or 5xx, or not at all,"
        " before the answer counts as an error. 1: never.",
        default=5,
        required=True,
    ),
    variable(
        "retry_wait_min",
        "text",
        "Shortest wait before a retry",
        "It is doubled with each retry. A Retry-After of the API takes precedence.",
        default="1s",
        required=True,
    ),
    variable(
        "retry_wait_max",
        "text",
        "Longest wait before a retry",
        "Such as 60s.",
        default="60s",
        required=True,
    ),
    variable(
        "keep_alive_disable",
        "bool",
        "Disable keep-alive",
        "Opens a new connection for each request.",
        default=True,
        required=True,
    ),
    variable(
        "max_executions",
        "integer",
        "Maximum number of requests in an interval",
        "How many time ranges or pages are read in a row; the next interval continues there.",
        default=1000,
        required=True,
    ),
    variable(
        "enable_request_tracer",
        "bool",
        "Enable request tracing",
        "Writes requests, with their secrets, to the agent's log folder: only while you look for"
        " something. The files are deleted once it is switched off.",
        default=False,
    ),
]


def _listen_variables(port: int) -> List[Dict[str, Any]]:
    return [
        variable(
            "listen_address",
            "text",
            "Listen address",
            "The address to listen on; 0.0.0.0 for all.",
            default="localhost",
            required=True,
            show_user=True,
        ),
        variable(
            "listen_port",
            "integer",
            "Listen port",
            "The port to listen on.",
            default=port,
            required=True,
            show_user=True,
        ),
    ]


def input_variables(way: Way) -> List[Dict[str, Any]]:
    """Return the variables that an agent's input has, whatever the vendor."""
    if way.input == "http_endpoint":
        return [
            *_listen_variables(way.port),
            variable(
                "url",
                "text",
                "URL path",
                "The path of the webhook's address; /account/server names both. If the sender posts"
                " to this path with ?wait_for_completion_timeout=1m behind it, it is answered once"
                " Elasticsearch has the events, and with 504 after a minute; without, at once.",
                default="/",
                required=True,
                show_user=True,
            ),
            variable(
                "username",
                "text",
                "User name",
                "With a password: basic authentication.",
                show_user=True,
            ),
            variable(
                "password",
                "password",
                "Password",
                "With the user name.",
                secret=True,
                show_user=True,
            ),
            variable(
                "secret_header",
                "text",
                "Secret header",
                "The name of a header that must hold the secret value.",
                secret=False,
            ),
            variable(
                "secret_value",
                "password",
                "Secret value",
                "What the header must hold.",
                secret=True,
            ),
            SSL,
            variable(
                "max_body_bytes",
                "integer",
                "Longest body",
                "In bytes; a longer one is answered with 400.",
                default=10_485_760,
                required=True,
            ),
            variable(
                "http_endpoint_options",
                "yaml",
                "HTTP endpoint options",
                "Such as hmac.header, hmac.key and hmac.type, or max_in_flight_bytes: beyond half"
                " of it the sender gets 503 with Retry-After (Elastic Agent 9.4 and newer).",
            ),
        ]
    if way.input == "udp":
        return [
            *_listen_variables(way.port),
            variable(
                "udp_options",
                "yaml",
                "UDP options",
                "Such as read_buffer and max_message_size.",
                default="max_message_size: 64KiB\n",
            ),
        ]
    if way.input == "tcp":
        return [
            *_listen_variables(way.port),
            SSL,
            variable(
                "tcp_options",
                "yaml",
                "TCP options",
                "Such as framing and max_message_size. With framing: rfc6587, senders may count"
                " octets; a line that begins with a digit and is not counted, such as one with"
                " an ISO 8601 time and no priority, then ends its connection.",
                default="framing: delimiter\nmax_message_size: 256KiB\n",
            ),
        ]
    return (
        [
            variable(
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


def absent(plugin: Plugin, package: Package) -> Dict[str, str]:
    """Return the plugin's settings that the form does not have, each with the reason."""
    reasons = {**ABSENT, **package.absent}
    own = [s["name"] for s in describe(plugin.settings)]
    return {name: reasons[name] for name in own if name in reasons}


def setting_variable(s: Mapping[str, Any], without: Container[str] = ()) -> Dict[str, Any]:
    of_kind = variable_of(s)
    is_secret = kind_of(s).is_secret
    about = s["help"].replace("`", "") + of_kind.note
    if of_kind.is_list and s.get("options"):  # a list has no options of its own in Fleet
        about += f" Any of {', '.join(s['options'])}."
    made = variable(
        ELASTIC_NAMES.get(s["name"], s["name"]),
        of_kind.type,
        s["label"],
        about,
        required=is_needed(s),
        show_user=s["required"] or s["name"] in SHOWN or is_secret,
        multi=of_kind.is_list,
    )
    # package-spec asks, for a name that sounds like a secret's
    if is_secret or any(word in s["name"] for word in ("token", "secret", "password", "key")):
        made["secret"] = is_secret
    if of_kind.type == "select":
        made["options"] = [
            {"text": option, "value": option} for option in s["options"] if option not in without
        ]
    if s["default"] not in (None, "", (), {}):
        made["default"] = list(s["default"]) if isinstance(s["default"], tuple) else s["default"]
    return made


def variable_of(s: Mapping[str, Any]) -> Variable:
    """Return what a setting's kind is on the form."""
    return rendering_of(s).variable


def has_value(s: Mapping[str, Any]) -> bool:
    """Return whether a setting always has a value: a check box does, ticked or not."""
    return is_needed(s) or variable_of(s).type == "bool"


def is_needed(s: Mapping[str, Any]) -> bool:
    """Return whether a value is required.

    A value with a default must not be emptied, because the program expects it.
    """
    has_default = s["default"] not in (None, "", (), {})
    return bool(s["required"] or (has_default and variable_of(s).type != "bool"))


def described_settings(plugin: Plugin, needed: Container[str]) -> List[Dict[str, Any]]:
    return [
        {**s, "required": s["required"] or s["name"] in needed} for s in describe(plugin.settings)
    ]


def settings_named(plugin: Plugin, way: Way, names: Sequence[str]) -> List[Dict[str, Any]]:
    settings = {s["name"]: s for s in described_settings(plugin, way.needed)}
    return [settings[name] for name in names]
