"""Every plugin's case folders, played."""

import json
import os

import jsonschema
import pytest

from cases import folders, play
from siemtap import contract
from siemtap.render.datasets import schema_of
from siemtap.runners import plugins

FORMATS = jsonschema.FormatChecker(["ipv4", "ipv6"])


def validator(dataset):
    return jsonschema.Draft7Validator(
        schema_of(contract.read("event.schema.json"), dataset), format_checker=FORMATS
    )


@pytest.mark.parametrize(
    "folder", folders(), ids=lambda folder: f"{folder.parents[1].name}/{folder.name}"
)
def test_case(folder):
    plugin = plugins.plugin(folder.parents[1].name)
    events, error, exchange = play(folder, plugin)
    # then review the difference by eye against the vendor's page
    if os.environ.get("SIEMTAP_ACCEPT"):
        (folder / "expected.json").write_text(
            json.dumps(events, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        if error:
            (folder / "expected.err").write_text(error, encoding="utf-8")
    assert exchange is None or exchange.asked == len(exchange.pairs), (
        "the plugin asked for less than the case holds"
    )
    expected = folder / "expected.err"
    assert error == (expected.read_text(encoding="utf-8") if expected.exists() else "")
    assert events == json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    for event in events:
        dataset = plugin.dataset(event["event"]["dataset"])
        errors = [
            f"{error.json_path}: {error.message}" for error in validator(dataset).iter_errors(event)
        ]
        assert errors == []
        if dataset.namespace in contract.read("event.schema.json")["vendors"]:
            assert jsonschema.Draft7Validator(
                contract.read("event.schema.json"), format_checker=FORMATS
            ).is_valid(event)
