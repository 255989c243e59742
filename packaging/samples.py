"""A sample of every dataset for docs/reference/samples.md: record, event, and the event in Splunk.

The sample is the one of Elastic's package: the first event of a case.
"""

from __future__ import annotations

import json
from typing import Any, Iterable, List

from siemtap.bundles.integration import described, packaged
from siemtap.core.model import Plugin
from siemtap.edge.splunk.compact import compact
from siemtap.edge.splunk.serializer import sourcetype
from siemtap.testing import cases


def samples(plugins: Iterable[Plugin]) -> str:
    """Return a section for every dataset of the plugins that have a package."""
    return "\n\n".join(
        section for plugin in plugins if plugin.name in packaged() for section in _sections(plugin)
    )


def _sections(plugin: Plugin) -> List[str]:
    sections = []
    for name, stream in described(plugin).streams.items():
        folder = cases.folder_of(plugin) / "cases" / stream.sample
        _, _, record, _, event = next(cases.records_of(folder, plugin))
        sections.append(
            f"## {name}\n\nRecord:\n\n{_block(record)}\n\nEvent:\n\n{_block(event)}\n\n"
            f"In Splunk, sourcetype `{sourcetype(name)}`:\n\n"
            f"{_block(compact(plugin.dataset(name))(event))}"
        )
    return sections


def _block(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=1, ensure_ascii=False)}\n```"
