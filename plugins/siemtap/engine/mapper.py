"""Batch -> events: records mapped, losses named, unwanted events left out."""

from __future__ import annotations

import logging
import traceback
from functools import partial
from typing import AbstractSet, Callable, Container, Iterator, List, Mapping, Optional, Set, Tuple

from ..core.compile import bind, bind_error
from ..core.events import lost_event
from ..core.model import Batch, Plugin
from ..core.rows import CheckedEvent, Event
from ..core.settings import SEVERITIES, CommonSettings
from .protocols import EventCheck, MapBatch

log = logging.getLogger("siemtap")

Unwanted = Callable[[Event], bool]
Write = Callable[[CheckedEvent], Event]


def batch_mapper(
    plugin: Plugin,
    settings: object,
    common: CommonSettings,
    added_fields: Mapping[str, object],
    created: Callable[[], str],
    check: Optional[EventCheck] = None,
    write: Optional[Write] = None,
) -> MapBatch:
    """Return the mapping of one input.

    `added_fields`: path -> value of what the runner adds to every event, such as the agent.
    `created`: returns the time for `event.created`. `check`: what will check the events; what the
    mapping checks itself, it need not check again. `write`: returns an event that fits as one
    that is written already, for an output that sends it like that.
    """
    fields = fields_of(common, added_fields)
    logged: Set[Tuple[str, str]] = set()  # (dataset, reason)

    def report(dataset: str, reason: str) -> None:
        """Log why a record cannot be read, the same reason once as a warning."""
        log.log(
            logging.DEBUG if (dataset, reason) in logged else logging.WARNING,
            "a record of %s does not have the shape of the vendor's page (%s): it becomes a"
            " pipeline_error event",
            dataset,
            reason,
        )
        logged.add((dataset, reason))

    bound = {
        dataset.name: bind(
            dataset,
            settings,
            fields,
            partial(report, dataset.name),
            check.fields_of(dataset) if check else None,
        )
        for dataset in plugin.datasets
    }
    is_unwanted = drop_filter(common.drop)

    def map_one_by_one(batch: Batch, now: str) -> Iterator[Event]:
        """Map each record by itself: the one that fails becomes an error event."""
        map_record = bound[batch.dataset.name]
        map_error = bind_error(batch.dataset, settings, fields)
        for record in batch.records:
            try:
                event = map_record(record, batch.until, now)
            except MemoryError:
                raise
            except Exception as error:  # its text may quote the record, and is not shown
                failure = (batch.dataset.name, type(error).__name__)
                log.log(
                    logging.DEBUG if failure in logged else logging.WARNING,
                    "a record of %s cannot be mapped (%s): it becomes a pipeline_error event",
                    *failure,
                )
                log.debug("%s", traceback_text(error))
                logged.add(failure)
                event = map_error(record, batch.until, now)
            yield event

    def map_and_write(
        batch: Batch, now: str, write: Write, seen: Container[str]
    ) -> Iterator[Event]:
        map_record = bound[batch.dataset.name]
        for record in batch.records:
            event = map_record(record, batch.until, now)
            if (
                isinstance(event, CheckedEvent)
                and event["event"]["id"] not in seen
                and not (is_unwanted and is_unwanted(event))
            ):
                event = write(event)
            yield event

    def map_batch(batch: Batch, seen: Container[str] = ()) -> List[Event]:
        map_record = bound[batch.dataset.name]
        now = created()
        try:
            if write:
                events = list(map_and_write(batch, now, write, seen))
            else:
                events = [map_record(record, batch.until, now) for record in batch.records]
        except MemoryError:
            raise
        except Exception:
            events = list(map_one_by_one(batch, now))
        events += [lost_event(batch.dataset, lost, fields, now) for lost in batch.lost]
        if is_unwanted is None:
            return events
        return [event for event in events if not is_unwanted(event)]

    return map_batch


def fields_of(common: CommonSettings, added_fields: Mapping[str, object]) -> Mapping[str, object]:
    """Return path -> value of what an input adds to every event, and its runner."""
    return {
        "data_stream.namespace": common.namespace,
        "tags": list(common.tags),
        "fields": dict(common.fields),
        **added_fields,
    }


def drop_filter(rules: Mapping[str, object]) -> Optional[Unwanted]:
    """Return the filter of an input's `drop` setting: an event that matches any of its lists is
    left out, but never a pipeline_error. None: no rules.

    `rules`: {"severity": ["low"], "action": ["logged"], "dataset": ["acme.event"]}
    """
    if not rules:
        return None

    def listed(name: str) -> List[str]:
        value = rules.get(name) or []
        values = value if isinstance(value, (list, tuple)) else [value]
        return [str(item) for item in values]

    unwanted: Mapping[str, AbstractSet[object]] = {
        "severity": {SEVERITIES.get(name, name) for name in listed("severity")},
        "action": set(listed("action")),
        "dataset": set(listed("dataset")),
    }

    def is_unwanted(event: Event) -> bool:
        if event["event"].get("kind") == "pipeline_error":
            return False
        for name, values in unwanted.items():
            value = event["event"].get(name)
            # one that does not fit its field, such as a list, is moved to `extra` only later
            if isinstance(value, (str, int)) and value in values:
                return True
        return False

    return is_unwanted


def traceback_text(error: BaseException) -> str:
    """Return where an exception comes from, for a debug log: without its message, which may hold a
    secret or what an attacker sent."""
    return "".join(traceback.format_tb(error.__traceback__))
