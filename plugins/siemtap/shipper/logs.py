"""Logs: on standard error, in systemd's journal or in a rotated file, as text or as ECS JSON."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import re
import sys
import time
from typing import Any, Callable, List, Mapping, Optional

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
# the least level of a priority of syslog(3), and its prefix
PRIORITIES = (
    (logging.CRITICAL, "<2>"),
    (logging.ERROR, "<3>"),
    (logging.WARNING, "<4>"),
    (logging.INFO, "<6>"),
    (logging.DEBUG, "<7>"),
)
LONGEST_CURSOR = 300  # characters of a cursor that are logged


class Text(logging.Formatter):
    """Lines of time, level and message."""

    def format(self, record: logging.LogRecord) -> str:
        text = (
            f"{rfc3339(int(record.created * 1000))} {record.levelname.lower():7s}"
            f" {_named(record)}{_message(record)}"
        )
        return text + _trace(record)


class Journal(logging.Formatter):
    """What another formatter makes, each line with its priority, for the journal of systemd.

    Source: sd-daemon(3), "<6>" and the others; the journal takes the prefix away.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        level = next(
            (prefix for least, prefix in PRIORITIES if record.levelno >= least), PRIORITIES[-1][1]
        )
        return "\n".join(f"{level}{line}" for line in self.inner.format(record).split("\n"))


class Message(logging.Formatter):
    """Messages alone: the journal has their time and their priority."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_named(record)}{_message(record)}{_trace(record)}"


def writes_to_journal(stream: Any, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether systemd has connected a stream with its journal: $JOURNAL_STREAM is the device
    and the inode (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return False
    return environment.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


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
        process = process_of(record)
        if process:
            fields["service.node.name"] = process
        trace = _trace(record)
        if trace:
            fields["error.stack_trace"] = trace[1:]
        return json.dumps(fields, ensure_ascii=False)


class ToSupervisor(logging.Handler):
    """Sends what a process logs to its supervisor, whose log it becomes a part of."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        super().__init__()
        self.send = send

    def emit(self, record: logging.LogRecord) -> None:
        line = {
            "created": record.created,
            "level": record.levelno,
            "message": record.getMessage(),
            "fields": getattr(record, "fields", {}),
            "trace": _trace(record),
        }
        self.send(line)


def log_of(process: str, line: Mapping[str, Any]) -> None:
    """Log a line that another process has sent."""
    if log.isEnabledFor(line["level"]):
        values = {
            "name": log.name,
            "levelno": line["level"],
            "levelname": logging.getLevelName(line["level"]),
            "created": line["created"],
            "msg": line["message"],
            "fields": line["fields"],
            "trace": line["trace"],
            "siemtap_process": process,
        }
        log.handle(logging.makeLogRecord(values))


def process_of(record: logging.LogRecord) -> str:
    """Return the process that logged, of several; "" if there is one."""
    return str(getattr(record, "siemtap_process", ""))


def name_process(name: str) -> None:
    """Name this process in each line that it logs itself."""

    def add(record: logging.LogRecord) -> bool:
        if not process_of(record):
            record.siemtap_process = name
        return True

    log.filters[:] = [add]


def _named(record: logging.LogRecord) -> str:
    process = process_of(record)
    return f"[{process}] " if process else ""


def _trace(record: logging.LogRecord) -> str:
    """Return the lines of an exception, each after a line end; "" without one."""
    if record.exc_info:
        return f"\n{logging.Formatter().formatException(record.exc_info)}"
    return str(getattr(record, "trace", ""))


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
    as_json = settings.format == "json"
    if settings.file or not writes_to_journal(sys.stderr):
        handler.setFormatter(Ecs() if as_json else Text())
    else:
        handler.setFormatter(Journal(Ecs() if as_json else Message()))
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
