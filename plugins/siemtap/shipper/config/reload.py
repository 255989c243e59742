"""Reads the configuration again while siemtap runs: on SIGHUP, and when a file of inputs.d changes.

Inputs, logging, new outputs and changed clusters are taken over. Whatever else changed is named,
because only a restart applies it.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import Any, Callable, Iterable, Iterator, List, Optional, Protocol, Tuple

from ...core.errors import ConfigError, SiemtapError
from ...engine.mapper import traceback_text
from . import load as configuration
from .document import Mistakes
from .sections import Config, Input, Logging, OutputConfig

WATCH_INTERVAL = 5.0  # seconds between two looks at inputs.d
# read by `siemtap setup` alone, or applied by a reload
APPLIED = ("file", "texts", "inputs", "overrides", "warnings", "logging", "setup", "kibana")
log = logging.getLogger("siemtap")


# outputs that can be open twice for a moment
SEVERAL = ("elasticsearch", "opensearch", "splunk_hec")


def start_or_go_on(
    start: Callable[[Input], None], configured: Input, before: Optional[Input]
) -> Optional[SiemtapError]:
    """Start an input as it is configured, or else as it was before. Return why it does not run as
    configured."""
    try:
        start(configured)
    except SiemtapError as error:
        try:
            if before:
                start(before)
        except SiemtapError as again:
            return ConfigError(
                f"{error}. It does not run at all, because its settings of before fail, too:"
                f" {again}"
            )
        return error
    return None


class Host(Protocol):
    """What is reloaded: the shipper."""

    config: Config
    stopping: threading.Event

    def reconfigure(self, config: Config) -> None: ...


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
            try:
                self._reload_if_changed()
            except Exception as error:  # the next change must be seen all the same
                log.error(
                    "the files of %s cannot be reloaded: %s: %s; their next change, or SIGHUP,"
                    " reloads the configuration",
                    configuration.INPUTS_FOLDER,
                    type(error).__name__,
                    error,
                )
                log.debug("%s", traceback_text(error))

    def _reload_if_changed(self) -> None:
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
            self.shipper.reconfigure(config)
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
    changed = []
    for field in dataclasses.fields(Config):
        if field.name not in (*APPLIED, "outputs"):
            section = "" if field.name == "general" else f"{field.name}."
            changed += _differing(
                getattr(running, field.name), getattr(config, field.name), section
            )
    return [*changed, *_differing_outputs(running.outputs, config.outputs)]


def _differing_outputs(
    running: Iterable[OutputConfig], configured: Iterable[OutputConfig]
) -> Iterator[str]:
    """Yield the settings of outputs that differ and cannot be taken over."""
    before = {output.name: output for output in running}
    for output in configured:
        old = before.get(output.name)
        if old is None or old == output or can_be_reloaded(old, output):
            continue
        if old.type == output.type:
            yield from _differing(old.settings, output.settings, f"{output.section}.")
        else:
            yield output.section


def can_be_reloaded(before: OutputConfig, after: OutputConfig) -> bool:
    """Return whether a changed output can be opened while the old one is in use."""
    return before.type in SEVERAL and after.type in SEVERAL


def _differing(before: Any, after: Any, section: str) -> List[str]:
    return [
        f"{section}{setting.name}"
        for setting in dataclasses.fields(before)
        if getattr(before, setting.name) != getattr(after, setting.name)
    ]
