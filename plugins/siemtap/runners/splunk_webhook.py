"""The webhook as a modular input, for a heavy forwarder: what is pushed goes into a spool beside the checkpoint, and from there into splunkd's pipe.

It runs until splunkd stops it. The spool and its marks are one disk's: the input stays on the instance that it was made on.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List

from ..core.errors import ConfigError
from ..core.forms import Every, Receiving
from ..core.manifest import describe, fill_in
from ..core.mapping import Event, rfc3339
from ..core.model import Batch, Payload, Unit
from ..edge.arrivals import Arrivals
from ..edge.checkpoints import Checkpoints, Database
from ..engine import InDoubt, Then, pump, spooled, voice
from .names import of_webhook
from .receiving import RECEIVED, RECEIVED_EVERY, Ears, Reception, check
from .splunk import Input, Undisturbed, without_account
from .splunkd import answers, stanza_name

log = logging.getLogger("siemtap")

MASK = "******"


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
        found = answers({**self.found, **self.splunkd.secrets(f"data/inputs/{self.app.kind}", stanza_name(self.stanza))}, {s["name"]: s["kind"] for s in of_webhook(self.plugin)})
        wish, settings, every = fill_in(Receiving, _of(Receiving, found)), without_account(self.plugin, found), fill_in(Every, _of(Every, found))
        check(wish)
        name = stanza_name(self.stanza)
        database = Database(self.folder / f"{name}.webhook.db")
        reception = Reception(self.plugin, wish, self.folder / f"{name}.spool")
        try:
            reception.open(Ears(self.clock))
            log.info("%s: listening at %s", self.stanza, ", ".join(reception.addresses))
            self._deliver(reception, database, Arrivals(database, wish.remember), settings, every)
        finally:
            reception.close()
            database.close()
        return True

    def _deliver(self, reception: Reception, database: Database, arrivals: Arrivals, settings: Any, every: Every) -> None:
        saying = voice(self.plugin, settings, every, {}, lambda: rfc3339(self.clock.now()))
        unit, checkpoints = Unit(stanza_name(self.stanza), self.plugin.datasets[0].name, RECEIVED), Checkpoints(database)
        output = Undisturbed(Then(InDoubt(self.pipe, self.unmarked), arrivals, self.unmarked))

        def say(batch: Batch) -> List[Event]:
            events = saying(batch)
            known = arrivals.known(unit, [event["event"]["id"] for event in events])
            return [event for event in events if event["event"]["id"] not in known]

        def receive(payload: Payload) -> Iterator[Batch]:
            assert self.plugin.receive is not None
            return self.plugin.receive(settings, payload)

        while not self.stopping.is_set():
            mark = checkpoints.load(unit)
            pump(unit, mark, self._until_stopped(spooled(reception.spool, mark.cursor, receive, self.plugin.datasets[0])), say, output)
            self.stopping.wait(RECEIVED_EVERY)


def _of(form: Any, found: Dict[str, Any]) -> Dict[str, Any]:
    names = {s["name"] for s in describe(form)}
    return {name: value for name, value in found.items() if name in names and value != MASK}
