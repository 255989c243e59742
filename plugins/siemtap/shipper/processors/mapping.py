"""The mapping of one input: of a vendor's records, or of events that another siemtap made."""

from __future__ import annotations

import logging
from typing import Any

from ...core.model import Unit
from ...edge import schemas
from ...engine.mapper import batch_mapper, fields_of
from ...engine.passing import event_passer, loss_reporter
from ...engine.protocols import MapBatch, Rejections
from ...outputs.validated import News, escape_controls, log_unfit
from ...render import health, registry
from ...render.event_check import SchemaCheck
from ..config.sections import Input
from ..delivery.routes import Route
from ..delivery.written import writer_of
from ..host import Host
from .steps import process

log = logging.getLogger("siemtap")


def check_of_installed() -> SchemaCheck:
    """Return the check of events of all installed plugins."""
    return SchemaCheck(schemas.read("event.schema.json"), registry.datasets().values())


def mapping_of(config: Input, settings: Any, host: Host, route: Route) -> MapBatch:
    """Return the mapping of an input and its processors. `settings`: those it runs with."""
    if config.plugin.reads_events:
        mapping = _passing(config, host)
    else:
        mapping = batch_mapper(
            plugin=config.plugin,
            settings=settings,
            common=config.common,
            added_fields=host.added_fields,
            created=host.clock.timestamp,
            check=host.check,
            write=writer_of(config, route),
        )
    return process(mapping, config.processors)


def _passing(config: Input, host: Host) -> MapBatch:
    unit = Unit(config.id, config.plugin.datasets[0].name)
    # in any case: others may write to the topics
    check = host.check or check_of_installed()
    news = News()

    def reject(refused: Rejections, new: int) -> None:
        """Store what was read and cannot be delivered; count and log what is `new` of it."""
        host.rejected_events.store(unit, refused)
        host.counts.add(rejected=new)
        if new:
            log.warning(
                "%s: rejected and stored: %s; see `siemtap rejected list`",
                unit,
                escape_controls(refused[0][1]),
            )

    def report_unfit(reason: str) -> None:
        host.counts.unfit()
        log_unfit(news, unit, reason)

    fields = fields_of(config.common, host.added_fields)
    report_loss = loss_reporter(config.datasets, health.DATASET, fields, host.clock.timestamp)
    return event_passer(config.common.drop, check, reject, report_unfit, report_loss)
