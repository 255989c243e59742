"""Manifest, mapping and programs -> an integration package of Elastic's: path -> text. Pure; `packaging/elastic.py` makes the zip.

What an agent collects it puts into `message`, as the vendor said it; the pipeline makes the event of it, by the same table as Python.
"""

from __future__ import annotations

import io
import json
from typing import Any, Dict, List, Mapping, Sequence

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from ..core.manifest import describe
from ..core.mapping import Dataset, Given
from ..core.model import Plugin
from .elastic import ADDED, Server, looked_up, types
from .painless import Twins, script, settings_of

FORMAT = "3.6.0"
KIBANA = "^8.18.0 || ^9.0.0"
ELASTIC = Server("elasticsearch", (9, 1))
# What a setting is called on Elastic's pages, where that is not its own name.
DIALECT = {"lookback": "initial_interval"}
KINDS = {"text": "text", "url": "text", "secret": "password", "duration": "text", "switch": "bool", "integer": "integer", "choice": "select", "many": "text", "table": "yaml"}
PIPELINE = "pipeline_error of {{{_ingest.on_failure_processor_type}}} {{{_ingest.on_failure_processor_tag}}} in {{{_ingest.pipeline}}}: {{{_ingest.on_failure_message}}}"


class Program(Dict[str, Any]):
    """A dataset's way into an agent: `cel` (the program), `account` and `own` (names of settings that it reads), `state` and `conf` (what the program
    and the pipeline get: name -> Handlebars), `without` (options that an agent cannot offer), `sample` (the case whose first event is shown)."""


def files(plugin: Plugin, contract: Dict[str, Any], programs: Mapping[str, Program], twins: Twins, samples: Mapping[str, Any], version: str) -> Dict[str, str]:
    """All of a package, for the datasets that have a program. `samples`: an event of each."""
    found = {"manifest.yml": _yaml(_manifest(plugin, programs, version)), "changelog.yml": _yaml([{"version": version, "changes": [{"description": "The first.", "type": "enhancement", "link": "https://github.com/example/siemtap/pull/1"}]}])}
    readme = [_readme(plugin, programs)]
    for name in programs:
        dataset = plugin.dataset(name)
        place, fields = f"data_stream/{name.partition('.')[2]}", _fields(plugin, dataset, contract)
        found[f"{place}/manifest.yml"] = _yaml(_stream(plugin, dataset, programs[name]))
        found[f"{place}/agent/stream/cel.yml.hbs"] = _template(dataset, programs[name])
        found[f"{place}/elasticsearch/ingest_pipeline/default.yml"] = _yaml(_default(dataset), head="---\n")
        found[f"{place}/elasticsearch/ingest_pipeline/mapping.yml"] = _yaml(_mapping(plugin, dataset, twins), head="---\n")
        found[f"{place}/sample_event.json"] = json.dumps(samples[name], indent=4, ensure_ascii=False, sort_keys=True) + "\n"
        for file, rows in fields.items():
            found[f"{place}/fields/{file}.yml"] = _yaml(rows)
        readme.append(_exported(dataset, [row for rows in fields.values() for row in rows]))
    found["docs/README.md"] = "\n".join(readme)
    found["img/icon.svg"] = ICON
    return found


ICON = ('<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32"><path fill="#2f6fde" d="M16 3c4 7 8 11 8 17a8 8 0 0 1-16 0c0-6 4-10 8-17z"/></svg>\n')


def _yaml(value: Any, head: str = "") -> str:
    writer, out = YAML(), io.StringIO()
    writer.width, writer.default_flow_style = 4_096, False
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(value, out)
    return head + out.getvalue()


def _manifest(plugin: Plugin, programs: Mapping[str, Program], version: str) -> Dict[str, Any]:
    account = [name for program in programs.values() for name in program["account"]]
    without = {name: options for program in programs.values() for name, options in program.get("without", {}).items()}
    return {
        "format_version": FORMAT, "name": plugin.name, "title": plugin.title, "version": version, "description": f"Collect logs from {plugin.title} with Elastic Agent.", "type": "integration",
        "categories": ["security", *plugin.categories], "conditions": {"kibana": {"version": KIBANA}, "elastic": {"subscription": "basic"}},
        "icons": [{"src": "/img/icon.svg", "title": plugin.title, "size": "32x32", "type": "image/svg+xml"}],
        "policy_templates": [{
            "name": plugin.name, "title": plugin.title, "description": f"Collect logs from {plugin.title}.", "data_streams": [name.partition(".")[2] for name in programs],
            "deployment_modes": {"default": {"enabled": True}, "agentless": {"enabled": True, "organization": "security", "division": "engineering", "team": "security-service-integrations"}},
            "inputs": [{"type": "cel", "title": f"Collect from {plugin.title}", "description": f"Ask the API of {plugin.title}.",
                        "vars": [*(_var(s, s["required"], without.get(s["name"], ())) for s in describe(plugin.settings) if s["name"] in account), *CONNECTION]}]}],
        "owner": {"github": "example/siemtap", "type": "community"}}


