"""All files of an integration package: path -> text."""

from __future__ import annotations

import io
import json
import re
from typing import Any, Dict, Mapping

from ruamel.yaml import YAML

from ...core.model import Plugin
from ...render.panels import dashboards, product_name
from ..field_types import types
from ..kibana.saved_objects import View, objects
from .agent import template
from .fields import ELASTIC, fields_of
from .manifests import manifest, stream_manifest
from .model import Package
from .pipelines import pipelines
from .readme import exported_fields, readme_of
from .samples import sample_event
from .transforms import transform_files

# for a plugin that has no elastic/icon.svg
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32"><path'
    ' fill="#2f6fde" d="M16 3c4 7 8 11 8 17a8 8 0 0 1-16 0c0-6 4-10 8-17z"/></svg>\n'
)


def files(
    plugin: Plugin,
    package: Package,
    samples: Mapping[str, Any],
    version: str,
    picture: str,
    icon: str,
) -> Dict[str, str]:
    """Return all files of a package except its picture: path -> text.

    samples: an event of each dataset. picture: its size, such as 1400x900; "" without one.
    icon: an SVG drawing.
    """
    made = {
        "manifest.yml": _yaml(manifest(plugin, package, version, picture)),
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
    readme = [readme_of(plugin, package)]
    for name, stream in package.streams.items():
        dataset = plugin.dataset(name)
        place, fields = (
            f"data_stream/{dataset.short_name}",
            fields_of(plugin, dataset, stream),
        )
        made[f"{place}/manifest.yml"] = _yaml(stream_manifest(plugin, dataset, stream))
        for way in stream.ways:
            made[f"{place}/agent/stream/{way.input}.yml.hbs"] = template(
                plugin, dataset, stream, way
            )
        for pipeline, body in pipelines(plugin, dataset, package).items():
            made[f"{place}/elasticsearch/ingest_pipeline/{pipeline}.yml"] = _yaml(
                body, head="---\n"
            )
        sample = sample_event(samples[name], dataset, stream)
        made[f"{place}/sample_event.json"] = (
            json.dumps(sample, indent=4, ensure_ascii=False, sort_keys=True) + "\n"
        )
        for file, rows in fields.items():
            made[f"{place}/fields/{file}.yml"] = _yaml(rows)
        for path, content in transform_files(dataset, stream, fields).items():
            made[path] = _yaml(content)
        readme.append(exported_fields(dataset, [row for rows in fields.values() for row in rows]))
    datasets = [plugin.dataset(name) for name in package.streams]
    known = {path: kind for dataset in datasets for path, kind in types(ELASTIC, dataset).items()}
    shown = dashboards(product_name(datasets), datasets)
    for saved in objects(shown, known, View("logs-*", package=plugin.name)):
        made[f"kibana/{saved['type']}/{saved['id']}.json"] = (
            json.dumps(saved, indent=4, ensure_ascii=False, sort_keys=True) + "\n"
        )
    made["docs/README.md"] = "\n".join(readme)
    made["img/icon.svg"] = icon
    return made


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
