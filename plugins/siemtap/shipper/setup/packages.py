"""Integration packages of Elastic: which ones Kibana lacks, and their upload."""

from __future__ import annotations

import time
from typing import Callable, Iterable, Iterator, NamedTuple, Tuple

from ...core.errors import ConfigError, Retry
from ...elastic.package.manifests import KIBANA
from ..config.sections import Config
from .kibana import kibana_client

OLDEST = tuple(int(part) for part in KIBANA.split(" || ")[0].lstrip("^").split(".")[:2])
# Kibana takes one upload in ten seconds (elastic/kibana, fleet/server/services/epm/packages/
# install.ts: UPLOAD_RETRY_AFTER_MS).
ATTEMPTS, WAIT = 3, 10.0  # seconds, where it does not say how long
LIVE = "live data stream"  # in Kibana's message (validate_package_upload.ts)


class Archive(NamedTuple):
    """An integration package: its name and version, and the ZIP archive."""

    name: str
    version: str
    content: bytes


def missing(config: Config, archives: Iterable[Archive]) -> Iterator[Tuple[Archive, str]]:
    """Yield each package, and the version that Kibana has; "" for none.

    Raise ConfigError if no Kibana is named, or it is too old for the packages.
    """
    if not config.kibana.host:
        raise ConfigError("--packages: the file has no setup.kibana.host; name your Kibana there")
    client = kibana_client(config)
    client.check(OLDEST, "the packages")
    for archive in archives:
        yield archive, client.installed_version(archive.name)


def upload(config: Config, archive: Archive, sleep: Callable[[float], None] = time.sleep) -> None:
    """Install a package; wait where Kibana asks for it."""
    client = kibana_client(config)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            client.upload(archive.content)
            return
        except Retry as error:
            if attempt == ATTEMPTS or error.status != 429:
                raise
            sleep(error.after / 1000 or WAIT)
        except ConfigError as error:
            if LIVE not in str(error):
                raise
            raise ConfigError(
                f"{error}. Events of {archive.name} came before its package: the page"
                " elastic-agent.md, Together with the shipper, tells how to keep them"
            ) from None
