"""`siemtap test output` for Splunk's HEC: each host, the token, indexer acknowledgement.

No event is sent: HEC deletes none.
"""

from __future__ import annotations

import uuid
from typing import Iterator, Tuple

from ...core.errors import ConfigError, SiemtapError
from ...edge.clock import SYSTEM
from ...outputs.splunk_hec.answers import HEALTHY, NO_DATA, error_from
from ...outputs.splunk_hec.collector import EVENT_PATH, HEALTH_PATH, Collector
from ...outputs.splunk_hec.settings import Settings
from ..config.sections import Config

Step = Tuple[bool, str]  # whether it succeeded, and a sentence


def check_hec(config: Config) -> Iterator[Step]:
    """Test the output step by step."""
    settings: Settings = config.output.settings
    collector = Collector(settings, SYSTEM)
    try:
        for host in collector.hosts.hosts:
            yield from _check_host(collector, host)
    finally:
        collector.close()
    indices = {each.common.index for each in config.inputs} | {settings.index}
    named = ", ".join(sorted(indices - {""}))
    yield (
        True,
        "no test event was sent, because HEC cannot delete one; the first event shows whether the"
        f" token may write to {named or 'its default index'}",
    )


def _check_host(collector: Collector, host: str) -> Iterator[Step]:
    try:
        health = collector.ask("GET", host, HEALTH_PATH)
        is_healthy = health.code == HEALTHY and health.status == 200
        yield is_healthy, f"{host}: health: {health}"
        # "No data" is what a valid token gets for an empty request.
        channel = str(uuid.uuid4()) if collector.settings.ack else ""
        empty = collector.ask("POST", host, EVENT_PATH, channel=channel)
        if empty.code != NO_DATA:
            raise error_from(empty, f"{host}: an empty request")
        yield True, f"{host}: the token is valid"
        yield from _check_ack(collector, host)
    except SiemtapError as error:
        yield False, str(error)


def _check_ack(collector: Collector, host: str) -> Iterator[Step]:
    """Compare `ack` with the token: only one with indexer acknowledgement answers for ids."""
    try:
        collector.acknowledged(host, str(uuid.uuid4()), [0], "")
    except SiemtapError:
        if collector.settings.ack:
            raise
        yield True, f"{host}: without indexer acknowledgement, as `ack: false` says"
        return
    if not collector.settings.ack:
        raise ConfigError(
            f"{host}: the token demands indexer acknowledgement: set `ack: true`, or turn it off in"
            " Splunk"
        )
    yield True, f"{host}: the token has indexer acknowledgement"
