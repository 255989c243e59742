"""dist/INDEX.md, and `packaging/build all` without a tool of the system."""

import os
import re
import subprocess
import sys
from pathlib import Path

import distributions
import index
import pytest

ROOT = Path(__file__).parents[2]
FILES = (
    "siemtap_0.1.0_amd64.deb",
    "siemtap-0.1.0-1.x86_64.rpm",
    "siemtap-0.1.0-py3-none-any.whl",
    "siemtap-0.1.0.tar.gz",
    "siemtap-0.1.0.cdx.json",
    "siemtap-0.1.0.tgz",
    "TA-indusface-apptrana-0.1.0.tar.gz",
    "apptrana-0.1.0.zip",
)


@pytest.fixture
def dist(tmp_path):
    for name in FILES:
        (tmp_path / name).write_text(name)
    return tmp_path


def test_each_file_has_a_row_and_a_digest(dist):
    path = index.write_index(dist)
    text = path.read_text()
    rows = re.findall(r"(?m)^\| `(\S+)` \| ([\d,]+) \| (.+) \| (.*) \|$", text)
    assert [row[0] for row in rows] == list(FILES)
    assert len({purpose for _, _, purpose, _ in rows}) == len(FILES)
    for name, size, _, how in rows:
        assert int(size) == len(name)
        assert name in how or name.endswith((".cdx.json", ".zip"))
        assert f"| `{name}` | `{distributions.sha256(dist / name)}` |" in text
    distributions.write_checksums(dist)
    assert index.write_index(dist).read_text() == text


def test_foreign_file_is_named(dist):
    (dist / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"notes.txt is nothing that packaging/build makes"):
        index.write_index(dist)


@pytest.mark.slow
def test_package_without_its_tool_is_left_out_with_a_word(tmp_path):
    code = (
        "import importlib.machinery as m, importlib.util as u, sys\n"
        f"loader = m.SourceFileLoader('build_command', {str(ROOT / 'packaging/build')!r})\n"
        "module = u.module_from_spec(u.spec_from_loader('build_command', loader))\n"
        "loader.exec_module(module)\n"
        "sys.exit(module.build_package('rpm'))\n"
    )
    result = subprocess.run(
        [sys.executable, "-B", "-c", code],
        env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": f"{ROOT}/plugins:{ROOT}/packaging"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("not built: rpm: packaging/build rpm needs rpmbuild")
