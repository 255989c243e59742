"""Events of the dataset siemtap.health, delivered by a real process."""

import json
import sqlite3

import pytest
from processes import Process, page, siemtap, wait_for
from shipper import vendor_process
from shipper.vendor_process import write

from siemtap.edge import schemas
from siemtap.render.event_check import SchemaCheck
from siemtap.render.health import DATASET
from siemtap.testing import simulation

pytestmark = pytest.mark.slow

# fixtures
vendor = vendor_process.vendor


# Health events


def health_events(tmp_path):
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        return [
            json.loads(event)
            for (event,) in db.execute(
                "SELECT event FROM event WHERE dataset = 'siemtap.health' ORDER BY time"
            )
        ]


def test_health_events_are_off_by_default_and_delivered_at_the_end_of_run_once(tmp_path, vendor):
    siemtap("run", "--once", "-c", write(tmp_path, vendor))
    assert health_events(tmp_path) == []
    (tmp_path / "data/siemtap.db").unlink()
    siemtap("run", "--once", "-c", write(tmp_path, vendor, "health.enabled: true"))
    events, check = (
        health_events(tmp_path),
        SchemaCheck(schemas.read("event.schema.json"), [DATASET]),
    )
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        ((collected,),) = db.execute("SELECT count(*) FROM event WHERE dataset <> 'siemtap.health'")
    assert sum(event["siemtap"].get("events", 0) for event in events) == collected > 50 and [
        check(event) for event in events
    ] == [None] * len(events)


def test_vendor_failure_becomes_a_health_event(tmp_path, vendor):
    path = write(tmp_path, vendor, "health: {enabled: true, interval: 10s}", timeout="1s")
    running = Process(path)
    try:
        address = running.until(r"status page at (\S+)")[1]
        wait_for(
            lambda: json.loads(page(address, "stats")[1])["inputs"][0]["units"][0]["state"] == "ok"
        )
        vendor.simulated.faults.append(simulation.Fault(times=50, status=503))
        running.until("warning .*: 503: a fault on request")  # not a 503 in a path
    finally:
        assert running.end() == 0
    changes = [event for event in health_events(tmp_path) if event["event"]["kind"] == "event"]
    assert (
        changes
        and changes[0]["siemtap"]["state"] == "retrying"
        and "503" in changes[0]["error"]["message"]
    )
