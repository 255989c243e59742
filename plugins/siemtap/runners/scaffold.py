"""`siemtap new`: a plugin's folder that passes its tests at once. The vendor in it is the
simplest that pages by time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Dict, List

from ..core.errors import ConfigError
from ..core.identity import identify

INIT = '''"""@Title@: events, pulled from its API."""

from .plugin import PLUGIN

__all__ = ["PLUGIN"]
'''

MANIFEST = '''"""What a person must know to switch @Title@ on. Nothing here runs; everything here is shown."""

from __future__ import annotations

from dataclasses import dataclass

from siemtap.core.manifest import duration, secret, url


@dataclass(frozen=True)
class Settings:
    api_key: str = secret("API key", help="Where a person finds it in the vendor's portal.")
    url: str = url("API address", "https://api.example.com", help="Where the API answers.")
    interval: int = duration("Interval", "60s", least="1s", help="How often to ask.")
    lag: int = duration("Lag", "10s", help="How old a moment must be before it is read: the allowance for clocks that differ.")
    overlap: int = duration("Overlap", "120s", help="How far back every cycle reads again, for events that are filed late.")
    lookback: int = duration("First look back", "24h", help="How far back the first run reads.")
'''

MAPPING = '''"""The vendor's event -> ours. One row per field of the vendor's page, in the page's order."""

from __future__ import annotations

from siemtap.core.convert import instant, ip
from siemtap.core.mapping import Dataset, Field, Record, Split


def time(record: Record) -> str:
    return instant(record["time"])


EVENT = Dataset(
    name="@name@.event",
    clock=time,
    identity=("id",),       # the vendor's words that name an event, and nothing else
    constant={"event.kind": "event", "event.category": ["network"], "event.type": ["info"], "observer.vendor": "@Title@"},
    rows=(
        Field("id",     "@name@.id"),
        Field("what",   "message"),
        Split("source", ("source.ip", "source.address", "related.ip"), lambda said: (ip(said), said, ip(said))),
        Field("user",   ("user.name", "related.user")),
    ),
    quiet=("time",),
)
'''

PLUGIN = '''"""@Title@: events, pulled.

Follows the vendor's page, in its order and with its names. A comment in quotation marks is the vendor speaking; one without is us.
"""

from __future__ import annotations

from typing import Any, Iterator, List, Tuple

from siemtap.core.errors import Malformed
from siemtap.core.mapping import Record
from siemtap.core.model import Batch, Cursor, Plugin, Unit
from siemtap.core.windows import HOUR, Millis, Window, windows
from siemtap.edge.http import Http

from .manifest import Settings
from .mapping import EVENT

WIDEST_WINDOW = 1 * HOUR


class Client:
    """The calls of the API, in the order of the page."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings, self.http = settings, http

    def get_events(self, window: Window) -> List[Record]:
        query = {"from": str(window.start), "to": str(window.stop)}
        said = self.http.json(self.http.get(f"{self.settings.url}/events", query, {"Authorization": f"Bearer {self.settings.api_key}"}))
        if not isinstance(said, dict) or not isinstance(said.get("events"), list):
            raise Malformed("the answer has no list of events")
        return list(said["events"])


def units(client: Client, settings: Any) -> Iterator[Tuple[str, str]]:
    yield EVENT.name, ""


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Walk from the cursor, overlap first, to the present, one window to a batch."""
    wish = client.settings
    reached = cursor.get("until", now - wish.lookback)
    for window in windows(reached - wish.overlap, now - wish.lag, WIDEST_WINDOW):
        records = client.get_events(window)
        reached = max(reached, window.stop)
        yield Batch(EVENT, records, {"until": reached}, window.stop, wish.overlap)


