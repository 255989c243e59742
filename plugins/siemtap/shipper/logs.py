"""Logs: on standard error or in a rotated file, as text or as ECS JSON."""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
import time
from typing import Any, List, Optional

from .. import VERSION
from ..core.convert import rfc3339
from ..core.errors import ConfigError
from ..core.model import Mark, Unit
from ..core.rows import ECS_VERSION, Event
from ..edge.printable import printable
from ..edge.store import private
from ..engine.protocols import Delivery, Rejections, Sink

log = logging.getLogger("siemtap")
QUERY = re.compile(r'\?[^" ]+')  # of a URL in a cursor, which may hold a secret
LONGEST_CURSOR = 300  # characters of a cursor that are logged


class Text(logging.Formatter):
    """Lines of time, level and message."""

    def format(self, record: logging.LogRecord) -> str:
        text = (
            f"{rfc3339(int(record.created * 1000))} {record.levelname.lower():7s}"
            f" {_message(record)}"
        )
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return text


class _LogFile(logging.handlers.RotatingFileHandler):
    """A rotated log file that only its user may read: it names sites, addresses and attackers. It
    says once on standard error that it cannot be written."""

    failed = False

    def _open(self) -> Any:
        return open(
            self.baseFilename,
            self.mode,
            encoding=self.encoding,
            errors=self.errors,
            opener=private.opener,
        )

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            error = sys.exc_info()[1]
            reason = getattr(error, "strerror", None) or type(error).__name__
            print(f"siemtap: {self.baseFilename} cannot be written: {reason}", file=sys.stderr)


class Ecs(logging.Formatter):
    """Lines of JSON with ECS fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields: Any = {
            "@timestamp": rfc3339(int(record.created * 1000)),
            "log.level": record.levelname.lower(),
            "message": _message(record),
            "ecs.version": ECS_VERSION,
            "log.logger": record.name,
            "service.name": "siemtap",
            "service.version": VERSION,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["error.stack_trace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    """Return the message without controls. Debug messages may end with the lines of a traceback."""
    return printable(record.getMessage(), lines=record.levelno <= logging.DEBUG)


def start(settings: Any) -> None:
    """Configure the logger `siemtap` by the `logging` section."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if settings.file:
        try:
            handler = _LogFile(
                settings.file,
                maxBytes=10 * 1024**2,
                backupCount=5,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no such name"
            raise ConfigError(
                f"logging.file {settings.file} cannot be written: {reason}; name a file in a folder"
                " that this user may write"
            ) from None
    handler.setFormatter(Ecs() if settings.format == "json" else Text())
    root = logging.getLogger("siemtap")
    for replaced in root.handlers:
        replaced.close()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    root.propagate = False


def debugging() -> bool:
    """Return whether the level debug is logged."""
    return log.isEnabledFor(logging.DEBUG)


class LogDeliveries:
    """A wrapper around a sink, for the level debug: logs each delivery and each checkpoint."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        began = time.monotonic()
        rejections = self.sink.deliver(unit, events, mark)
        log.debug(
            "%s: delivery of %d events: %d rejected, %.0f ms",
            unit,
            len(events),
            len(rejections),
            (time.monotonic() - began) * 1000,
        )
        if mark is not None:
            log.debug("%s: checkpoint %s", unit, _cursor_text(mark))
        return rejections


def log_batch(unit: Unit, delivery: Delivery) -> None:
    """Log a batch that is delivered, at the level debug."""
    batch = delivery.batch
    log.debug(
        "%s: batch of %d records of %s up to %s: %d events, %d of them read before",
        unit,
        len(batch.records),
        batch.dataset.name,
        rfc3339(batch.until),
        delivery.mapped,
        delivery.mapped - len(delivery.events),
    )


def _cursor_text(mark: Mark) -> str:
    text = QUERY.sub("?...", json.dumps(mark.cursor, default=str))
    return text if len(text) <= LONGEST_CURSOR else f"{text[:LONGEST_CURSOR]}..."
