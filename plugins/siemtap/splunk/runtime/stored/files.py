"""Small JSON files in the folder that splunkd gives an input for its checkpoints."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Dict

log = logging.getLogger("siemtap")


def read_json(path: Path) -> Dict[str, Any]:
    """Return the object in a file; {} if there is no file, or if it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Dict[str, Any]) -> None:
    """Replace a file by an object, or remove it for {}. Warn if the disk does not take it."""
    try:
        if not value:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.new")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        log.warning("%s cannot be written: %s; make room on the disk", path, error.strerror)
