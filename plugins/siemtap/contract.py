"""The one place that opens a schema: beside the package where it is installed, in the checkout's
schemas/ where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def read(name: str) -> Any:
    """The JSON of `event.schema.json`, say."""
    installed = HERE / "schemas" / name
    return json.loads(
        (installed if installed.exists() else HERE.parents[1] / "schemas" / name).read_text(
            encoding="utf-8"
        )
    )
