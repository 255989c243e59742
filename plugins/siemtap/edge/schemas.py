"""The files of schemas/: in the package where it is installed, else in the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]  # siemtap


def read(name: str) -> Any:
    """Return the JSON of a file, such as `event.schema.json`."""
    installed = HERE / "schemas" / name
    return json.loads(
        (installed if installed.exists() else HERE.parents[1] / "schemas" / name).read_text(
            encoding="utf-8"
        )
    )
