"""The log of an input: one file of each input kind, which Splunk indexes."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import sys
from pathlib import Path
from typing import Optional
from urllib.parse import quote

from .names import App

log = logging.getLogger("siemtap")

LEVELS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}


def configure_logging(app: App, stanza: str) -> None:
    """Log to `$SPLUNK_HOME/var/log/splunk/<root>_<kind>.log`, or to stderr without that folder, at
    the level INFO."""
    folder = log_folder()
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if folder:
        handler = open_log(folder / f"{app.root}_{app.kind}.log")
    line = "%(asctime)s %(levelname)s pid=%(process)d input={} %(message)s"
    name = log_name(stanza).replace("%", "%%")
    handler.setFormatter(logging.Formatter(line.format(name), "%Y-%m-%dT%H:%M:%S%z"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def log_folder() -> Optional[Path]:
    """Return the folder whose files Splunk indexes into _internal; None outside of Splunk."""
    home = os.environ.get("SPLUNK_HOME", "")
    folder = Path(home) / "var/log/splunk"
    return folder if home and folder.is_dir() else None


def open_log(path: Path) -> LogFile:
    """Return a handler that writes to a file of at most 25 MB, and keeps five older ones."""
    return LogFile(
        path,
        maxBytes=25_000_000,
        backupCount=5,
        encoding="utf-8",
        delay=True,
        errors="backslashreplace",
    )


class LogFile(logging.handlers.RotatingFileHandler):
    """A log file whose lines go to stderr while it cannot be written: splunkd.log shows them."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        reason = getattr(error, "strerror", None) or type(error).__name__
        try:
            print(
                f"ERROR the log {self.baseFilename} cannot be written ({reason}); make room on the"
                f" disk. The line: {record.getMessage()}",
                file=sys.stderr,
                flush=True,
            )
        except (OSError, ValueError):
            pass  # nobody reads stderr either


def log_name(stanza: str) -> str:
    """Return a stanza as one word of a log line: blanks and control characters as in a URL."""
    return re.sub(r"[\s\x00-\x1f\x7f]", lambda match: quote(match[0]), stanza)


def set_level(name: str) -> None:
    """Set the level of the log: the one of the Logging page, or INFO."""
    log.setLevel(LEVELS.get(name.upper(), logging.INFO))
