"""What the fields of a package's data streams say of themselves."""

import json

import pytest
from ruamel.yaml import YAML

from siemtap.bundles import integration
from siemtap.core.paths import leaves
from siemtap.elastic.package.fields import fields_of
from siemtap.render import ecs, registry
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


@pytest.mark.slow
@pytest.mark.parametrize("name", integration.packaged())
def test_fields_have_the_multi_fields_of_ecs(name):
    """`user.name.text`, for example, which rules of Elastic search."""
    known = {path for path, facts in ecs.fields().items() if facts.get("text")}
    for path, text in integration.files(registry.plugin(name)).items():
        if "/fields/" in path:
            for row in YAML(typ="safe").load(text):
                forms = [(form["name"], form["type"]) for form in row.get("multi_fields", [])]
                assert forms == ([("text", "match_only_text")] if row["name"] in known else [])


@pytest.mark.slow
@pytest.mark.parametrize("name", integration.packaged())
def test_sample_events_are_as_an_agent_sends_them(name):
    """With what the agent and Fleet add; each field of ours is declared."""
    plugin = registry.plugin(name)
    files = integration.files(plugin)
    for dataset, stream in integration.described(plugin).streams.items():
        place = f"data_stream/{dataset.partition('.')[2]}"
        sample = json.loads(files[f"{place}/sample_event.json"])
        assert sample["agent"]["type"] == "filebeat" and sample["agent"]["id"]
        assert sample["agent"]["id"] == sample["elastic_agent"]["id"]
        assert sample["input"]["type"] == stream.ways[0].input
        assert "forwarded" in sample["tags"] and sample["event"]["agent_id_status"] == "verified"
        declared = {
            row["name"]
            for path, text in files.items()
            if path.startswith(f"{place}/fields/")
            for row in YAML(typ="safe").load(text)
        }
        added = ("agent", "elastic_agent")  # by Fleet's own templates
        for path, _ in leaves(sample, item=lambda index: ""):
            top = path.partition(".")[0]
            assert (
                top in added
                or path == "event.agent_id_status"
                or any(path == field or path.startswith(f"{field}.") for field in declared)
            ), path
