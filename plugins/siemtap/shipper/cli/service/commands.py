"""The commands `service`: install, start, stop and remove the service of Windows. pywin32 is
imported only here and in windows.py."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Tuple

import click

from ....core.errors import ConfigError
from ...config.load import load
from ...config.sections import Config

NAME = "siemtap"
CLASS = "siemtap.shipper.cli.service.windows.SiemtapService"  # which pythonservice.exe imports
CONFIG_OPTION = "config"  # of the service, in the registry: the configuration file
ACCOUNT = r"NT AUTHORITY\LocalService"  # the least rights; it has no password
# what pywintypes.error calls `winerror`, and what to do (winerror.h)
ADVICE = {
    5: "run this as an administrator",
    1053: "see the log and the event log (source siemtap)",
    1056: "it runs already",
    1060: "install it first: siemtap service install -c FILE",
    1062: "it does not run",
    1072: "close the window of services, and try again",
    1073: "remove it first: siemtap service remove",
}


def pywin32() -> Tuple[Any, Any, Any]:
    """Return the modules win32serviceutil, win32service and pywintypes. Raise ConfigError if this
    is not Windows, or pywin32 is missing."""
    try:
        names = ("win32serviceutil", "win32service", "pywintypes")
        serviceutil, service, types = map(importlib.import_module, names)
    except ImportError:
        raise ConfigError(
            "`siemtap service` needs Windows and pywin32:"
            " install siemtap with the extra `service`. On Linux"
            " run it by systemd: packaging/siemtap.service"
        ) from None
    return serviceutil, service, types


@contextmanager
def errors_as_sentences(doing: str) -> Iterator[Tuple[Any, Any]]:
    """Give win32serviceutil and win32service; raise their errors as ConfigError."""
    serviceutil, service, types = pywin32()
    try:
        yield serviceutil, service
    except (types.error, serviceutil.error) as error:
        code = getattr(error, "winerror", None)
        reason = getattr(error, "strerror", None) or str(error)
        advice = ADVICE.get(code, "see the event log") if code else "see the event log"
        raise ConfigError(f"{doing} failed: {reason.rstrip('.')}; {advice}") from None


def check_for_service(config: Config) -> None:
    """Raise ConfigError unless a configuration works without a terminal and a current folder."""
    if not config.logging.file:
        raise ConfigError(
            rf"{config.file}: set logging.file, such as C:\ProgramData\siemtap\siemtap.log: a"
            " service has no standard error"
        )
    for name, value in (("path.data", config.path.data), ("logging.file", config.logging.file)):
        if not Path(value).is_absolute():
            raise ConfigError(
                rf"{config.file}: {name} is {value}; write a whole path, such as"
                rf" C:\ProgramData\siemtap\{Path(value).name}: a service starts in another folder"
            )


@click.group(short_help="Install, start, stop or remove the service of Windows.")
def service() -> None:
    """Run siemtap as a service of Windows. Needs the extra `service` and an
    administrator."""


@service.command("install", short_help="Install the service.")
@click.option(
    "-c", "--config", "file", default="siemtap.yml", show_default=True, help="The configuration."
)
def install(file: str) -> None:
    """Install the service `siemtap`, which starts with Windows, for a configuration file.

    It runs as LocalService, which must be able to read the file and to write path.data and
    logging.file. It does not see variables of your user: refer to secrets as ${file:…} or
    ${keystore:…}.
    """
    with errors_as_sentences("installing the service") as (serviceutil, win32service):
        path = Path(file).absolute()
        check_for_service(load(str(path)))
        serviceutil.InstallService(
            CLASS,
            NAME,
            "siemtap",
            startType=win32service.SERVICE_AUTO_START,
            userName=ACCOUNT,
            description="Collects security events from vendors and delivers them.",
            delayedstart=True,
        )
        serviceutil.SetServiceCustomOption(NAME, CONFIG_OPTION, str(path))
    click.echo(f"the service {NAME} is installed for {path}; start it: siemtap service start")


@service.command("start", short_help="Start the service.")
def start() -> None:
    """Start the service."""
    with errors_as_sentences("starting the service") as (serviceutil, _):
        serviceutil.StartService(NAME)
    click.echo("started: `logging.file` says how it goes")


@service.command("stop", short_help="Stop the service.")
def stop() -> None:
    """Stop the service: events that are being delivered are finished."""
    with errors_as_sentences("stopping the service") as (serviceutil, _):
        serviceutil.StopService(NAME)
    click.echo("it stops")


@service.command("remove", short_help="Remove the service.")
def remove() -> None:
    """Remove the service. Configuration, data and log stay."""
    with errors_as_sentences("removing the service") as (serviceutil, _):
        serviceutil.RemoveService(NAME)
    click.echo("the service is removed; its data stay")
