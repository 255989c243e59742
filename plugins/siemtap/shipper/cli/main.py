"""The command `siemtap`. Exit codes: 0 done; 1 not everything was done; 2 the configuration or the
call needs a correction."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Tuple, Union

import click

from ... import VERSION
from ...core.errors import ConfigError, SiemtapError
from ...core.manifest import parse_duration, parse_time
from ...core.windows import Millis
from ...edge.clock import SYSTEM
from ...edge.printable import printable
from ...edge.receive.limits import raise_file_limit
from ...render import registry
from .. import logs
from ..config import exposure
from ..config.document import Mistakes
from ..config.reload import Reloader
from ..config.sections import Config
from ..process import Shipper
from ..progress import Backfill
from ..status.log_lines import MetricsLog
from ..status.verdict import log_failures
from ..systemd import Notifier, Supervision
from .options import config_option, data_folder_lock, enabled_inputs, load, signals

if TYPE_CHECKING:
    from ..processes.supervisor import Supervisor
    from ..status.server import Server


class _Commands(click.Group):
    """Commands whose errors are printed as sentences. All but `run` are imported once one of them
    is called, or all are listed."""

    def list_commands(self, context: click.Context) -> List[str]:
        self._add_others()
        return super().list_commands(context)

    def get_command(self, context: click.Context, name: str) -> Optional[click.Command]:
        if name not in self.commands:
            self._add_others()
            if name not in self.commands and name in registry.broken():
                raise ConfigError(registry.broken()[name])
        return super().get_command(context, name)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write which plugins have no commands here, because they cannot be loaded."""
        super().format_epilog(context, formatter)
        for sentence in registry.broken().values():
            formatter.write_paragraph()
            formatter.write_text(printable(sentence))

    def _add_others(self) -> None:
        for command in _other_commands():
            self.add_command(command)

    def invoke(self, context: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a terminal that is not UTF-8 shows \\u2026
                stream.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(context)
            sys.stdout.flush()
            return result
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            sentences, code = explain(error)
            _stop_writing_to_full_output()
            for sentence in sentences:
                click.echo(f"siemtap: {sentence}", err=True)
            context.exit(code)


def explain(error: Exception) -> Tuple[List[str], int]:
    """Return the sentences that an error is printed as, and the exit code."""
    if isinstance(error, Mistakes) and len(error.mistakes) > 1:
        mistakes = [printable(mistake, lines=True) for mistake in error.mistakes]
        return [f"{len(mistakes)} mistakes in the configuration:", *mistakes], 2
    if isinstance(error, SiemtapError):
        return [printable(error, lines=True)], 2 if isinstance(error, ConfigError) else 1
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return [f"{place}{error.strerror or type(error).__name__}; check its path and rights"], 1
    # The last resort. The log has the rest, for who mends it.
    logging.getLogger("siemtap").debug("internal error", exc_info=error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name} line {frame.lineno}"
    return [
        f"{type(error).__name__} at {place} is a fault of siemtap, not of yours; please report it,"
        " with the log of `logging.level: debug`"
    ], 1


def _stop_writing_to_full_output() -> None:
    """Let what standard output does not take go, so that its end raises no second error."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="siemtap")
def main() -> None:
    """Collect events from security vendors and deliver them to Elasticsearch, OpenSearch, Splunk,
    Kafka, NDJSON files, standard output or an embedded store."""


# run


@main.command(short_help="Collect events and deliver them to the output.")
@config_option
@click.option(
    "--once",
    is_flag=True,
    help="Collect up to now, then exit: with 1 if an input failed or an event was rejected.",
)
@click.option(
    "--patience",
    default="2m",
    metavar="DURATION",
    show_default=True,
    help="With --once: the retry timeout of an input that fails.",
)
@click.option(
    "--from",
    "start",
    metavar="TIME",
    help=(
        "Read again from this time (such as 2026-03-04T10:00Z), then exit. Checkpoints are neither"
        " used nor changed. Stop the other `siemtap run` first."
    ),
)
@click.option(
    "--to", "stop", metavar="TIME", help="With --from: read up to this time; by default now."
)
@click.option(
    "--input",
    "ids",
    multiple=True,
    metavar="ID",
    help="With --from or --once: only the input with this id; may be given several times.",
)
def run(
    file: str,
    once: bool,
    patience: str,
    start: Optional[str],
    stop: Optional[str],
    ids: Tuple[str, ...],
) -> None:
    """Collect events from all inputs and deliver them to their outputs.

    Runs until SIGTERM or Ctrl-C. SIGHUP reloads the configuration file: inputs, logging, new
    outputs and changed clusters; the log names the changed settings that need a restart. A change
    in `inputs.d` reloads too. One process at a time uses a `path.data`.
    """
    config = load(file)
    logs.start(config.logging)
    raise_file_limit()  # before the listeners: their limits are a part of it
    if stop and not start:
        raise ConfigError("--to needs --from")
    if once and config.cluster.enabled:
        raise ConfigError("--once: a worker of a fleet (cluster.kafka) runs until it is stopped")
    if ids:
        if not (start or once):
            raise ConfigError("--input needs --from or --once: `siemtap run` runs all inputs")
        config = dataclasses.replace(config, inputs=enabled_inputs(config, ids))
    time_range: Optional[Tuple[Millis, Millis]] = None
    if start:
        time_range = (parse_time(start), parse_time(stop) if stop else SYSTEM.now())
        if time_range[0] >= time_range[1]:
            raise ConfigError("--from must be before --to")
    with data_folder_lock(config):
        code = run_shipper(
            config,
            once=once or time_range is not None,
            patience=parse_duration(patience) / 1000,
            time_range=time_range,
            ids=ids,
        )
    sys.stdout.flush()
    # a worker that did not end in time holds nothing that the next start does not collect again
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)


def run_shipper(
    config: Config,
    once: bool,
    patience: float,
    time_range: Optional[Tuple[Millis, Millis]],
    ids: Tuple[str, ...] = (),
    handling: Any = signals,
) -> int:
    """Run a shipper, or several processes, with a status page until it ends; return the exit code.

    `patience` is in seconds. ids: of `--input`. `handling`: a context in which something outside
    can stop it.
    """
    log = logging.getLogger("siemtap")
    for warning in exposure.warnings(config):
        log.warning("%s", warning)
    progress = Backfill()
    shipper: Union[Shipper, Supervisor]
    if config.general.process_count == 1:
        shipper = Shipper(config, once, patience, time_range, progress=progress)
    else:
        from ..processes.supervisor import Supervisor  # `processes: 1` needs none

        shipper = Supervisor(config, once, patience, time_range, ids)
    reloader = Reloader(shipper, logs.start)
    notifier = Notifier()

    def reload() -> None:
        with notifier.reloading():
            reloader.reload()

    # handle signals before the status page can be reached
    with handling(shipper, None if once else reload):
        if not once:
            threading.Thread(target=reloader.watch, daemon=True).start()
        page: Optional[Server] = None
        metrics = MetricsLog(shipper) if config.metrics.enabled else None
        if config.http.enabled and not once:
            from ..status.server import Server  # the HTTP server is slow to import

            page = Server(shipper, config.http.host, config.http.port, config.http.names)
            log.info("status page at %s", page.address)
        if shipper.database.new:
            log.info(
                "no checkpoints in %s yet: every input starts from its `lookback`", config.data
            )
        try:
            done = shipper.run(Supervision(shipper, notifier).start)
        finally:
            progress.close()
            if metrics:
                metrics.close()
            if page:
                page.close()
    if once and isinstance(shipper, Shipper):  # workers log their own
        log_failures(shipper)
    log.info(
        "%s events accepted, %s rejected, %s read again and dropped",
        *(f"{shipper.totals[name]:,}" for name in ("accepted", "rejected", "echoes")),
    )
    return 0 if done or not once else 1


@main.command(hidden=True)
@click.argument("lock", type=click.Path(path_type=Path))
def worker(lock: Path) -> None:
    """Run as one of several processes of `siemtap run`, which starts this."""
    from ..processes.worker import run_worker

    code = run_worker(lock)
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)


def _other_commands() -> Iterator[click.Command]:
    """Yield the commands that a `siemtap run` does without."""
    from . import bundles, checks, demo, export, fleet, machine, plugin_commands, secrets, vendors
    from .stored import audit, events, queues, state, stores

    yield from (demo.demo, audit.audit_all, bundles.build)
    for module in (
        checks,
        export,
        queues,
        fleet,
        state,
        stores,
        events,
        secrets,
        vendors,
        machine,
    ):
        yield from module.COMMANDS
    yield from plugin_commands.groups()


logging.getLogger("siemtap").addHandler(logging.NullHandler())
if __name__ == "__main__":
    main()
