"""The core: no input or output, no vendor names, and errors with their location."""

import pathlib

from siemtap.core.errors import Retry
from siemtap.edge import schemas


def test_error_message_begins_with_its_location():
    error = (
        Retry("not now", "POST https://x/getAttackInfo: 503", after=5, status=503)
        .at("10:00 to 10:05")
        .at("apptrana")
    )
    assert str(error) == "apptrana: 10:00 to 10:05: POST https://x/getAttackInfo: 503: not now"


def test_core_uses_no_network_files_clock_or_environment():
    """Read from the imports and the calls. Time zone data is allowed, wherever it is stored."""
    allowed = {
        "__future__",
        "dataclasses",
        "datetime",
        "difflib",
        "functools",
        "hashlib",
        "inspect",
        "ipaddress",
        "json",
        "linecache",
        "operator",
        "re",
        "typing",
        "urllib.parse",
        "zlib",
        "zoneinfo",
    }
    import ast

    for path in (pathlib.Path(schemas.__file__).parents[1] / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name for name in node.names} <= allowed, path
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module in allowed, path
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level <= len(path.parts) - path.parts.index("core") - 1, (
                    f"{path} uses something outside of core"
                )
            if isinstance(node, ast.Attribute):
                assert node.attr not in (
                    "now",
                    "utcnow",
                    "today",
                    "time",
                    "environ",
                    "open",
                ), f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("open", "input", "print"), f"{path}:{node.lineno}"


def test_siemtap_names_no_vendor():
    folder = pathlib.Path(schemas.__file__).parents[1]
    for path in folder.rglob("*.py"):
        text = path.read_text().lower()
        for vendor in ("apptrana", "indusface", "centurylink", "pingintelligence"):
            assert vendor not in text, path
