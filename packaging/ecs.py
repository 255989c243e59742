"""Write schemas/ecs.json: every field of the Elastic Common Schema, from npm's @elastic/ecs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from siemtap.core.rows import ECS_VERSION

PROGRAM = "const e = require({}); console.log(JSON.stringify([e.EcsVersion, e.EcsFlat]))"
TEXT = ("text", "match_only_text")  # the only multi-field that ECS has, of many fields
ABOUT = (
    f"Fields of the Elastic Common Schema {ECS_VERSION}, from npm's @elastic/ecs: name -> type."
    " text: it has a multi-field of this name. Left out: level extended, ignore_above 1024."
    " Written by packaging/build ecs."
)


PACKAGE = f"ecs-{ECS_VERSION}/package"  # in the cache of ci/tools


def make(root: Path) -> int:
    """Write schemas/ecs.json from the npm package that ci/tools unpacks; return the exit status."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "siemtap"
    package = Path(os.environ.get("SIEMTAP_CACHE") or cache) / PACKAGE
    if not package.exists():
        print(f"{package} is missing: run ci/tools", file=sys.stderr)
        return 1
    path = root / "schemas/ecs.json"
    path.write_text(render(read_package(package)), encoding="utf-8")
    print(f"rendered: {path.relative_to(root)}")
    return 0


def read_package(package: Path) -> dict[str, Any]:
    """Return the fields of the package, as it describes them. ValueError for another version."""
    program = PROGRAM.format(json.dumps(str(package)))
    output = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    version, fields = json.loads(output.stdout)
    if version != ECS_VERSION:
        raise ValueError(f"{package} is ECS {version}, and siemtap names {ECS_VERSION}")
    return dict(fields)


def render(fields: dict[str, Any]) -> str:
    """Return the text of schemas/ecs.json, one line a field."""
    lines = [f"  {json.dumps(name)}: {json.dumps(fact(fields[name]))}" for name in sorted(fields)]
    categories = {
        value["name"]: value.get("expected_event_types", [])
        for value in fields["event.category"]["allowed_values"]
    }
    head = json.dumps({"about": ABOUT, "version": ECS_VERSION, "expected_event_types": categories})
    return f'{head[:-1]},\n "fields": {{\n' + ",\n".join(lines) + "\n }}\n"


def fact(field: dict[str, Any]) -> dict[str, Any]:
    """Return what siemtap needs to know of a field."""
    facts: dict[str, Any] = {"type": field["type"]}
    if field["level"] != "extended":
        facts["level"] = field["level"]
    if "array" in field["normalize"]:
        facts["array"] = True
    if field.get("ignore_above", 1024) != 1024:
        facts["ignore_above"] = field["ignore_above"]
    if field.get("index") is False:
        facts["index"] = False
    for name in ("scaling_factor", "pattern"):
        if name in field:
            facts[name] = field[name]
    forms = [(form["name"], form["type"]) for form in field.get("multi_fields", [])]
    if forms:
        if forms != [TEXT]:
            raise ValueError(f"{field['flat_name']} has other forms than {TEXT}: {forms}")
        facts["text"] = True
    values = [value["name"] for value in field.get("allowed_values", [])]
    if values:
        facts["values"] = values
    return facts
