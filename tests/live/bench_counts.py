"""How much Python the path of an event runs: `ci/bench counts`, and `ci/bench counts --accept` to
keep the figures that tests/shipper/test_instruction_counts.py compares.

Bytecode instructions and calls of compiled functions are the same in every run on one version of
Python, however busy the machine is; time is not. They do not see what a compiled function does, so
they find a change of ours, not one of a library.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from bench_records import records

from apptrana import PLUGIN
from apptrana.plugin import read_attacks
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Mark, Unit
from siemtap.core.settings import CommonSettings
from siemtap.edge import schemas
from siemtap.edge.client.messages import Reply
from siemtap.engine.mapper import batch_mapper
from siemtap.engine.protocols import Feed
from siemtap.engine.pump import pump
from siemtap.engine.sinks import CheckpointAfter
from siemtap.outputs.elasticsearch.output import Elasticsearch
from siemtap.outputs.validated import ValidateEvents
from siemtap.render.event_check import SchemaCheck
from siemtap.shipper.delivery.written import writer
from siemtap.shipper.stats import Tally

FIGURES = Path(__file__).with_name("bench_counts.json")
EVENTS = 200
VERSION = ".".join(map(str, sys.version_info[:2]))
ATTACK = PLUGIN.dataset("apptrana.attack")


class Marks:
    """A store that writes each mark as JSON."""

    def save(self, unit, mark):
        json.dumps(mark.to_json())


def page(first):
    attacks = records(first + EVENTS)[first:]
    return json.dumps({"data": [{"websiteName": "shop.example.com", "attacks": attacks}]}).encode()


def path():
    """Return the function that takes a page's bytes through the whole path: records, events,
    validation, bulk body, verdict, mark, numbers of the status page."""
    settings = fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"})
    check = SchemaCheck(schemas.read("event.schema.json"), PLUGIN.datasets)
    map_batch = batch_mapper(
        PLUGIN,
        settings,
        fill_in(CommonSettings, {}),
        {"agent.type": "siemtap"},
        lambda: "2026-03-04T10:00:00.000Z",
        check,
        writer(set()),
    )
    output = Elasticsearch(fill_in(Elasticsearch.settings_type, {"worker": 1}))
    answer = {"errors": False, "items": [{"create": {"status": 201}}] * EVENTS}
    output.bulk.client.perform_request = lambda *args, **kwargs: SimpleNamespace(body=answer)
    rejected = SimpleNamespace(store=lambda *args: None)
    sink = CheckpointAfter(ValidateEvents(output, check, rejected), Marks(), set())
    tally, unit = Tally(), Unit("apptrana", ATTACK.name)
    delivered = []

    def take(body):
        attacks = read_attacks(Reply(200, {}, body).json()["data"][0])
        batch = Batch(ATTACK, attacks, {"until": 1}, 1)

        def count(delivery):
            assert not delivery.rejections
            delivered.append(len(delivery.events))
            tally.add(delivery.accepted)

        pump(unit, Mark(), Feed(iter([batch])), map_batch, sink, on_delivery=count)
        assert delivered.pop() == EVENTS

    return take


def counts():
    """Return the bytecode instructions and the calls of compiled functions of one event."""
    take = path()
    take(page(0))  # compiles, and fills the caches
    body = page(EVENTS)
    numbers = {"instructions": 0, "calls": 0}

    def trace(frame, event, argument):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            numbers["instructions"] += 1
        return trace

    def profile(frame, event, argument):
        if event == "c_call":
            numbers["calls"] += 1

    for install, function, before in (
        (sys.settrace, trace, sys.gettrace()),
        (sys.setprofile, profile, sys.getprofile()),
    ):
        install(function)
        try:
            take(body)
        finally:
            install(before)
    return {name: round(number / EVENTS) for name, number in numbers.items()}


def accepted():
    """Return the figures that were accepted for this version of Python; None if there are none."""
    return json.loads(FIGURES.read_text()).get(VERSION) if FIGURES.exists() else None


def run():
    figures = counts()
    print(f"Python {VERSION}, one event: {figures}; accepted: {accepted()}")
    if "--accept" in sys.argv:
        known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
        FIGURES.write_text(json.dumps({**known, VERSION: figures}, indent=1, sort_keys=True) + "\n")
