"""The wheel in an empty environment: it carries all it needs."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment_runs_the_demo(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = (tmp_path / "dist").glob("siemtap-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "siemtap/schemas/event.schema.json",
        "siemtap/schemas/identity-vectors.json",
        "siemtap/schemas/config/apptrana.json",
        "siemtap/schemas/datasets/apptrana.attack.json",
        "apptrana/mapping.py",
    } <= set(names)
    assert not [name for name in names if name.startswith("tests/") or "/cases/" in name]
    venv.create(tmp_path / "empty", with_pip=True)
    bin = tmp_path / "empty/bin"
    subprocess.run([bin / "pip", "install", "--quiet", str(wheel)], check=True, timeout=300)
    done = subprocess.run(
        [bin / "siemtap", "demo", "--once"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "apptrana.attack" in done.stdout, done.stderr
    sample = subprocess.run(
        [bin / "siemtap", "export", "schema", "apptrana.attack"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert sample.stdout == (ROOT / "schemas/datasets/apptrana.attack.json").read_text()
