"""Case folders: cases/<what it shows>/{given.json, exchange.http, expected.json | expected.err}.

given.json      {"settings": {}, "common": {}, "dataset": name, "scope": "", "cursor": {},
                "now": time, "refused": [paths that a converter refuses here]}
exchange.http   requests and their answers in order, with a line `###` between two pairs; the
                headers there must be sent, and a JSON body must be equal
expected.json   the events; expected.err: the error's text

A case of a pushed payload has "channel" (and "path", "headers") in given.json, and the file
payload.*, byte by byte; in Base64 with "base64": true.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ..core.compile import bind
from ..core.compile.paths import EACH, Step, is_each, kind_of, steps_of
from ..core.convert import millis_of, rfc3339
from ..core.errors import SiemtapError
from ..core.manifest import fill_in
from ..core.model import Batch, Payload, Plugin, Records, Unit
from ..core.paths import get
from ..core.rows import (
    Dataset,
    Event,
    Join,
    Record,
    RecordRow,
    record_rows,
    sources_of,
    targets_of,
)
from ..core.settings import CommonSettings
from ..core.windows import Millis
from ..edge.client.http import Http
from ..edge.client.messages import Reply, Request
from ..edge.clock import Clock
from ..engine.mapper import batch_mapper
from ..render import registry

Message = Tuple[str, Dict[str, str], str]  # first line, headers, body


def folder_of(plugin: Plugin) -> Path:
    """Return the folder of a plugin's source."""
    return Path(inspect.getfile(plugin.settings)).parent


def folders(plugin: Plugin) -> List[Path]:
    """Return the case folders of a plugin, sorted."""
    return sorted(path.parent for path in folder_of(plugin).glob("cases/*/given.json"))


HOW_TO_WRITE = """An exchange.http holds requests and their answers, each pair like this, with
a line of ### between two pairs and a blank line before each body:

GET https://api.example.com/events?from=1
Authorization: Bearer k3y

HTTP/1.1 200
Content-Type: application/json

{"events": []}"""


class BrokenCase(Exception):
    """A case that is not written as it should be."""


class Exchange:
    """Answers the requests of an exchange.http in its order; any other request fails the test."""

    def __init__(self, text: str) -> None:
        parts = re.split(r"^###.*\n?", text, flags=re.MULTILINE)
        pairs = [part for part in parts if part.strip()]
        if not pairs:
            raise BrokenCase(f"the exchange.http is empty. {HOW_TO_WRITE}")
        self.pairs = [_pair(part, number) for number, part in enumerate(pairs, 1)]
        self.answered = 0

    def __call__(self, request: Request, seconds: float) -> Reply:
        assert self.answered < len(self.pairs), (
            f"one request too many: {request.line} {request.body!r}"
        )
        (line, headers, body), reply = self.pairs[self.answered]
        self.answered += 1
        where = f"request {self.answered} of exchange.http"
        sent_line = f"{request.method} {request.url}"
        assert sent_line == line, f"{where} is {line}, and the plugin sent {sent_line}"
        sent = {name.lower(): value for name, value in request.headers.items()}
        for name, value in headers.items():
            assert sent.get(name) == value, (
                f"{where} has {name}: {value}, and the plugin sent {sent.get(name)}"
            )
        if body.startswith("{"):
            assert json.loads(request.body) == json.loads(body), where
        else:
            assert request.body.decode() == body, where
        return reply


def _pair(part: str, number: int) -> Tuple[Message, Reply]:
    where = f"pair {number} of exchange.http"
    halves = re.split(r"^(?=HTTP/)", part.strip() + "\n", flags=re.MULTILINE)
    if len(halves) != 2:
        raise BrokenCase(
            f"{where} has {len(halves) - 1} lines that begin with HTTP/, and not one."
            f" {HOW_TO_WRITE}"
        )
    request, answer = (_message(half, where) for half in halves)
    if not re.fullmatch(r"[A-Z]+ https?://\S+", request[0]):
        raise BrokenCase(f"{where}: no method and URL in {request[0]!r}. {HOW_TO_WRITE}")
    status = re.fullmatch(r"HTTP/1\.1 ([1-5][0-9][0-9])\b.*", answer[0])
    if not status:
        raise BrokenCase(f"{where}: no HTTP/1.1 and status in {answer[0]!r}. {HOW_TO_WRITE}")
    return request, Reply(int(status[1]), answer[1], answer[2].encode())


def _message(text: str, where: str) -> Message:
    head, _, body = text.partition("\n\n")
    first, *lines = head.strip().split("\n")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name):
            raise BrokenCase(f"{where}: {line[:80]!r} is no header. {HOW_TO_WRITE}")
        headers[name.lower()] = value.strip()
    return first, headers, body.strip()


class Case(NamedTuple):
    """A case as it is played. `exchange`: None for a pushed payload."""

    given: Dict[str, Any]
    settings: Any
    batches: Iterable[Batch]
    exchange: Optional[Exchange]

    @property
    def common(self) -> CommonSettings:
        common: CommonSettings = fill_in(CommonSettings, self.given.get("common", {}))
        return common


def load(folder: Path, plugin: Plugin, **settings: Any) -> Case:
    """Read a case. `settings`: over those of given.json."""
    given = json.loads((folder / "given.json").read_text(encoding="utf-8"))
    now = millis_of(given["now"])
    filled = fill_in(plugin.settings, {**given["settings"], **settings})
    if "channel" in given:
        return Case(given, filled, _pushed(folder, plugin, given, filled, now), None)
    exchange = Exchange((folder / "exchange.http").read_text(encoding="utf-8"))
    client = plugin.connect(filled, Http(exchange, clock=Clock(lambda: now, lambda: 0.0)))
    unit = Unit(plugin.name, given["dataset"], given.get("scope", ""))
    return Case(given, filled, plugin.collect(client, unit, given.get("cursor", {}), now), exchange)


