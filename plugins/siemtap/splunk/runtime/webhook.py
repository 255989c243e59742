"""The webhook as a modular input of a heavy forwarder: payloads go into a spool next to the
checkpoint, and from there into splunkd's pipe.

The input runs until splunkd stops it. The spool and its checkpoint are files, so the input stays on
the instance it was created on.

Anyone who may post can send anything. After an error, payloads are read one by one, so that the
payloads before and after a bad one are delivered. A payload that fails by itself becomes a
pipeline_error with its text.
"""

from __future__ import annotations

import logging
from typing import Any, Container, Dict, Iterator, List, Optional, Set

from ...core.convert import rfc3339
from ...core.errors import ConfigError, Retry, SiemtapError
from ...core.events import ids_of
from ...core.identity import identify
from ...core.manifest import describe, fill_in
from ...core.model import Batch, Cursor, Mark, Payload, Plugin, Records, Unit
from ...core.rows import Event
from ...core.settings import CommonSettings, Receiving
from ...edge.receive.addresses import check
from ...edge.receive.delivered import DeliveredIds
from ...edge.receive.receiver import RECEIVED, RECEIVED_EVERY, ListenerPool, Receiver
from ...edge.receive.spool import Spool
from ...edge.store.checkpoints import Checkpoints, Database
from ...engine.cycle import Cycle, Fault, Policy
from ...engine.feeds import spooled_batches
from ...engine.mapper import batch_mapper
from ...engine.protocols import CheckpointStore, Feed, MapBatch, Sink
from ...engine.pump import pump
from ...engine.sinks import CheckpointAfter, SkipDelivered
from .input import LONGEST_WAIT, Input
from .names import webhook_settings
from .parameters import settings_without_account
from .pipe import SignalGuard
from .splunkd import MASK, error_summary, mask_error, parse_values, stanza_name

log = logging.getLogger("siemtap")

REPORT_EVERY = 60.0  # seconds between two lines about the events that splunkd got
MAX_PAYLOADS = 1_000  # in one delivery
POLICY = Policy(
    contains_memory_error=True,
    first_wait=RECEIVED_EVERY,
    max_wait=LONGEST_WAIT,
    max_wait_malformed=LONGEST_WAIT,
    wait_for_person=RECEIVED_EVERY,  # what a payload caused is isolated, and waits for nobody
)


class Webhook(Input):
    """A stanza of the webhook: a listener, a spool, and the delivery of what is in it."""

    extra_parameters = ()

    @staticmethod
    def settings_of(plugin: Plugin) -> List[Dict[str, Any]]:
        """Return the settings of a stanza, described."""
        return webhook_settings(plugin)

    @staticmethod
    def check(parameters: Dict[str, Any]) -> None:
        """Raise ConfigError for listener settings that cannot work.

        The page passes the secret masked; a placeholder stands for it.
        """
        values = {**_form_values(Receiving, parameters), "secret": "x" * 16}
        receiving = fill_in(Receiving, values)
        if not receiving.listen:
            raise ConfigError("`listen` is missing; write an address and a port: 0.0.0.0:8443")
        check(receiving)

    def _open_checkpoints(self) -> Optional[CheckpointStore]:
        return None

    def cycle(self) -> bool:
        """Listen and deliver until splunkd stops the input."""
        name = stanza_name(self.stanza)
        secrets = self.splunkd.read_secrets(f"data/inputs/{self.app.kind}", name)
        values = parse_values({**self.parameters, **secrets}, webhook_settings(self.plugin))
        if values.get("secret") == MASK:
            raise ConfigError(mask_error("input", name, ["secret"]))
        receiving = fill_in(Receiving, _form_values(Receiving, values))
        settings = settings_without_account(self.plugin, values)
        common = fill_in(CommonSettings, _form_values(CommonSettings, values))
        check(receiving)
        database = Database(self.folder / f"{self.file}.webhook.db", upgrade=True)
        spool = Spool(self.folder / f"{self.file}.spool", receiving.spool_max_bytes)
        receiver = Receiver(self.plugin, receiving, spool)
        try:
            receiver.open(ListenerPool(self.clock))
            log.info("%s: listening at %s", self.stanza, ", ".join(receiver.addresses))
            self._deliver(
                receiver=receiver,
                database=database,
                delivered_ids=DeliveredIds(database, receiving.remember, self.clock),
                settings=settings,
                common=common,
            )
        finally:
            receiver.close()
            database.close()
        return True

    def _deliver(
        self,
        receiver: Receiver,
        database: Database,
        delivered_ids: DeliveredIds,
        settings: Any,
        common: CommonSettings,
    ) -> None:
        """Deliver the spool until the input is stopped; after errors, wait longer each time."""
        delivery = SpoolDelivery(
            webhook=self,
            receiver=receiver,
            checkpoints=Checkpoints(database),
            delivered_ids=delivered_ids,
            settings=settings,
            map_batch=batch_mapper(
                self.plugin, settings, common, {}, lambda: rfc3339(self.clock.now())
            ),
        )
        cycle = Cycle(delivery.unit, self.clock.elapsed, POLICY)
        reported = self.clock.elapsed()
        while not self.stopping.is_set():
            error = cycle.attempt(delivery.deliver, RECEIVED_EVERY)
            if error:
                delivery.failed(error)
            if self.clock.elapsed() - reported > REPORT_EVERY:
                self.report_events()
                reported = self.clock.elapsed()
            self.stopping.wait(cycle.due - self.clock.elapsed())


