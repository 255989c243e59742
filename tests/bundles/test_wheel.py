"""The wheel in an empty environment."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from siemtap.bundles import integration

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_demo_runs_from_the_wheel_in_an_empty_environment(tmp_path):
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
    assert not [name for name in names if name.startswith("tests/")]
    # of the cases only the samples of Elastic's packages
    assert {name for name in names if "/cases/" in name} == {
        f"{name}/cases/{stream.sample}/expected.json"
        for name, plugin in integration.packaged().items()
        for stream in integration.described(plugin).streams.values()
    }
    venv.create(tmp_path / "empty", with_pip=True)
    bin = tmp_path / "empty/bin"
    subprocess.run([bin / "pip", "install", "--quiet", str(wheel)], check=True, timeout=300)
    result = subprocess.run(
        [bin / "siemtap", "demo", "--once"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0 and "apptrana.attack" in result.stdout, result.stderr
    sample = subprocess.run(
        [bin / "siemtap", "export", "schema", "apptrana.attack"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert sample.stdout == (ROOT / "schemas/datasets/apptrana.attack.json").read_text()
