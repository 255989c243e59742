"""The walk-through of "Adding a vendor": its blocks, put into the named files, give a plugin
whose tests pass."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from processes import python

from siemtap.shipper.cli.main import main

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/adding-a-vendor.md"
BLOCK = re.compile(r"```(?:python|http)\n# (\S+?)(?:: ([^\n]*))?\n(.*?)```", re.DOTALL)


def blocks():
    page = PAGE.read_text(encoding="utf-8")
    walk = page.partition("<!-- walk-through -->")[2].partition("<!-- /walk-through -->")[0]
    return BLOCK.findall(walk)


def apply(text, instruction, block):
    """Return a file's text with a block of the page in its place."""
    if not instruction:
        return block
    if instruction.startswith("instead of the row"):
        name = re.escape(instruction.rpartition(" ")[2])
        return re.sub(rf"^ *Field\({name}.*\n", lambda _: block, text, count=1, flags=re.MULTILINE)
    if instruction.startswith("instead of the line"):
        begin = re.escape(instruction.removeprefix("instead of the line "))
        assert re.search(rf"(?m)^ *{begin}", text), instruction
        return re.sub(rf"^ *{begin}.*\n", lambda _: block, text, count=1, flags=re.MULTILINE)
    if instruction.startswith("instead of "):
        start = text.index(f"{instruction.removeprefix('instead of ')}")
        start = text.rindex("\n", 0, start) + 1
        indent = re.match(" *", text[start:])[0]
        end = re.compile(rf"^ {{0,{len(indent)}}}(?:def|class|@)\b", re.MULTILINE).search(
            text, start + len(indent) + 1
        )
        return text[:start] + block + text[end.start() :]
    assert instruction == "more imports"
    return text.replace("from .manifest", f"{block}\nfrom .manifest", 1)


def pytest_of(package, **variables):
    return python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package, **variables)


def test_walk_through_gives_a_plugin_whose_tests_pass(tmp_path):
    package = tmp_path / "siemtap-acme"
    result = CliRunner().invoke(main, ["new", "acme", "--kind", "cursor", "--into", str(package)])
    assert result.exit_code == 0, result.output
    written = 0
    for path, instruction, block in blocks():
        file = package / path
        file.write_text(apply(file.read_text(), instruction, block))
        if path.endswith(".py"):
            written += len([line for line in block.splitlines() if line.strip()])
    assert f"{written} lines of Python were written" in PAGE.read_text(encoding="utf-8")
    accepted = pytest_of(package, SIEMTAP_ACCEPT="1")
    assert accepted.returncode == 0, accepted.stdout[-3000:]
    result = pytest_of(package)
    assert result.returncode == 0, result.stdout[-3000:]
    expected = (package / "acme/cases/an_event/expected.json").read_text()
    assert "b.example" in expected
