"""What the fields of a package's data streams say of themselves."""

import json

import pytest

from siemtap.bundles import integration
from siemtap.core.paths import leaves
from siemtap.elastic.package.fields import fields_of
from siemtap.testing.cases import all_folders

STREAMS = [
    (plugin, plugin.dataset(name), stream)
    for plugin in integration.packaged().values()
    for name, stream in integration.described(plugin).streams.items()
]
CONSTANT = ", unless the record could not be read."


@pytest.mark.parametrize("plugin, dataset, stream", STREAMS, ids=[row[1].name for row in STREAMS])
def test_descriptions_are_true_of_the_events_of_every_case(plugin, dataset, stream):
    """A field that is described to be constant has this value in each event, and no field of an event
    is left out."""
    described = {
        row["name"]: row["description"]
        for rows in fields_of(plugin, dataset, stream).values()
        for row in rows
    }
    constants = {
        path: text[: -len(CONSTANT)] for path, text in described.items() if text.endswith(CONSTANT)
    }
    folders = [folder for folder in all_folders() if folder.parents[1].name == plugin.name]
    events = [
        event
        for folder in folders
        if (folder / "expected.json").exists()
        for event in json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        if event["event"]["dataset"] == dataset.name and event["event"]["kind"] != "pipeline_error"
    ]
    assert events and constants
    for event in events:
        values = dict(leaves(event))
        for path, text in constants.items():
            value = values.get(path)
            shown = ", ".join(value) if isinstance(value, list) else str(value)
            assert value is None or shown == text, (path, value)
        for path in values:
            parents = [path[:at] for at, sign in enumerate(path) if sign == "."]
            assert path in described or set(parents) & described.keys(), path


def test_every_key_of_a_field_is_named():
    plugin, dataset, stream = next(row for row in STREAMS if row[1].name == "apptrana.attack")
    rows = [row for rows in fields_of(plugin, dataset, stream).values() for row in rows]
    described = {row["name"]: row["description"] for row in rows}
    assert described["apptrana.attack_data"] == "From attackData, target of Indusface AppTrana."
    assert described["source.geo.city_name"] == "Looked up by the ingest pipeline, from source.ip."
    assert all(len(text) > 10 for text in described.values())
