"""`siemtap test output` writes an event with every field wherever an input's events go."""

import os

import pytest
from click.testing import CliRunner
from elastic_documents import leaves
from outputs.simulated_cluster import configured, install

from siemtap.core.paths import same_path
from siemtap.elastic.field_types import ADDED, types
from siemtap.elastic.server import Server
from siemtap.render import registry
from siemtap.shipper.cli.main import main
from siemtap.shipper.setup.canary import build_sample

APPTRANA = {"type": "apptrana", "client_id": "a", "client_secret": "b"}
INPUTS = [
    APPTRANA,
    {**APPTRANA, "id": "prod", "namespace": "prod", "datasets": ["attack", "activity"]},
    {**APPTRANA, "id": "own", "index": "logs-%{[event.dataset]}-own"},
    {**APPTRANA, "id": "off", "namespace": "off", "enabled": False},
    {"type": "trend_vision_one", "api_key": "a"},
]


def check(served, folder):
    done = CliRunner().invoke(
        main, ["test", "output", "-c", configured(served, folder, inputs=INPUTS)]
    )
    return done.exit_code, done.output


@pytest.mark.slow
def test_every_index_of_every_input_is_tested(served, tmp_path):
    install(served, tmp_path, inputs=INPUTS)
    code, printed = check(served, tmp_path)
    assert code == 0, printed
    written = {
        line.split(" written to ")[1].split()[0]
        for line in printed.splitlines()
        if " was written to " in line
    }
    assert written == {
        "logs-apptrana.attack-default",
        "logs-apptrana.attack-prod",
        "logs-apptrana.activity-prod",
        "logs-apptrana.attack-own",
        "logs-trend_vision_one.alert-default",
        "logs-trend_vision_one.detection-default",
    }
    assert not any(
        backing for stream in served.cluster.streams.values() for backing in stream["backing"]
    )


@pytest.mark.slow
def test_mapping_that_does_not_fit_is_found(served, tmp_path):
    install(served, tmp_path, inputs=INPUTS)
    component = served.cluster.components["siemtap-apptrana.attack-mappings"]
    properties = component["template"]["mappings"]["properties"]
    properties["user_agent"]["properties"]["original"] = {"type": "long"}
    code, printed = check(served, tmp_path)
    failed = [line for line in printed.splitlines() if "FAIL" in line and "test event" in line]
    assert code == 1 and len(failed) == 3, printed
    assert all("its mapping does not fit these fields" in line for line in failed)


def test_sample_has_every_field():
    server = Server("elasticsearch", (9, 1), frozenset(), False)
    for dataset in registry.datasets().values():
        event = build_sample(server, dataset, "default", 0)
        paths = [path for path, _ in leaves(event, same_path)]
        missing = [
            field
            for field in types(server, dataset)
            if field not in ADDED
            and not any(path == field or path.startswith(f"{field}.") for path in paths)
            and not any(field.startswith(path.rpartition(".")[0] + ".") for path in paths)
        ]
        assert missing == [], dataset.name


@pytest.mark.parametrize(
    "output, code, sentence",
    [
        ("path.data: {0}/data", 0, "ok    events can be written to {0}/data/siemtap.db; `siemtap"),
        ("path.data: {0}", 0, "ok    events can be written to {0}/siemtap.db\n"),
        ("output.file.path: {0}/a/b", 0, "ok    events can be written to {0}/a/b/events.ndjson;"),
        ("path.data: {0}/siemtap.yml/a", 1, "FAIL  {0}/siemtap.yml is no folder; set another path"),
        ("output.file.path: {0}/siemtap.yml", 1, "is no folder; set another output.file.path"),
        ("output.stdout: {{}}", 0, "ok    `siemtap run` prints the events"),
    ],
)
def test_an_output_on_this_machine(output, code, sentence, tmp_path):
    file = tmp_path / "siemtap.yml"
    file.write_text(
        "inputs:\n  - {type: apptrana, client_id: a, client_secret: b}\n" + output.format(tmp_path)
    )
    done = CliRunner().invoke(main, ["test", "output", "-c", str(file)])
    assert done.exit_code == code and sentence.format(tmp_path) in done.output
    assert list(tmp_path.iterdir()) == [file]


def test_an_output_that_this_user_may_not_write(tmp_path, monkeypatch):
    file = tmp_path / "siemtap.yml"
    file.write_text("inputs:\n  - {type: apptrana, client_id: a, client_secret: b}\n")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = CliRunner().invoke(main, ["test", "output", "-c", str(file)])
    assert done.exit_code == 1 and "this user may not write to" in done.output
