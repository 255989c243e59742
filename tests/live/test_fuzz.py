"""A short run of each fuzzer, from the cases on; `ci/fuzz` is the long one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["frames", "line", "cef", "webhook", "gzip", "form", "udp"])
def test_nothing_but_malformed(tmp_path, target):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for case in (ROOT / "plugins/centurylink_ips/cases").iterdir():
        for payload in case.glob("payload.*"):
            shutil.copy(payload, corpus / case.name)
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tests/live/fuzz.py"),
            target,
            "-max_total_time=4",
            f"-artifact_prefix={tmp_path}/",
            str(corpus),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(ROOT / "plugins"), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr[-3_000:] + "".join(
        repr(path.read_bytes()) for path in tmp_path.glob("crash-*")
    )
    assert int(re.search(r"Done (\d+) runs", done.stderr)[1]) > 100
