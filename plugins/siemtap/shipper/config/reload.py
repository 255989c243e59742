"""Reads the configuration again while siemtap runs: on SIGHUP, and when a file of inputs.d changes.

Inputs and logging are taken over. Whatever else changed is named, because only a restart applies
it.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import Any, Callable, Iterable, List, Protocol, Tuple

from ...core.errors import SiemtapError
from . import load as configuration
from .document import Mistakes
from .sections import Config, Input, Logging

WATCH_INTERVAL = 5.0  # seconds between two looks at inputs.d
# read by `siemtap setup` alone, or applied by a reload
APPLIED = ("file", "inputs", "overrides", "warnings", "logging", "setup", "kibana")
log = logging.getLogger("siemtap")


class Host(Protocol):
    """What is reloaded: the shipper."""

    config: Config
    stopping: threading.Event

    def configure(self, inputs: Iterable[Input]) -> None: ...


class Reloader:
    """Reloads a shipper's configuration, one reload at a time."""

    def __init__(
        self,
        shipper: Host,
        start_logging: Callable[[Logging], None],
        interval: float = WATCH_INTERVAL,
    ) -> None:
        self.shipper, self.start_logging, self.interval = shipper, start_logging, interval
        self.lock = threading.Lock()
        self.logging = shipper.config.logging
        self.files = self._files()

    def watch(self) -> None:
        """Reload whenever a file of inputs.d changes, until the shipper stops."""
        while not self.shipper.stopping.wait(self.interval):
            files = self._files()
            if files != self.files:
                self.files = files
                log.info("a file of %s changed", configuration.INPUTS_FOLDER)
                self.reload()

    def _files(self) -> List[Tuple[str, int, int]]:
        files = []
        for path in configuration.input_files(self.shipper.config.file):
            try:
                status = path.stat()
            except OSError:  # removed meanwhile
                continue
            files.append((str(path), status.st_mtime_ns, status.st_size))
        return files

    def reload(self) -> None:
        """Read the configuration again and apply it; on an error nothing changes."""
        with self.lock:
            self.files = self._files()
            running = self.shipper.config
            try:
                config = configuration.load(running.file, overrides=running.overrides)
            except Mistakes as error:
                for mistake in error.mistakes:
                    log.error("configuration not reloaded, inputs unchanged: %s", mistake)
                return
            except SiemtapError as error:
                log.error("configuration not reloaded, inputs unchanged: %s", error)
                return
            self._apply(config, running)

    def _apply(self, config: Config, running: Config) -> None:
        if config.logging != self.logging:
            try:
                self.start_logging(config.logging)
                self.logging = config.logging
                log.info("logging reloaded from %s", config.file)
            except SiemtapError as error:
                log.error("logging not reloaded: %s", error)
        try:
            self.shipper.configure(config.inputs)
            log.info("inputs reloaded from %s", config.file)
        except SiemtapError as error:
            log.error("inputs reloaded from %s; one cannot start: %s", config.file, error)
        changed = settings_for_restart(running, config)
        if changed:
            log.warning(
                "%s changed in %s: only a restart applies this", ", ".join(changed), config.file
            )


def settings_for_restart(running: Config, config: Config) -> List[str]:
    """Return the names of the settings that differ, and that a reload cannot change."""
    if running.output != config.output:
        return ["output", *_differing(running, config, (*APPLIED, "output", "output_settings"))]
    return _differing(running, config, APPLIED)


def _differing(running: Any, config: Any, without: Tuple[str, ...]) -> List[str]:
    changed = []
    for field in dataclasses.fields(Config):
        before, after = getattr(running, field.name), getattr(config, field.name)
        if field.name in without or before == after:
            continue
        section = {"general": "", "output_settings": f"output.{config.output}."}.get(
            field.name, f"{field.name}."
        )
        changed += [
            f"{section}{setting.name}"
            for setting in dataclasses.fields(before)
            if getattr(before, setting.name) != getattr(after, setting.name)
        ]
    return changed
