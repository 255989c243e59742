"""Events that an output or the schema refused: kept with the reason until a person retries or deletes them."""

from __future__ import annotations

import json
import time as clock
from typing import Any, Iterable, List, NamedTuple, Tuple

from ..core.mapping import Event
from ..core.model import Unit
from ..core.windows import Millis
from .checkpoints import Database


class Rejected(NamedTuple):
    id: str
    input: str
    dataset: str
    reason: str
    time: Millis
    event: Event

    @property
    def unit(self) -> Unit:
        return Unit(self.input, self.dataset)


class Rejects:
    def __init__(self, database: Database) -> None:
        self.database = database

    def keep(self, unit: Unit, refused: Iterable[Tuple[Event, str]]) -> None:
        """On disk when it returns. The same event refused twice is kept once, with the later reason."""
        now = int(clock.time() * 1000)
        rows = [[str(event["event"]["id"]), unit.input, unit.dataset, reason, now, json.dumps(event, default=str)] for event, reason in refused]
        self.database.write(lambda db: db.executemany("INSERT OR REPLACE INTO rejected VALUES (?, ?, ?, ?, ?, ?)", rows))

    def all(self) -> List[Rejected]:
        rows = self.database.read("SELECT id, input, dataset, reason, time, event FROM rejected ORDER BY time, id")
        return [Rejected(id, input, dataset, reason, time, json.loads(event)) for id, input, dataset, reason, time, event in rows]

    def count(self) -> int:
        return int(self.database.read("SELECT count(*) FROM rejected")[0][0])

    def delete(self, ids: Iterable[Any]) -> None:
        self.database.write(lambda db: db.executemany("DELETE FROM rejected WHERE id = ?", [[id] for id in ids]))