def _one(name: str, kind: str, title: str, description: str, **more: Any) -> Dict[str, Any]:
    return {"name": name, "type": kind, "title": title, "description": description, "multi": False, "required": False, "show_user": False, **more}


CONNECTION = [
    _one("proxy_url", "text", "Proxy URL", "Such as http://user:password@proxy.example.com:3128."),
    _one("ssl", "yaml", "SSL configuration", "Such as certificate_authorities of a private CA."),
    _one("http_client_timeout", "text", "HTTP client timeout", "For a whole answer.", default="60s"),
    _one("enable_request_tracer", "bool", "Enable request tracing", "Writes requests, with their secrets, to the agent's log folder: only while you look for something.", default=False)]


def _var(s: Mapping[str, Any], required: bool, without: Sequence[str] = ()) -> Dict[str, Any]:
    made = _one(DIALECT.get(s["name"], s["name"]), KINDS[s["kind"]], s["label"], s["help"].replace("`", ""), required=required, show_user=required)
    if s["kind"] == "secret":
        made["secret"] = True
    if s["kind"] == "choice":
        made["options"] = [{"text": option, "value": option} for option in s["options"] if option not in without]
    if s["default"] not in (None, "", (), {}):
        made["default"] = s["default"]
    return made


def _stream(plugin: Plugin, dataset: Dataset, program: Program) -> Dict[str, Any]:
    said = {s["name"]: s for s in describe(plugin.settings)}
    own = [{**_var(said[name], name == "interval"), "show_user": name in ("interval", "lookback")} for name in program["own"]]
    return {"title": f"{plugin.title} {dataset.name.partition('.')[2]}", "type": "logs", "streams": [{
        "input": "cel", "title": f"{plugin.title} {dataset.name.partition('.')[2]}", "description": f"Collect {dataset.name}.", "template_path": "cel.yml.hbs", "vars": [
            *own,
            _one("tags", "text", "Tags", "Words of your own.", multi=True, show_user=False, default=["forwarded", dataset.name.replace(".", "-")]),
            _one("preserve_original_event", "bool", "Preserve original event", "Keep the vendor's record, redacted, in event.original.", show_user=True, default=False),
            _one("processors", "yaml", "Processors", "Of the agent, before the events leave it.")]}]}


def _template(dataset: Dataset, program: Program) -> str:
    state = "\n".join(f"  {name}: {value}" for name, value in program["state"].items())
    conf = "\n".join(f"        {name}: {value}" for name, value in program["conf"].items())
    source = "\n".join(f"  {line}" if line else "" for line in program["cel"].strip().split("\n"))
    return f"""config_version: 2
interval: {{{{interval}}}}
resource.url: {{{{url}}}}
{{{{#if enable_request_tracer}}}}
resource.tracer.enabled: true
resource.tracer.filename: "../../logs/cel/http-request-trace-*.ndjson"
resource.tracer.maxbackups: 5
{{{{/if}}}}
{{{{#if proxy_url}}}}
resource.proxy_url: {{{{proxy_url}}}}
{{{{/if}}}}
{{{{#if ssl}}}}
resource.ssl: {{{{ssl}}}}
{{{{/if}}}}
{{{{#if http_client_timeout}}}}
resource.timeout: {{{{http_client_timeout}}}}
{{{{/if}}}}
state:
{state}
redact:
  fields:
    - client_secret
    - token.text
program: |
{source}
tags:
{{{{#if preserve_original_event}}}}
  - preserve_original_event
{{{{/if}}}}
{{{{#each tags as |tag|}}}}
  - {{{{tag}}}}
{{{{/each}}}}
{{{{#contains "forwarded" tags}}}}
publisher_pipeline.disable_host: true
{{{{/contains}}}}
processors:
  - drop_event:
      when:
        has_fields: [_nothing]
  - add_fields:
      target: _conf
      fields:
{conf}
{{{{#if processors}}}}
{{{{processors}}}}
{{{{/if}}}}
"""


# Pipelines

def _failed() -> List[Dict[str, Any]]:
    return [{"set": {"tag": "failed-kind", "field": "event.kind", "value": "pipeline_error"}}, {"append": {"tag": "failed-message", "field": "error.message", "value": PIPELINE}}]


