"""CenturyLink Client Security IPS: events that its Deep Security manager pushes, by webhook and by syslog.

Follows the vendor's page "IPS - RESTful API".
"""

from __future__ import annotations

from typing import Iterator, List, Tuple

from siemtap.core.model import Batch, Cursor, Payload, Plugin, Unit
from siemtap.core.windows import Millis
from siemtap.edge.http import Http

from .formats import records, zone
from .manifest import Settings
from .mapping import EVENT


class Client:
    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings, self.http = settings, http
        for name in (settings.json_timezone, settings.syslog_timezone):
            zone(name)


def units(client: Client, settings: Settings) -> List[Tuple[str, str]]:
    return []


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    yield from ()


def receive(settings: Settings, payload: Payload) -> Iterator[Batch]:
    """Every event of a payload; what is none is a record all the same, for nobody sends it twice."""
    yield Batch(EVENT, records(settings, payload), {}, payload.received)


PLUGIN = Plugin(
    name="centurylink_ips", title="CenturyLink Client Security IPS", settings=Settings, datasets=(EVENT,),
    connect=Client, units=units, collect=collect, receive=receive)

