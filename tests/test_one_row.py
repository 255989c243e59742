"""One row of a mapping table is the whole of it: the shipper's event, Splunk's knowledge,
Elastic's package, the schema and the page say the same after it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = 'Field("target",           "apptrana.target"),'
TOLD = """
import json, sys
sys.path.insert(0, "packaging")
import elastic
from siemtap import contract
from siemtap.core.manifest import fill_in
from siemtap.outputs.compact import compact
from siemtap.runners import plugins
plugin = plugins.plugin("apptrana")
say = plugin.datasets[0].bind(fill_in(plugin.settings, {"client_id": "x", "client_secret": "y"}))
files = elastic.files(plugin)
event = say({"attackTime": "2026-03-04T10:02:13.417Z", "target": "anna"}, 0, None)
print(json.dumps({
    "event": event, "splunk": compact(plugin.datasets[0], contract.read("cim.json")["datasets"]["apptrana.attack"]["fields"])(event),
    "fields": "".join(text for path, text in files.items() if path.startswith("data_stream/attack/fields/")),
    "pipeline": files["data_stream/attack/elasticsearch/ingest_pipeline/mapping.yml"]}))
"""


def test_one_row_changes_all(tmp_path):
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

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    before = json.loads(run("-c", TOLD))
    assert "user" not in before["event"] and run("packaging/build", "render", "--check") == ""
    table = tmp_path / "plugins/apptrana/mapping.py"
    assert ROW in table.read_text()
    table.write_text(table.read_text().replace(ROW, 'Field("target", "user.name"),'))
    assert run("packaging/build", "render").split() == [
        "rendered:",
        "plugins/apptrana/README.md",
        "rendered:",
        "schemas/datasets/apptrana.attack.json",
    ]
    after = json.loads(run("-c", TOLD))
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
    assert (
        "put(e, 'user.name', value)" in after["pipeline"]
        and "put(e, 'user.name', value)" not in before["pipeline"]
    )
