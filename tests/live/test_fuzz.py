"""A short run of each fuzz target, with the cases as corpus; `ci/fuzz` is the long run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# libFuzzer limits the peak of its resident memory, and Linux counts that of the process which
# started it as its own. The shell in between is small, whatever the tests before this one used.
IN_BETWEEN = ("sh", "-c", '"$@"; exit $?', "sh")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["frames", "line", "cef", "webhook", "gzip", "form", "udp"])
def test_parsers_raise_only_malformed(tmp_path, target):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for case in (ROOT / "plugins/centurylink_ips/cases").iterdir():
        for payload in case.glob("payload.*"):
            shutil.copy(payload, corpus / case.name)
    result = subprocess.run(
        [
            *IN_BETWEEN,
            sys.executable,
            str(ROOT / "tests/live/fuzz.py"),
            target,
            "-max_total_time=4",
            f"-artifact_prefix={tmp_path}/",
            str(corpus),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={"PYTHONPATH": str(ROOT / "plugins"), "PATH": "/usr/bin:/bin"},
    )
    assert result.returncode == 0, result.stderr[-3_000:] + "".join(
        repr(path.read_bytes()) for path in tmp_path.glob("crash-*")
    )
    assert int(re.search(r"Done (\d+) runs", result.stderr)[1]) > 100