def _pushed(
    folder: Path, plugin: Plugin, given: Dict[str, Any], settings: Any, now: Millis
) -> Iterator[Batch]:
    (path,) = folder.glob("payload.*")
    body = path.read_bytes()
    payload = Payload(
        body=base64.b64decode(body) if given.get("base64") else body,
        channel=given["channel"],
        path=given.get("path", ""),
        peer="192.0.2.99",
        received=now,
        headers=given.get("headers", {}),
    )
    return batches_of(plugin, settings, payload)


def batches_of(plugin: Plugin, settings: Any, payload: Payload) -> Iterator[Batch]:
    """Yield the records of a payload, a batch for each dataset."""
    assert plugin.receive, f"{plugin.name} receives nothing"
    part: Records
    for part in plugin.receive(settings, payload):
        yield Batch(part.dataset, part.records, {}, payload.received)


def play(
    folder: Path, plugin: Plugin, **settings: Any
) -> Tuple[List[Event], str, Optional[Exchange]]:
    """Return what the plugin makes of a case: its events, the error's text, the exchange."""
    case = load(folder, plugin, **settings)
    map_batch = batch_mapper(plugin, case.settings, case.common, {}, lambda: "")
    events: List[Event] = []
    error = ""
    try:
        for batch in case.batches:
            events += map_batch(batch)
    except SiemtapError as caught:
        error = f"{type(caught).__name__}: {caught}\n"
    return events, error, case.exchange


def records_of(folder: Path, plugin: Plugin) -> Iterator[Tuple[Any, Dataset, Record, str, Event]]:
    """Yield (settings, dataset, record, end of its window as text, event) for each record of a
    case."""
    case = load(folder, plugin)
    added_fields = {"data_stream.namespace": case.common.namespace}
    try:
        for batch in case.batches:
            map_record = bind(batch.dataset, case.settings, added_fields)
            for record in batch.records:
                event = map_record(record, batch.until, None)
                yield case.settings, batch.dataset, record, rfc3339(batch.until), event
    except SiemtapError:
        return


def accept(folder: Path, events: List[Event], error: str, failures: bool) -> None:
    """Write what a case gives as what it must give, and remove what it no longer gives.

    AssertionError for an error, or for no events, where there was none before: that is seldom what
    a case is to show. `failures`: accept that, too.
    """
    expected, expected_error = folder / "expected.json", folder / "expected.err"
    if not failures:
        assert not error or expected_error.exists(), (
            f"the case ends with an error, which is not accepted: {error}If that is what it shows,"
            " accept it with SIEMTAP_ACCEPT=failures"
        )
        before = json.loads(expected.read_text("utf-8")) if expected.exists() else None
        assert events or error or before == [], (
            "the case gives no events, which is not accepted; if that is what it shows, accept it"
            " with SIEMTAP_ACCEPT=failures"
        )
    expected.write_text(json.dumps(events, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if error:
        expected_error.write_text(error, encoding="utf-8")
    elif expected_error.exists():
        expected_error.unlink()


def is_filled(row: RecordRow, event: Event) -> bool:
    """Return whether an event has any field of a row."""
    return any(get(event, path) is not None for path in targets_of(row))


def refused(dataset: Dataset, event: Event) -> List[str]:
    """Return the paths that a row maps and whose value is in `extra`: a converter refused it."""
    extra = get(event, f"{dataset.namespace}.extra", {})
    rows = [row for _, row in record_rows(dataset) if not isinstance(row, Join)]
    paths = dict.fromkeys(path for row in rows for path in sources_of(row))
    return [path for path in paths if _values_at(extra, steps_of(path))]


def _values_at(value: Any, steps: Tuple[Step, ...]) -> List[Any]:
    """Return the values at a path, without null."""
    values = [value]
    for step in steps:
        inner: List[Any] = []
        for outer in values:
            if isinstance(outer, list) and step == EACH:
                inner += outer
            elif isinstance(outer, list) and isinstance(step, int):
                inner += outer[step : step + 1]
            elif isinstance(outer, list) and is_each(step):
                name, kind = kind_of(str(step))
                inner += [
                    item for item in outer if isinstance(item, dict) and item.get(name) == kind
                ]
            elif isinstance(outer, dict) and step in outer:
                inner.append(outer[step])
        values = inner
    return [item for item in values if item is not None]


def differences(value: Any, expected: Any, path: str = "") -> List[str]:
    """Return a line for each place at which two JSON values differ: `[0].user.name: "eve", and not
    "mallory"`."""
    if isinstance(value, dict) and isinstance(expected, dict):
        return [
            line
            for name in dict.fromkeys([*value, *expected])
            for line in differences(value.get(name), expected.get(name), f"{path}.{name}")
        ]
    if isinstance(value, list) and isinstance(expected, list) and len(value) == len(expected):
        return [
            line
            for number, pair in enumerate(zip(value, expected))
            for line in differences(*pair, f"{path}[{number}]")
        ]
    if value == expected and type(value) is type(expected):
        return []
    texts = [json.dumps(side, ensure_ascii=False)[:300] for side in (value, expected)]
    return [f"{path.lstrip('.') or 'all'}: {texts[0]}, and not {texts[1]}"]


def all_folders() -> List[Path]:
    """Return the case folders of every installed plugin."""
    return [folder for plugin in registry.installed().values() for folder in folders(plugin)]
