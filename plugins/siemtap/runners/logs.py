"""Logs: to standard error or a rotated file, as text for a person or as JSON in ECS for a
machine."""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from typing import Any

from .. import VERSION
from ..core.mapping import ECS_VERSION, rfc3339


class Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = (
            f"{rfc3339(int(record.created * 1000))} {record.levelname.lower():7s}"
            f" {record.getMessage()}"
        )
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class Ecs(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said: Any = {
            "@timestamp": rfc3339(int(record.created * 1000)),
            "log.level": record.levelname.lower(),
            "message": record.getMessage(),
            "ecs.version": ECS_VERSION,
            "log.logger": record.name,
            "service.name": "siemtap",
            "service.version": VERSION,
        }
        if record.exc_info:
            said["error.stack_trace"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def start(wish: Any) -> None:
    """`wish`: the `logging` section."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if wish.file:
        handler = logging.handlers.RotatingFileHandler(
            wish.file, maxBytes=10 * 1024**2, backupCount=5, encoding="utf-8"
        )
    handler.setFormatter(Ecs() if wish.format == "json" else Text())
    root = logging.getLogger("siemtap")
    root.handlers[:] = [handler]
    root.setLevel(wish.level.upper())
    root.propagate = False
