"""The files of a new plugin whose vendor pushes its events, by webhook or syslog."""

from __future__ import annotations

from typing import Dict

from .templates import EVENTS, RECORD

MANIFEST = '''"""The settings of @Title@, as administrators read them.

Those of the webhook and of syslog come with every input that receives.
"""

from __future__ import annotations

from dataclasses import dataclass

from siemtap.core.manifest import duration


@dataclass(frozen=True)
class Settings:
    """The settings of an input."""

    interval: int = duration(
        "Interval", "10s", least="1s", help="How often received events are delivered."
    )
'''

PLUGIN = '''"""@Title@: events, pushed to siemtap by the vendor.

Follows the vendor's page: its order, its names. Comments in quotation marks quote it.
"""

from __future__ import annotations

import json
from typing import Iterator

from siemtap.core.errors import Malformed
from siemtap.core.model import Payload, Plugin, Records

from .manifest import Settings
from .mapping import EVENT


def receive(settings: Settings, payload: Payload) -> Iterator[Records]:
    """Yield the events of one payload: a JSON object, or a list of them.

    The vendor does not send it again. So what is no event is a record, too, and a payload that
    cannot be read (Malformed) becomes an event with its text.
    """
    try:
        body = json.loads(payload.body)
    except ValueError:
        raise Malformed("the payload is not JSON") from None
    yield Records(EVENT, body if isinstance(body, list) else [body])


PLUGIN = Plugin(
    "@name@",
    Settings,
    (EVENT,),
    receive=receive,
    webhook=True,
    title="@Title@",
)
'''

SIMULATOR = '''"""A simulator of @Title@, with invented data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, Set, Tuple

from siemtap.core.convert import rfc3339
from siemtap.core.identity import identify
from siemtap.core.windows import MINUTE, Millis
from siemtap.testing.simulation import Sent
from siemtap.testing.vendor import CommonKnobs, Route, SimulatedVendor, repeated


@dataclass
class Knobs(CommonKnobs):
    """What may differ in the real service; each default is the friendliest."""

    rate: float = 1 / 60  # events a second
    twice: int = 0  # every n-th payload is sent twice; 0: none


@dataclass
class Simulator(SimulatedVendor):
    """The vendor: what it sends."""

    knobs: Knobs = field(default_factory=Knobs)

    def settings(self, url: str) -> Dict[str, Any]:
        return {}

    def routes(self) -> Tuple[Route, ...]:
        return ()

    def pushed(self, start: Millis, stop: Millis) -> Iterator[Sent]:
        """Yield what is sent in start <= time < stop."""
        yield from repeated(self._sent(start, stop), self.knobs.twice)

    def _sent(self, start: Millis, stop: Millis) -> Iterator[Sent]:
        apart = 1000 / self.knobs.rate
        for number in range(int(start // apart), int(stop // apart) + 1):
            time = int(number * apart)
            if start <= time < stop:
                event = {**self.event(time // MINUTE), "id": f"n{number}", "time": rfc3339(time)}
                yield Sent(
                    time=time,
                    body=json.dumps(event).encode(),
                    ids=(identify("@name@.event", [event["id"]]),),
                    channel="webhook",
                    content_type="application/json",
                )
'''

LEDGER = """
    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        return {id for sent in self._sent(start + 1, stop or now) for id in sent.ids}
"""

GIVEN = """{
 "settings": {},
 "channel": "webhook",
 "now": "2026-03-04T10:00:00.000Z"
}
"""

FILES_OF_PUSH: Dict[str, str] = {
    "manifest.py": MANIFEST,
    "plugin.py": PLUGIN,
    "simulator.py": SIMULATOR + EVENTS + LEDGER,
    "cases/an_event/given.json": GIVEN,
    "cases/an_event/payload.json": f"{RECORD}\n",
}
