"""The ingest pipelines of a data stream: `default` calls `mapping` for each record of an agent."""

from __future__ import annotations

from typing import Any, Container, Dict, List

from ruamel.yaml.scalarstring import LiteralScalarString

from ...core.manifest import describe
from ...core.model import Plugin
from ...core.rows import Dataset, Field
from ..painless import collection_error, last_resort, reading_script, script, settings_of
from ..pipelines import flatten_processor, lookup_processors
from .model import PULLED, Package

FAILURE = (
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
IS_COLLECTION_ERROR = (
    "ctx.error instanceof Map && ctx.error.message != null && ctx.message == null && ctx._record =="
    " null && ctx.event?.original == null && ctx.agent?.type != 'siemtap'"
)


def _on_failure(dataset: Dataset) -> List[Dict[str, Any]]:
    """Return the processors that keep a document whose pipeline failed.

    It gets a time and an id, and loses what may be secret. A complete event stays as it is.
    """
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
        {"append": {"tag": "failed-message", "field": "error.message", "value": FAILURE}},
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


def _default_pipeline(plugin: Plugin, dataset: Dataset, package: Package) -> Dict[str, Any]:
    """Return the pipeline that all events pass.

    An event of siemtap's shipper is complete except for the lookups.
    """
    steps: List[Dict[str, Any]] = []
    if any(way.input == PULLED for way in package.streams[dataset.name].ways):
        source = collection_error(dataset, package.twins, _defaults(plugin, settings_of(dataset)))
        steps += [
            {
                "script": {
                    "tag": "collection-error",
                    "lang": "painless",
                    "if": IS_COLLECTION_ERROR,
                    "source": LiteralScalarString(source),
                }
            },
            {
                "set": {
                    "tag": "collection-error-id",
                    "field": "_id",
                    "value": "{{{event.id}}}",
                    "if": IS_COLLECTION_ERROR,
                }
            },
        ]
    steps += [
        {
            "pipeline": {
                "tag": "mapping",
                "name": '{{ IngestPipeline "mapping" }}',
                "if": f"ctx.agent?.type != 'siemtap' && !({IS_COLLECTION_ERROR})",
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
        *lookup_processors(dataset.targets(), frozenset(("geoip", "user_agent"))),
        flatten_processor(dataset),
    ]
    return {
        "description": f"Pipeline of {dataset.name} for events of Elastic Agent and of siemtap.",
        "processors": steps,
        "on_failure": _on_failure(dataset),
    }


def _defaults(plugin: Plugin, names: Container[str]) -> Dict[str, Any]:
    return {
        s["name"]: list(s["default"]) if isinstance(s["default"], tuple) else s["default"]
        for s in describe(plugin.settings)
        if s["name"] in names
    }


def pipelines(plugin: Plugin, dataset: Dataset, package: Package) -> Dict[str, Dict[str, Any]]:
    """Return the ingest pipelines of a data stream, by name."""
    return {
        "default": _default_pipeline(plugin, dataset, package),
        "mapping": _mapping_pipeline(plugin, dataset, package),
    }


def duplicates(dataset: Dataset) -> List[str]:
    """Return the vendor's fields that have the same value as an ECS field."""
    own = f"{dataset.namespace}."
    return [
        path
        for row in dataset.rows
        if isinstance(row, Field)
        and isinstance(row.target, tuple)
        and not all(path.startswith(own) for path in row.target)
        for path in row.target
        if path.startswith(own)
    ]


def _script(tag: str, source: str) -> Dict[str, Any]:
    return {"script": {"tag": tag, "lang": "painless", "source": LiteralScalarString(source)}}


def _mapping_pipeline(plugin: Plugin, dataset: Dataset, package: Package) -> Dict[str, Any]:
    stream = package.streams[dataset.name]
    wanted = {*settings_of(dataset), *stream.reads}
    source = script(
        dataset,
        package.twins,
        _defaults(plugin, wanted),
        frozenset(stream.elsewhere),
        "" if stream.reads_apart else stream.reader,
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
    if stream.reads_apart:
        reading = reading_script(dataset, package.twins, _defaults(plugin, wanted), stream.reader)
        steps += [
            _script("read", reading),
            {"drop": {"tag": "unwanted", "if": "ctx._drop == true"}},
        ]
    return {
        "description": f"Make an event of a record of {dataset.name}.",
        "processors": [
            *steps,
            _script("event", source),
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
        "on_failure": _on_failure(dataset),
    }
