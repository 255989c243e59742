"""The wheel of dist/ with its locked libraries, in an empty environment of each Python that the
shipper supports (`SIEMTAP_WHEEL_PYTHONS`), and of 3.9, which it does not."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = list(filter(None, os.environ["SIEMTAP_WHEEL_PYTHONS"].split(os.pathsep)))
LOCKED = ROOT / "plugins/siemtap/bundles/requirements/shipper.txt"


def run(*command, cwd=None, code=0):
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, f"{done.stdout}{done.stderr}"
    return done


def version_of(python):
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("python", PYTHONS, ids=version_of)
def test_wheel_runs(python, tmp_path):
    (wheel,) = (ROOT / "dist").glob("siemtap-*.whl")
    run(python, "-I", "-m", "venv", tmp_path / "empty")
    bin = tmp_path / "empty/bin"
    pip = [bin / "python", "-I", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if version_of(python) == "3.9":  # only for what an add-on carries: it needs few libraries
        run(*pip, wheel)
        refused = run(bin / "siemtap", "--version", cwd=tmp_path, code=1)
        assert "3.10" in refused.stderr and "Traceback" not in refused.stderr
        return
    run(*pip, "--require-hashes", "--no-deps", "-r", LOCKED)
    run(*pip, "--no-deps", wheel)
    run(bin / "python", "-I", "-m", "pip", "check")
    demo = run(bin / "siemtap", "demo", "--once", cwd=tmp_path)
    for dataset in ("apptrana.attack", "centurylink_ips.", "pingintelligence."):
        assert dataset in demo.stdout
