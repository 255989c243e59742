"""Trend Vision One's pipelines on a real node: simulated and damaged records become the same events
as in Python."""

import json
import random

from ingest import ADDRESSES, ODD, TIMES, differences, document, processed, put
from trend_vision_one.simulator_events import alerts, detections

from siemtap.core.compile import bind
from siemtap.core.convert import millis_of
from siemtap.core.manifest import fill_in
from siemtap.render import registry

UNTIL = "2026-03-04T12:00:00.000Z"
WORDS = (
    *ADDRESSES,
    *TIMES[:6],
    "V9.T1548.002",
    "T1112.",
    "t1112",
    "example\\eve",
    "\\eve",
    "example\\",
    "00:00:5E:00:53:01",
    "C:\\a\\",
    "/usr/bin/x",
    "1772618195000",
    ["192.0.2.1"],
    ["192.0.2.1", "x"],
    [],
    "host",
    "critical",
)


def damaged(rng, value):
    """Return a record with odd values at random places."""
    if rng.random() < 0.04:
        return rng.choice(ODD) if rng.random() < 0.5 else rng.choice(WORDS)
    if isinstance(value, dict):
        return {name: damaged(rng, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [damaged(rng, inner) for inner in value]
    return value


def test_simulated_records(node):
    plugin, rng, until = registry.plugin("trend_vision_one"), random.Random(7), millis_of(UNTIL)
    settings = fill_in(plugin.settings, {"api_key": "x"})
    for dataset, events in zip(plugin.datasets, (alerts, detections)):
        put(node, plugin, dataset)
        map_record = bind(dataset, settings, {"data_stream.namespace": "default"})
        simulated = [record for _, record in events(until - 6 * 3_600_000, until, True)][:900]
        records = [
            (damaged(rng, record) or record) if number % 4 else record  # "" is no record
            for number, record in enumerate(simulated)
        ]
        wanted = [map_record(record, until, None) for record in records]
        got = processed(
            node,
            dataset,
            [
                document(
                    plugin, dataset, settings, "cel", {"message": json.dumps(record)}, until=UNTIL
                )
                for record in records
            ],
        )
        difference = differences(wanted, got, records)
        assert not difference, difference