class SpoolDelivery:
    """The delivery of a webhook's spool into splunkd's pipe.

    After an error it reads one payload at a time. The payload that fails again is delivered as
    text.
    """

    def __init__(
        self,
        webhook: Webhook,
        receiver: Receiver,
        checkpoints: Checkpoints,
        delivered_ids: DeliveredIds,
        settings: Any,
        map_batch: MapBatch,
    ) -> None:
        self.plugin = webhook.plugin
        self.dataset = webhook.plugin.datasets[0]
        self.must_stop = webhook.stopping.is_set
        self.spool = receiver.spool
        self.checkpoints = checkpoints
        self.delivered_ids = delivered_ids
        self.settings = settings
        self.map_batch = map_batch
        self.unit = Unit(stanza_name(webhook.stanza), self.dataset.name, RECEIVED)
        sink: Sink = SkipDelivered(webhook.pipe, webhook.pipe.holds, webhook.unsaved_ids)
        self.sink = SignalGuard(CheckpointAfter(sink, delivered_ids, webhook.unsaved_ids))
        self.one_by_one = False
        # where the last attempt that read one by one began
        self.attempted: Optional[Cursor] = None

    def deliver(self) -> bool:
        """Deliver what is in the spool."""
        mark = self.checkpoints.load(self.unit)
        if self.one_by_one and mark.cursor == self.attempted:
            self._deliver_as_text(mark)
        else:
            self.attempted = mark.cursor if self.one_by_one else None
            self._deliver_records(mark)
            self.one_by_one = False
        return True

    def failed(self, error: SiemtapError) -> None:
        """Choose how to read after an error: a payload may be the cause of any but those of the
        disk."""
        if isinstance(error, Fault) or not isinstance(error, Retry):
            self.one_by_one = True
        else:
            self.attempted = None

    def _deliver_records(self, mark: Mark) -> None:
        batches = spooled_batches(
            spool=self.spool,
            cursor=mark.cursor,
            receive=self._receive,
            fallback=self.dataset,
            at_most=1 if self.one_by_one else MAX_PAYLOADS,
        )
        self._pump(mark, batches, self.map_batch)

    def _deliver_as_text(self, mark: Mark) -> None:
        """Deliver the payload at the mark as a pipeline_error with its text."""
        payloads, after = self.spool.read(mark.cursor, 1)
        for payload in payloads:
            text = payload.body.decode("utf-8", "backslashreplace")
            batch = Batch(self.dataset, [text], after, payload.received)
            self._pump(mark, iter([batch]), hide_unmappable(self.map_batch))

    def _pump(self, mark: Mark, batches: Iterator[Batch], map_batch: MapBatch) -> None:
        pump(
            unit=self.unit,
            mark=mark,
            feed=Feed(batches, known=self._known_ids),
            map_batch=map_batch,
            sink=self.sink,
            must_stop=self.must_stop,
        )

    def _known_ids(self, events: List[Event]) -> Set[str]:
        return self.delivered_ids.known(self.unit, ids_of(events))

    def _receive(self, payload: Payload) -> Iterator[Records]:
        assert self.plugin.receive is not None
        return self.plugin.receive(self.settings, payload)


def hide_unmappable(map_batch: MapBatch) -> MapBatch:
    """Return a mapper of one text that never fails.

    A text that `map_batch` fails on cannot be redacted: its pipeline_error leaves it out.
    """

    def map_or_hide(batch: Batch, seen: Container[str] = ()) -> List[Event]:
        try:
            return map_batch(batch, seen)
        except Exception as error:
            text, dataset = batch.records[0], batch.dataset
            log.error("%s: the text cannot be redacted: %s", dataset.name, error_summary(error))
            return [
                {
                    "@timestamp": rfc3339(batch.until),
                    "event": {
                        "id": identify(dataset.name, [text]),
                        "kind": "pipeline_error",
                        "dataset": dataset.name,
                        "module": dataset.namespace,
                    },
                    "error": {
                        "message": (
                            f"a payload of {len(text)} characters can neither be read"
                            " nor redacted; its text is left out"
                        )
                    },
                }
            ]

    return map_or_hide


def _form_values(form: Any, parameters: Dict[str, Any]) -> Dict[str, Any]:
    """Return the parameters that are settings of a form, without masked ones."""
    names = {s["name"] for s in describe(form)}
    return {name: value for name, value in parameters.items() if name in names and value != MASK}
