"""How many events a second an add-on makes on Splunk's oldest Python, with its own libraries:
`ci/bench splunk`, after `packaging/build splunk`."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from bench_records import records

ROOT = Path(__file__).resolve().parents[2]
INSIDE = """
import io, json, sys, time
from apptrana import PLUGIN
from siemtap.core.settings import CommonSettings
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Unit
from siemtap.engine.mapper import batch_mapper
from siemtap.splunk.runtime.pipe import Pipe
texts = open(sys.argv[1]).read().splitlines()
dataset = PLUGIN.dataset("apptrana.attack")
map_batch = batch_mapper(PLUGIN, fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"}), fill_in(CommonSettings, {}), {}, lambda: "2026-03-04T10:00:00.000Z")
best = 0.0
for _ in range(5):
    pipe = Pipe(PLUGIN, "apptrana://bench", io.BytesIO())
    began = time.perf_counter()
    for start in range(0, len(texts), 500):
        records = [json.loads(text) for text in texts[start:start + 500]]
        pipe.deliver(Unit("bench", dataset.name), map_batch(Batch(dataset, records, {}, 0)), None)
    best = max(best, len(texts) / (time.perf_counter() - began))
print(json.dumps({"events": best, "python": sys.version.split()[0], "bytes": len(pipe.out.getvalue()) // len(texts)}))
"""


def run():
    python = os.environ.get("SIEMTAP_PYTHON39") or next(
        iter(
            sorted(
                Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(
                    "versions/3.9*/bin/python"
                )
            )
        ),
        None,
    )
    if not python:
        raise SystemExit("PYTHON 3.9 IS NOT HERE: set SIEMTAP_PYTHON39")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(next((ROOT / "dist").glob("TA-indusface-apptrana-*.tar.gz"))) as tar:
            tar.extractall(folder, filter="data")
        Path(folder, "records").write_text(
            "".join(f"{json.dumps(record)}\n" for record in records())
        )
        result = json.loads(
            subprocess.run(
                [python, "-B", "-c", INSIDE, f"{folder}/records"],
                env={"PYTHONPATH": f"{folder}/TA-indusface-apptrana/lib"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    print(
        f"the vendor's JSON -> events in splunkd's pipe, Python {result['python']} and the add-on's"
        f" own libraries: {result['events']:,.0f} events/s (at least 8,000, aim 15,000),"
        f" {result['bytes']} bytes each"
    )