PLUGIN = Plugin("@name@", Settings, (EVENT,), connect=Client, units=units, collect=collect, title="@Title@")
'''

SIMULATOR = '''"""@Title@, as far as it is known, and as rude as it may be. All data is invented."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Dict, Iterator, List, Set, Tuple
from urllib.parse import parse_qsl, urlsplit

from siemtap.core.identity import identify
from siemtap.core.mapping import rfc3339
from siemtap.core.windows import MINUTE, Millis
from siemtap.edge.http import Request
from siemtap.runners.simulate import Answer, Fault, noted


@dataclass
class Knobs:
    """What is unknown about the real service, each with the kind setting first."""

    api_key: str = "demo-key"
    late: float = 0.0       # seconds until an event can be read


@dataclass
class Simulator:
    """`answer` is the whole vendor: (request, time) -> answer."""

    knobs: Knobs = field(default_factory=Knobs)
    faults: List[Fault] = field(default_factory=list)
    requests: List[Request] = field(default_factory=list)
    counts: Dict[str, int] = field(default_factory=dict)
    lock: Any = field(default_factory=Lock)

    def settings(self, url: str) -> Dict[str, Any]:
        return {"url": url, "api_key": self.knobs.api_key}

    def answer(self, request: Request, now: Millis) -> Answer:
        parts = urlsplit(request.url)
        call = parts.path.rpartition("/")[2]
        with self.lock:
            fault = noted(self, call, request)
        if fault:
            return fault.answer(now)
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("authorization") != f"Bearer {self.knobs.api_key}":
            return self.said({"error": "unauthorised"}, 401)
        query = dict(parse_qsl(parts.query))
        start, stop = int(query["from"]), int(query["to"])
        return self.said({"events": [event for time, event in self.events(start, stop) if start <= time < stop and self.readable(time, now)]})

    def said(self, body: Any, status: int = 200) -> Answer:
        return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def readable(self, time: Millis, now: Millis) -> bool:
        return time + self.knobs.late * 1000 <= now

    def events(self, start: Millis, stop: Millis) -> Iterator[Tuple[Millis, Dict[str, Any]]]:
        """One a minute."""
        for minute in range(start // MINUTE, stop // MINUTE + 1):
            yield minute * MINUTE, {"id": f"e{minute}", "time": rfc3339(minute * MINUTE), "what": "something happened", "source": f"192.0.2.{minute % 250}", "user": "eve"}

    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        """The ids of all events readable now of start < time < stop."""
        return {identify("@name@.event", [event["id"]]) for time, event in self.events(start, stop or now) if start < time < (stop or now) and self.readable(time, now)}
'''

README = """# @Title@

What it is, and what siemtap collects from it.

## Set it up

1. Where a person finds the key in the vendor's portal.
2. Put it into `siemtap.yml`: see [sample.yml](sample.yml).
3. `siemtap test inputs` logs in and says what it saw.

## Settings

<!-- settings -->
<!-- /settings -->

## Fields

<!-- fields -->
<!-- /fields -->

## What is not known

What the vendor's page leaves open, and how siemtap behaves.
"""

CHANGELOG = """# Changelog of @name@

## Unreleased

- First version.
"""

EXCHANGE = """GET https://api.example.com/events?from=1772618280000&to=1772618400000
Authorization: Bearer k3y

HTTP/1.1 200
Content-Type: application/json

{"events": [{"id": "e1", "time": "2026-03-04T09:59:00.000Z", "what": "something happened", "source": "192.0.2.7", "user": "eve"}]}
"""

FILES: Dict[str, str] = {
    "__init__.py": INIT,
    "manifest.py": MANIFEST,
    "mapping.py": MAPPING,
    "plugin.py": PLUGIN,
    "simulator.py": SIMULATOR,
    "README.md": README,
    "CHANGELOG.md": CHANGELOG,
    "cases/an_event/exchange.http": EXCHANGE,
}


def write(name: str, into: Path) -> List[Path]:
    """The files written. ConfigError for a name that cannot be a package, or a folder that is
    there already."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise ConfigError(
            f'"{name}" cannot name a plugin; use lower case letters, digits and underscores,'
            " beginning with a letter"
        )
    folder = into / name
    if folder.exists():
        raise ConfigError(f"{folder} is there already")
    files = {
        path: said.replace("@name@", name).replace("@Title@", name.replace("_", " ").title())
        for path, said in FILES.items()
    }
    files["sample.yml"] = ""  # rendered below, once there is a plugin to render
    given = {
        "settings": {"api_key": "k3y", "lookback": "10s", "lag": "0s", "overlap": "110s"},
        "dataset": f"{name}.event",
        "now": "2026-03-04T10:00:00.000Z",
    }
    files["cases/an_event/given.json"] = json.dumps(given, indent=1) + "\n"
    event = {
        "ecs": {"version": "9.4.0"},
        "data_stream": {"type": "logs", "dataset": f"{name}.event", "namespace": "default"},
        "@timestamp": "2026-03-04T09:59:00.000Z",
        "message": "something happened",
        "user": {"name": "eve"},
        "source": {"ip": "192.0.2.7", "address": "192.0.2.7"},
        "related": {"ip": ["192.0.2.7"], "user": ["eve"]},
        "observer": {"vendor": name.replace("_", " ").title()},
        name: {"id": "e1"},
        "event": {
            "dataset": f"{name}.event",
            "module": name,
            "kind": "event",
            "category": ["network"],
            "type": ["info"],
            "id": identify(f"{name}.event", ["e1"]),
        },
    }
    files["cases/an_event/expected.json"] = json.dumps([event], indent=1) + "\n"
    for path, said in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(said, encoding="utf-8")
    return [folder / path for path in sorted(files)]
