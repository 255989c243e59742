"""The files of a new plugin that all kinds of feeds share. `@name@` and `@Title@` stand for its name.

The files of a kind are in `templates_pull` and `templates_push`.
"""

from __future__ import annotations

from typing import Dict

INIT = '''"""@Title@: events, collected from the vendor."""

from .plugin import PLUGIN

__all__ = ["PLUGIN"]
'''

MAPPING = '''"""The mapping of the vendor's events: one row a field, in the order of the vendor's page."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from siemtap.core.convert import Ip, instant, ip
from siemtap.core.declared import lookup
from siemtap.core.rows import Cim, Dataset, Field, Record, Split

severity = lookup({"low": 21, "medium": 47, "high": 73, "critical": 99}, lower=True)


def time(record: Record) -> str:
    """Return the time of an event."""
    return instant(record["time"])


def source(value: Any) -> Tuple[Optional[Ip], str, Optional[Ip]]:
    """Return an address as `source.ip`, `source.address` and `related.ip`. The annotation says the
    types of the fields."""
    return ip(value), value, ip(value)


# fmt: off
EVENT = Dataset(
    name="@name@.event",
    clock=time,
    identity=("id",),  # the vendor's fields that identify an event
    constant={
        "event.kind": "alert",
        "event.category": ["intrusion_detection"],
        "event.type": ["info"],
        "observer.vendor": "@Title@",
    },
    rows=(
        Field("id",          "@name@.id"),
        Field("what",        "message"),
        Field("severity",    "event.severity", severity),
        Split("source",      ("source.ip", "source.address", "related.ip"), source),
        Field("actor.name",  ("user.name", "related.user")),
        Field("actor.email", "user.email"),
        Field("tags[]",      "@name@.tags"),
    ),
    expected_keys=("time",),
    cim=Cim(
        models=("Alerts",),
        tags=("alert",),
        fields={
            "description": {"from": "message"},
            "severity": {
                "from": "event.severity",
                "map": {"21": "low", "47": "medium", "73": "high", "99": "critical"},
                "else": "unknown",
            },
            "signature": {"from": "message", "else": "unknown"},
            "src": {"from": "source.address"},
            "type": {"is": "alert"},
            "user": {"from": "user.name"},
            "vendor_product": {"is": "@Title@"},
        },
        custom=("vendor_product",),
    ),
)
# fmt: on
'''

# The events that a simulator invents, one a minute.
EVENTS = '''
    def event(self, minute: int) -> Dict[str, Any]:
        """Return the event of a minute."""
        return {
            "id": f"e{minute}",
            "time": rfc3339(minute * MINUTE),
            "what": "something happened",
            "severity": "high",
            "source": f"192.0.2.{minute % 250}",
            "actor": {"name": "eve", "email": "eve@example.com"},
            "tags": ["first", "second"],
        }
'''

RECORD = (
    '{"id": "e1", "time": "2026-03-04T09:59:00.000Z", "what": "something happened",'
    ' "severity": "high", "source": "192.0.2.7",'
    ' "actor": {"name": "eve", "email": "eve@example.com"}, "tags": ["first", "second"]}'
)

README = """# @Title@

What the product is, and which events siemtap collects from it.

## Configuration

1. @First@
2. Add it to `siemtap.yml`: see [sample.yml](sample.yml).
3. Run `siemtap test inputs`: it checks what can be checked without an event.

## Settings

<!-- settings -->
<!-- /settings -->

## Fields

<!-- fields -->
<!-- /fields -->

## Known gaps

What the API reference of the vendor does not specify, and what siemtap does about it.
"""

CHANGELOG = """# Changelog of @name@

## Unreleased

- First version.
"""

SETUP = """[metadata]
name = siemtap-@name@
version = 0.1.0
description = Events of @Title@, for siemtap.

[options]
packages = @name@
python_requires = >=3.10
install_requires =
    siemtap

[options.extras_require]
test =
    siemtap[testing]

[options.package_data]
@name@ =
    *.md
    *.yml
    elastic/*
    cases/*/*

[options.entry_points]
siemtap.plugins =
    @name@ = @name@:PLUGIN

[tool:pytest]
testpaths = tests
pythonpath = .
"""

PYPROJECT = """[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"
"""

TESTS = """from @name@ import PLUGIN
from siemtap.testing.contract import contract_of

Test_@name@ = contract_of(PLUGIN)
"""


def filled(text: str, name: str) -> str:
    """Return the text of a file for a plugin of this name."""
    return text.replace("@name@", name).replace("@Title@", name.replace("_", " ").title())


FILES: Dict[str, str] = {
    "__init__.py": INIT,
    "mapping.py": MAPPING,
    "README.md": README,
    "CHANGELOG.md": CHANGELOG,
}

PACKAGE_FILES: Dict[str, str] = {
    "setup.cfg": SETUP,
    "pyproject.toml": PYPROJECT,
    "tests/test_@name@.py": TESTS,
}
