"""Options and checks that several commands share."""

from __future__ import annotations

import errno
import os
import signal
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

import click
import filelock

from ...core.errors import ConfigError, Retry, SiemtapError
from ...core.manifest import suggest
from ...edge.signal_calls import SignalCalls
from ...edge.store import private
from ...outputs.types import CLUSTERS
from ..config import load as configuration
from ..config.sections import Config, Input
from ..processes.locks import KILL_AFTER, wait_for_processes

if TYPE_CHECKING:
    from ..process import Shipper
    from ..processes.supervisor import Supervisor

CONFIG_FILE = "siemtap.yml"

Command = TypeVar("Command", Callable[..., Any], click.Command)  # before and after click
OVERRIDES = "siemtap.overrides"  # in the context of click: the values of -E


def _keep_overrides(context: click.Context, _: Any, values: Tuple[str, ...]) -> None:
    context.find_root().meta[OVERRIDES] = values


override_option = click.option(
    "-E",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    expose_value=False,
    callback=_keep_overrides,
    help=(
        "Set a setting for this call, such as -E logging.level=debug or -E inputs.0.interval=5m."
        " Repeatable."
    ),
)


def config_option(command: Command) -> Command:
    """Add the options that name the configuration and change it."""
    with_file = click.option(
        "-c",
        "--config",
        "file",
        default=CONFIG_FILE,
        show_default=True,
        help="The configuration file.",
    )
    return with_file(override_option(command))


def load(file: str) -> Config:
    """Read the configuration file, and what -E sets."""
    return configuration.load(file, overrides=overrides_of_call())


def overrides_of_call() -> Tuple[str, ...]:
    """Return the values of -E."""
    context = click.get_current_context(silent=True)
    overrides: Tuple[str, ...] = context.find_root().meta.get(OVERRIDES, ()) if context else ()
    return overrides


def select_input(inputs: Mapping[str, Input], id: str, which: str) -> Input:
    """Return the input with this id; without an id, the only one there is.

    `which` completes the error: "that receives events", say.
    """
    if id in inputs:
        return inputs[id]
    if not id and len(inputs) == 1:
        return next(iter(inputs.values()))
    raise ConfigError(
        f"expected one input {which}; found {', '.join(inputs) or 'none'}. Choose one with --input"
    )


def enabled_inputs(config: Config, ids: Sequence[str]) -> Tuple[Input, ...]:
    """Return the inputs with these ids. Raise ConfigError for an unknown or a disabled one."""
    inputs = {
        input_config.id: input_config
        for input_config in config.inputs
        if input_config.common.enabled
    }
    for id in ids:
        if id not in inputs:
            disabled = any(input_config.id == id for input_config in config.inputs)
            raise ConfigError(
                f'--input: "{id}" is {"disabled" if disabled else "no input"}'
                f"{suggest(id, inputs)}; the enabled inputs are {', '.join(inputs) or 'none'}"
            )
    return tuple(inputs[id] for id in dict.fromkeys(ids))


output_option = click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="NAME",
    help="Of several outputs: only the one with this name. Repeatable.",
)


def parts_of(config: Config, names: Sequence[str] = ()) -> List[Config]:
    """Return for each output, or each of those with these names, its part of the configuration.
    Raise ConfigError for an unknown name."""
    known = [output.name for output in config.outputs]
    for name in names:
        if name not in known:
            raise ConfigError(
                f'--output: "{name}" is no output{suggest(name, known)}; the outputs are'
                f" {', '.join(known)}"
            )
    return [part for part in config.by_output() if not names or part.output.name in names]


def cluster_parts(
    config: Config, names: Sequence[str] = (), types: Sequence[str] = CLUSTERS
) -> List[Config]:
    """Return the parts of the outputs that are clusters, or of these types; if none is, of the
    first output."""
    parts = parts_of(config, names)
    return [part for part in parts if part.output.type in types] or parts[:1]


@contextmanager
def data_folder_lock(config: Config) -> Iterator[None]:
    """Hold the lock of path.data: one process a data folder, or one supervisor with its own.

    Raise Retry if another process holds it: the same command succeeds once that one has ended.
    """
    try:
        private.make_folder(config.data)
    except (OSError, ValueError) as error:
        raise data_folder_error(config, error) from None
    pid_file = config.data / "siemtap.pid"
    lock = filelock.FileLock(config.data / "siemtap.lock", timeout=0, mode=private.FILE)
    folder = None
    try:
        lock.acquire()
        folder = _lock_folder(config.data)
    except (filelock.Timeout, BlockingIOError):
        lock.release()
        pid = _pid_in(pid_file)
        raise Retry(
            f"{config.data} is in use by another siemtap (process {pid}); stop it, or set another"
            " path.data"
        ) from None
    except (OSError, ValueError) as error:
        raise data_folder_error(config, error) from None
    try:
        try:
            private.close_to_others(pid_file)
            pid_file.write_text(str(os.getpid()))
        except OSError as error:
            raise data_folder_error(config, error) from None
        wait_for_processes(config.data, config.general.shutdown_timeout / 1000 + KILL_AFTER)
        yield
    finally:
        with suppress(OSError):  # a leftover names a process that is gone, and misleads nobody
            pid_file.unlink(missing_ok=True)
        lock.release()
        if folder is not None:
            os.close(folder)


def _lock_folder(folder: Path) -> Optional[int]:
    """Lock the folder itself, because a cleaner of temporary files may delete the lock file.

    Return the descriptor; None on Windows, where an open file cannot be deleted. Raise
    BlockingIOError if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a file system without locks of folders
        pass
    return descriptor


def _pid_in(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return "?"
    return text if text.isdigit() else "?"


def data_folder_error(config: Config, error: Exception) -> SiemtapError:
    """Return what it means that the data folder cannot be made or written."""
    name = getattr(error, "filename", None)
    place = f" ({name})" if name and str(name) != str(config.data) else ""
    if not isinstance(error, OSError):
        error = OSError(errno.EINVAL, "no such name")
    return private.error_from(
        error,
        f"path.data {config.data} cannot be written{place}",
        "make it a folder that this user may write, or set another path.data",
    )


@contextmanager
def signals(shipper: Union[Shipper, Supervisor], reload: Any = None) -> Iterator[None]:
    """Stop the shipper on SIGTERM and Ctrl-C; call `reload` on SIGHUP."""
    calls = SignalCalls()

    def start_reload() -> None:
        threading.Thread(target=reload, name="reload").start()

    before = {
        number: signal.signal(number, lambda *_: calls.ask(shipper.stop))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    if reload and hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: calls.ask(start_reload))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        calls.close()
