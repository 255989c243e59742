"""manifest.yml of a package, and of each of its data streams."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Dict, List

from ...core.model import Plugin
from ...core.rows import Dataset
from .form import (
    CONNECTION,
    described_settings,
    input_variables,
    setting_variable,
    settings_named,
    variable,
)
from .model import INPUTS, PULLED, Package, Stream

# The newest format that the oldest of these Kibanas takes: 3.1 to 3.3 are for all from 8.16 on, 3.4
# is for 8.19 and 9.1, 3.5 for 9.2 (elastic/integrations, docs: "Guidelines for the format version
# to use in a package"), 3.6 for 9.4 (elastic/kibana pull request 261362).
FORMAT = "3.3.5"
KIBANA = "^8.18.0 || ^9.0.0"
PICTURE = "img/overview.png"


def manifest(plugin: Plugin, package: Package, version: str, picture: str) -> Dict[str, Any]:
    """Return manifest.yml of the package. `picture`: the size of its screenshot, "" without one."""
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
                        setting_variable(s, without.get(s["name"], ()))
                        for s in described_settings(plugin, needed)
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
    screenshot = {
        "src": f"/{PICTURE}",
        "title": f"Panels of the dashboard of {plugin.title}",
        "size": picture,
        "type": "image/png",
    }
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
        **({"screenshots": [screenshot]} if picture else {}),
        "policy_templates": [
            {
                "name": plugin.name,
                "title": plugin.title,
                "description": f"Collect logs from {plugin.title}.",
                "data_streams": [plugin.dataset(name).short_name for name in package.streams],
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


def default_tags(dataset: Dataset) -> List[str]:
    """Return the tags that the form has at first."""
    return ["forwarded", dataset.name.replace(".", "-").replace("_", "-")]


def stream_manifest(plugin: Plugin, dataset: Dataset, stream: Stream) -> Dict[str, Any]:
    title = f"{plugin.title} {dataset.short_name}"
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
                    *input_variables(way),
                    *(setting_variable(s) for s in settings_named(plugin, way, way.own)),
                    variable(
                        "tags",
                        "text",
                        "Tags",
                        "Your own tags for the events.",
                        multi=True,
                        show_user=False,
                        default=default_tags(dataset),
                    ),
                    variable(
                        "preserve_original_event",
                        "bool",
                        "Preserve original event",
                        "Keep the vendor's record, redacted, in event.original.",
                        show_user=True,
                        default=False,
                    ),
                    variable(
                        "preserve_duplicate_custom_fields",
                        "bool",
                        "Preserve duplicate custom fields",
                        f"Keep fields of {plugin.name} whose values are also in ECS fields.",
                        default=True,
                    ),
                    variable(
                        "processors",
                        "yaml",
                        "Processors",
                        "Processors that the agent runs before it sends the events.",
                    ),
                ],
            }
            for way in stream.ways
        ],
    }
