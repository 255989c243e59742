"""The log of an input: one file of each input kind, which Splunk indexes."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from pathlib import Path

from .names import App

log = logging.getLogger("siemtap")

LEVELS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}


def configure_logging(app: App, stanza: str, level: int) -> None:
    """Log to `$SPLUNK_HOME/var/log/splunk/<root>_<kind>.log`, or to stderr without that folder."""
    home = os.environ.get("SPLUNK_HOME", "")
    folder = Path(home) / "var/log/splunk"
    handler: logging.Handler
    if home and folder.is_dir():
        handler = logging.handlers.RotatingFileHandler(
            folder / f"{app.root}_{app.kind}.log",
            maxBytes=25_000_000,
            backupCount=5,
            encoding="utf-8",
            delay=True,
            errors="backslashreplace",
        )
    else:
        handler = logging.StreamHandler(sys.stderr)
    line = "%(asctime)s %(levelname)s pid=%(process)d input={} %(message)s"
    handler.setFormatter(
        logging.Formatter(line.format(stanza.replace("%", "%%")), "%Y-%m-%dT%H:%M:%S%z")
    )
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False
