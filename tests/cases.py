"""Case folders: cases/<what it shows>/{given.json, exchange.http, expected.json | expected.err}.

given.json: {"settings": {}, "every": {}, "dataset": name, "scope": "", "cursor": {}, "now": time}.
exchange.http: requests and their replies, in order, each pair ended by a line `###`; headers named
there must be sent, and a JSON body must be equal.

What is pushed: given.json has "channel" (and "path", "headers"), and the file payload.* is what
came, byte by byte; "base64": true if it is written so.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

from siemtap.core.convert import millis_of
from siemtap.core.errors import SiemtapError
from siemtap.core.forms import Every
from siemtap.core.manifest import fill_in
from siemtap.core.mapping import rfc3339
from siemtap.core.model import Payload, Unit
from siemtap.edge.clock import Clock
from siemtap.edge.http import Http, Reply
from siemtap.engine import voice

PLUGINS = Path(__file__).parents[1] / "plugins"


def folders(root=PLUGINS):
    return sorted(path.parent for path in root.glob("*/cases/*/given.json"))


class Exchange:
    """Answers what the case holds, in its order, and notes what was asked otherwise."""

    def __init__(self, text):
        self.pairs = [
            self._pair(part)
            for part in re.split(r"^###.*\n?", text, flags=re.MULTILINE)
            if part.strip()
        ]
        self.asked = 0

    def _pair(self, part):
        request, reply = re.split(
            r"^(?=HTTP/1\.1 )", part.strip() + "\n", maxsplit=1, flags=re.MULTILINE
        )
        first, headers, body = self._message(request)
        status, reply_headers, reply_body = self._message(reply)
        return (
            first.split(" ", 1),
            headers,
            body,
            Reply(int(status.split()[1]), reply_headers, reply_body.encode()),
        )

    def _message(self, text):
        head, _, body = text.partition("\n\n")
        first, *lines = head.strip().split("\n")
        return (
            first,
            {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines)
            },
            body.strip(),
        )

    def __call__(self, request, seconds):
        assert self.asked < len(self.pairs), (
            f"one question too many: {request.line} {request.body!r}"
        )
        (method, url), headers, body, reply = self.pairs[self.asked]
        self.asked += 1
        assert (request.method, request.url) == (method, url)
        sent = {name.lower(): value for name, value in request.headers.items()}
        assert headers.items() <= sent.items()
        if body.startswith("{"):
            assert json.loads(request.body) == json.loads(body)
        else:
            assert request.body.decode() == body
        return reply


def given_by(folder, plugin, **more):
    """A case, perhaps with more settings: (what it gives, settings, its batches, exchange)."""
    given = json.loads((folder / "given.json").read_text(encoding="utf-8"))
    now, settings = millis_of(given["now"]), fill_in(plugin.settings, {**given["settings"], **more})
    if "channel" in given:
        (path,) = folder.glob("payload.*")
        body = base64.b64decode(path.read_bytes()) if given.get("base64") else path.read_bytes()
        return (
            given,
            settings,
            plugin.receive(
                settings,
                Payload(
                    body,
                    given["channel"],
                    given.get("path", ""),
                    "192.0.2.99",
                    now,
                    given.get("headers", {}),
                ),
            ),
            None,
        )
    exchange = Exchange((folder / "exchange.http").read_text(encoding="utf-8"))
    client = plugin.connect(settings, Http(exchange, clock=Clock(lambda: now, lambda: 0.0)))
    return (
        given,
        settings,
        plugin.collect(
            client,
            Unit(plugin.name, given["dataset"], given.get("scope", "")),
            given.get("cursor", {}),
            now,
        ),
        exchange,
    )


def play(folder, plugin, **more):
    """What the plugin makes of a case: (events, error's text, exchange)."""
    given, settings, batches, exchange = given_by(folder, plugin, **more)
    say = voice(plugin, settings, fill_in(Every, given.get("every", {})), {}, lambda: None)
    events, error = [], ""
    try:
        for batch in batches:
            events += say(batch)
    except SiemtapError as caught:
        error = f"{type(caught).__name__}: {caught}\n"
    return events, error, exchange


def played(folder, plugin):
    """Each record of a case, and what becomes of it: (settings, dataset, record, end of its
    window as text, event)."""
    given, settings, batches, _ = given_by(folder, plugin)
    also = {"data_stream.namespace": fill_in(Every, given.get("every", {})).namespace}
    try:
        for batch in batches:
            say = batch.dataset.bind(settings, also)
            for record in batch.records:
                yield (
                    settings,
                    batch.dataset,
                    record,
                    rfc3339(batch.until),
                    say(record, batch.until, None),
                )
    except SiemtapError:
        return
