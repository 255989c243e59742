"""The webhook as a modular input, for a heavy forwarder: what is pushed goes into a spool beside
the checkpoint, and from there into splunkd's pipe.

It runs until splunkd stops it. The spool and its marks are one disk's: the input stays on the
instance that it was made on.

Whoever may post can send anything. Where an attempt fails, payloads are read one by one, so that
those before and behind go on; a payload that fails by itself becomes a pipeline_error of its text.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from ..core.errors import ConfigError, Retry
from ..core.forms import Every, Receiving
from ..core.identity import identify
from ..core.manifest import describe, fill_in
from ..core.mapping import Event, rfc3339
from ..core.model import Batch, Cursor, Mark, Payload, Unit
from ..edge.arrivals import Arrivals
from ..edge.checkpoints import Checkpoints, Database
from ..engine import InDoubt, Say, Then, pump, spooled, voice
from .names import of_webhook
from .receiving import RECEIVED, RECEIVED_EVERY, Ears, Reception, check
from .splunk import LONGEST_WAIT, Input, without_account
from .splunk_pipe import Gone, Undisturbed
from .splunkd import answers, stanza_name, summary

log = logging.getLogger("siemtap")

MASK = "******"
AT_ONCE = 1_000  # payloads in one delivery


class Webhook(Input):
    arguments = ()
    fields = staticmethod(of_webhook)

    @staticmethod
    def check(found: Dict[str, Any]) -> None:
        """Before a page keeps it. The secret is hidden from us there."""
        wish = fill_in(Receiving, {**_of(Receiving, found), "secret": "x" * 16})
        if not wish.listen:
            raise ConfigError("`listen` says where: 0.0.0.0:8443")
        check(wish)

    def _checkpoints(self, folder: str) -> Any:
        self.folder = Path(folder)
        return None

    def cycle(self) -> bool:
        found = answers(
            {
                **self.found,
                **self.splunkd.secrets(f"data/inputs/{self.app.kind}", stanza_name(self.stanza)),
            },
            {s["name"]: s["kind"] for s in of_webhook(self.plugin)},
        )
        wish, settings, every = (
            fill_in(Receiving, _of(Receiving, found)),
            without_account(self.plugin, found),
            fill_in(Every, _of(Every, found)),
        )
        check(wish)
        name = stanza_name(self.stanza)
        database = Database(self.folder / f"{name}.webhook.db")
        reception = Reception(self.plugin, wish, self.folder / f"{name}.spool")
        try:
            reception.open(Ears(self.clock))
            log.info("%s: listening at %s", self.stanza, ", ".join(reception.addresses))
            self._deliver(
                reception, database, Arrivals(database, wish.remember, self.clock), settings, every
            )
        finally:
            reception.close()
            database.close()
        return True

    def _deliver(
        self,
        reception: Reception,
        database: Database,
        arrivals: Arrivals,
        settings: Any,
        every: Every,
    ) -> None:
        saying = voice(self.plugin, settings, every, {}, lambda: rfc3339(self.clock.now()))
        unit, checkpoints = (
            Unit(stanza_name(self.stanza), self.plugin.datasets[0].name, RECEIVED),
            Checkpoints(database),
        )
        output = Undisturbed(Then(InDoubt(self.pipe, self.unmarked), arrivals, self.unmarked))

        def say(batch: Batch) -> List[Event]:
            events = saying(batch)
            known = arrivals.known(unit, [event["event"]["id"] for event in events])
            return [event for event in events if event["event"]["id"] not in known]

        def receive(payload: Payload) -> Iterator[Batch]:
            assert self.plugin.receive is not None
            return self.plugin.receive(settings, payload)

        def keep(mark: Mark) -> None:
            """Deliver the payload at the mark as text."""
            payloads, after = reception.spool.read(mark.cursor, 1)
            for payload in payloads:
                text = payload.body.decode("utf-8", "backslashreplace")
                batch = Batch(self.plugin.datasets[0], [text], after, payload.received)
                pump(unit, mark, [batch], or_unshown(say), output)

        alone, failures = False, 0
        tried: Optional[Cursor] = None  # where the last attempt one by one began
        while not self.stopping.is_set():
            try:
                mark = checkpoints.load(unit)
                if alone and mark.cursor == tried:
                    keep(mark)
                else:
                    tried = mark.cursor if alone else None
                    batches = spooled(
                        reception.spool,
                        mark.cursor,
                        receive,
                        self.plugin.datasets[0],
                        at_most=1 if alone else AT_ONCE,
                    )
                    pump(unit, mark, self._until_stopped(batches), say, output)
                    alone = False
                failures = 0
                self.stopping.wait(RECEIVED_EVERY)
                continue
            except Gone:
                raise
            except Retry as error:  # the disk; no payload's fault
                tried = None
                log.warning("%s: %s", unit, error)
            except Exception as error:
                alone = True
                log.error("%s: %s; what came is kept, and tried again", unit, summary(error))
            failures += 1
            self.stopping.wait(min(LONGEST_WAIT, RECEIVED_EVERY * 2 ** min(failures, 10)))


def or_unshown(say: Say) -> Say:
    """Wrap `say`: a text that it fails on, for it cannot be redacted, becomes an event without
    it."""

    def kept(batch: Batch) -> List[Event]:
        try:
            return say(batch)
        except Exception as error:
            text, name = batch.records[0], batch.dataset.name
            log.error("%s: the text cannot be shown either: %s", name, summary(error))
            return [
                {
                    "@timestamp": rfc3339(batch.until),
                    "event": {
                        "id": identify(name, [text]),
                        "kind": "pipeline_error",
                        "dataset": name,
                        "module": batch.dataset.namespace,
                    },
                    "error": {
                        "message": (
                            f"a payload of {len(text)} characters can neither be read"
                            " nor redacted, and is not shown"
                        )
                    },
                }
            ]

    return kept


def _of(form: Any, found: Dict[str, Any]) -> Dict[str, Any]:
    names = {s["name"] for s in describe(form)}
    return {name: value for name, value in found.items() if name in names and value != MASK}