def _default(dataset: Dataset) -> Dict[str, Any]:
    """An event that siemtap's own shipper wrote passes; where it comes from, and with what, is looked up for both."""
    steps: List[Dict[str, Any]] = [{"pipeline": {"tag": "mapping", "name": '{{ IngestPipeline "mapping" }}', "if": "ctx.agent?.type != 'siemtap'"}},
                                   {"set": {"tag": "ingested", "field": "event.ingested", "value": "{{{_ingest.timestamp}}}", "if": "ctx.event?.ingested == null"}},
                                   *looked_up(dataset.targets(), frozenset(("geoip", "user_agent")))]
    return {"description": f"{dataset.name}, from an agent or from siemtap.", "processors": steps, "on_failure": _failed()}


def _mapping(plugin: Plugin, dataset: Dataset, twins: Twins) -> Dict[str, Any]:
    defaults = {s["name"]: list(s["default"]) if isinstance(s["default"], tuple) else s["default"] for s in describe(plugin.settings) if s["name"] in settings_of(dataset)}
    return {"description": f"One record of {dataset.name} -> an event.", "processors": [
        {"json": {"tag": "record", "field": "message", "target_field": "_record", "on_failure": [{"set": {"tag": "no-record", "field": "_record", "value": "{{{message}}}"}}]}},
        {"remove": {"tag": "message", "field": "message", "ignore_missing": True}},
        {"script": {"tag": "event", "lang": "painless", "source": LiteralScalarString(script(dataset, twins, defaults))}},
        {"set": {"tag": "id", "field": "_id", "value": "{{{event.id}}}"}}], "on_failure": _failed()}


# Fields

def _fields(plugin: Plugin, dataset: Dataset, contract: Dict[str, Any]) -> Dict[str, List[Dict[str, Any]]]:
    theirs: Dict[str, str] = {}
    for row in dataset.rows:
        if not isinstance(row, Given):
            for path in [row.ours] if isinstance(row.ours, str) else row.ours:
                theirs.setdefault(path, row.theirs if isinstance(row.theirs, str) else ", ".join(row.theirs))
    found: Dict[str, List[Dict[str, Any]]] = {"base-fields": [], "ecs": [], "fields": [], "agent": [{"name": "input.type", "type": "keyword", "description": "The agent's input."}]}
    for path, spec in types(ELASTIC, contract, dataset).items():
        file = "base-fields" if path == "@timestamp" or path.startswith("data_stream.") or path in ("event.module", "event.dataset") else "fields" if path.startswith(f"{plugin.name}.") else "ecs"
        about = f"Of {plugin.title}'s {theirs[path]}." if path in theirs else "Looked up by the pipeline." if path in ADDED else f"The same in all events of {dataset.name}, or of one input."
        found[file].append({"name": path, "description": about, **spec} if path != "data_stream.namespace" else {"name": path, "description": "The data stream's namespace.", "type": "constant_keyword"})
    return found


def _exported(dataset: Dataset, rows: List[Dict[str, Any]]) -> str:
    lines = "\n".join(f"| {row['name']} | {row['description']} | {row['type']} |" for row in sorted(rows, key=lambda row: str(row["name"])))
    return f"### {dataset.name.partition('.')[2]}\n\n**Exported fields**\n\n| Field | Description | Type |\n|---|---|---|\n{lines}\n"


def _readme(plugin: Plugin, programs: Mapping[str, Program]) -> str:
    names = ", ".join(f"`{name}`" for name in programs)
    return f"""# {plugin.title}

## Overview

This integration collects {names} from {plugin.title} with Elastic Agent; nothing else is to be installed. Its events have the same fields and ids as those of siemtap's shipper.

### Compatibility

Kibana and Elastic Agent {KIBANA.replace("^", "").replace(" || ", ", ")} and newer.

## What data does this integration collect?

{names}: each record becomes one event, in ECS, with the vendor's own words beside it.

## What do I need to use this integration?

The credentials that the form below asks for, and a way from the agent to the vendor's API.

## How do I deploy this integration?

1. In Kibana, open Integrations, then Upload, and choose the zip.
2. Add {plugin.title}, fill in the form, and choose an agent policy.
3. In Discover, look for `data_stream.dataset : {plugin.name}.*`.

## Troubleshooting

What a record or the API refuses is an event with `event.kind: pipeline_error`, or a degraded input on the agent's page with the reason. It was checked by
package-spec, by mito against a simulated vendor, and by its pipelines on OpenSearch; it was never run in a real Kibana or agent.

## Reference
"""
