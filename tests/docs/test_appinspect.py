"""docs/evidence.md gives the reason of each warning of AppInspect that `ci/bundle` lets pass."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_warning_has_its_reason():
    expected = runpy.run_path(str(ROOT / "packaging/inspected.py"))["EXPECTED"]
    text = (ROOT / "docs/evidence.md").read_text()
    section = text[text.index("### Warnings of AppInspect") :].partition("\n### Public")[0]
    assert dict(re.findall(r"(?m)^\| `(\w+)` \| (.+) \|$", section)) == expected
