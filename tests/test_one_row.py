"""A new row in a mapping table is all that a new field needs: the event, Splunk's fields, the
Elastic package, the schema and the README follow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ROW = 'Field("target",           "apptrana.target"),'
SCRIPT = """
import json, sys
from siemtap.bundles import integration
from siemtap.edge import schemas
from siemtap.core.compile import bind
from siemtap.core.manifest import fill_in
from siemtap.edge.splunk.compact import compact
from siemtap.render import registry
plugin = registry.plugin("apptrana")
map_record = bind(plugin.datasets[0], fill_in(plugin.settings, {"client_id": "x", "client_secret": "y"}))
files = integration.files(plugin)
event = map_record({"attackTime": "2026-03-04T10:02:13.417Z", "target": "anna"}, 0, None)
print(json.dumps({
    "event": event, "splunk": compact(plugin.datasets[0])(event),
    "fields": "".join(text for path, text in files.items() if path.startswith("data_stream/attack/fields/")),
    "pipeline": files["data_stream/attack/elasticsearch/ingest_pipeline/mapping.yml"]}))
"""


def test_new_row_adds_its_field_everywhere(tmp_path):
    tracked = subprocess.run(
        [
            "git",
            "ls-files",
            "-co",
            "--exclude-standard",
            "plugins",
            "packaging",
            "schemas",
            "docs",
            "README.md",
            "LICENSE",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in filter(None, tracked):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "plugins"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(*arguments):
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    before = json.loads(run("-c", SCRIPT))
    assert "user" not in before["event"] and run("packaging/build", "render", "--check") == ""
    table = tmp_path / "plugins/apptrana/mapping.py"
    assert ROW in table.read_text()
    table.write_text(table.read_text().replace(ROW, 'Field("target", "user.name"),'))
    assert run("packaging/build", "render").split() == [
        "rendered:",
        "plugins/apptrana/README.md",
        "rendered:",
        "schemas/event.schema.json",
        "rendered:",
        "schemas/datasets/apptrana.attack.json",
        "rendered:",
        "docs/reference/fields.md",
    ]
    after = json.loads(run("-c", SCRIPT))
    assert (
        before["event"]["apptrana"] == {"target": "anna"}
        and before["splunk"]["apptrana.target"] == "anna"
    )
    assert (
        after["event"]["user"] == {"name": "anna"}
        and after["splunk"]["user.name"] == "anna"
        and "apptrana" not in after["event"]
    )
    schema = json.loads((tmp_path / "schemas/datasets/apptrana.attack.json").read_text())
    assert "name" in schema["properties"]["user"]["properties"]
    assert (
        "| `target` | " in (tmp_path / "plugins/apptrana/README.md").read_text()
        and "`user.name`" in (tmp_path / "plugins/apptrana/README.md").read_text()
    )
    assert "name: user.name" in after["fields"] and "name: user.name" not in before["fields"]
    assert "'user.name'" in after["pipeline"] and "'user.name'" not in before["pipeline"]
