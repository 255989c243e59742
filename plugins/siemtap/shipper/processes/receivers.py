"""The process of receivers: it keeps what is pushed, and does nothing else, so that no mapping
delays an answer."""

from __future__ import annotations

import logging
from itertools import chain
from typing import Any, Dict, Iterable, Optional, Tuple

from ...core.errors import SiemtapError
from ...edge.clock import SYSTEM
from ...edge.receive.receiver import ListenerPool, Receiver
from ...edge.receive.spool import Spool
from ...edge.receive.spool_reader import SpoolReader
from ...edge.syslog.listener import open_listener
from ..config.reload import start_or_go_on
from ..config.sections import Config, Input

log = logging.getLogger("siemtap")


class Receivers:
    """The receivers of all inputs, each with its spool, which a worker reads."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.listeners = ListenerPool(SYSTEM)
        self.open: Dict[str, Tuple[Input, Receiver]] = {}
        self.refused: Dict[str, str] = {}  # inputs that do not run as configured, and why

    def configure(self, inputs: Iterable[Input]) -> None:
        """Start and stop receivers. One that cannot start with new settings goes on with its old
        ones; the others start all the same, then the first error is raised."""
        configured = {each.id: each for each in inputs if receives(each)}
        errors: Dict[str, SiemtapError] = {}
        for id in [id for id in self.open if id not in configured]:
            self.open.pop(id)[1].close()
        for id, input_config in configured.items():
            before = self.open.get(id)
            if before and before[0].receiving == input_config.receiving:
                continue
            if before:
                self.open.pop(id)[1].close()
            error = start_or_go_on(self._open, input_config, before[0] if before else None)
            if error:
                errors[id] = error
        self.refused = {id: str(error) for id, error in errors.items()}
        if errors:
            raise next(iter(errors.values()))

    def _open(self, input_config: Input) -> None:
        assert input_config.receiving is not None
        folder = self.config.data / "spool" / input_config.id
        spool = Spool(folder, input_config.receiving.spool_max_bytes, publish=True)
        self.open[input_config.id] = input_config, receive(input_config, spool, self.listeners)

    def stats(self) -> Dict[str, Any]:
        """Return its part of /stats, as JSON values."""
        refused = [
            f"{id} does not run as configured: {why}" for id, why in list(self.refused.items())
        ]
        problems = (
            f"{id}: {text}"
            for id, (_, receiver) in list(self.open.items())
            for text in receiver.problems()
        )
        reason = next(chain(refused, problems), "")
        rows = [
            {
                "id": id,
                "type": input_config.plugin.name,
                "units": [],
                "received": receiver.show({}),
            }
            for id, (input_config, receiver) in list(self.open.items())
        ]
        return {"healthy": not reason, "reason": reason or "ok", "inputs": rows}

    def close(self) -> None:
        """Accept nothing more, and close all spools."""
        for _, receiver in self.open.values():
            receiver.pause()
        for _, receiver in self.open.values():
            receiver.close()
        self.open.clear()


def receive(input_config: Input, spool: SpoolReader, listeners: Optional[ListenerPool]) -> Receiver:
    """Return the receiver of an input, listening if it has `listeners`. Otherwise it only reads
    the spool."""
    receiving = input_config.receiving
    assert receiving is not None
    receiver = Receiver(input_config.plugin, receiving, spool, open_listener)
    if listeners is not None:
        try:
            receiver.open(listeners)
        except SiemtapError as error:
            receiver.close()
            raise error.at(input_config.id) from None
        if receiver.addresses:
            log.info("%s: listening at %s", input_config.id, ", ".join(receiver.addresses))
    return receiver


def receives(input_config: Input) -> bool:
    """Return whether an input listens."""
    receiving = input_config.receiving
    return bool(input_config.common.enabled and receiving and receiving.receives)
