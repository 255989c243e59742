"""Health events: metrics, state changes, and an output that rejects them."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core.errors import Retry
from siemtap.core.windows import SECOND
from siemtap.edge import schemas
from siemtap.render.event_check import SchemaCheck
from siemtap.render.health import DATASET
from siemtap.shipper.health import MAX_WAITING, Health
from siemtap.shipper.processes.share import ALONE
from siemtap.shipper.stats import Lateness
from siemtap.testing.world import NOON, Time

CHECK = SchemaCheck(schemas.read("event.schema.json"), [DATASET])
UNIT = {
    "unit": "waf/acme.event",
    "state": "ok",
    "error": "",
    "events": 10,
    "echoes": 2,
    "last_success": None,
    "read_until": "2026-03-04T11:59:50.000Z",
    "cursor_age_s": 10,
    "attempts": 0,
    "late_events": 3,
    "late_p50_s": 4.0,
    "late_p99_s": 9.5,
    "late_max_s": 9.5,
    "lag_s": 10.0,
    "overlap_s": 225.0,
    "overlap_suffices": True,
}


class Shipper:
    """The part of a shipper that the health report reads."""

    def __init__(self):
        self.time = Time()
        self.share = ALONE
        self.cluster = SimpleNamespace()
        self.delivery = SimpleNamespace(
            outputs={"siem": SimpleNamespace(name="siem", output=self.cluster)}
        )
        self.clock, self.added_fields, self.inputs = (
            self.time.clock,
            {"agent.type": "siemtap", "agent.version": "1", "agent.name": "here"},
            {},
        )
        self.unit, self.totals = (
            dict(UNIT),
            {
                "accepted": 10,
                "rejected": 1,
                "retried": 0,
                "echoes": 2,
                "batches": 3,
                "late": 3,
                "requests": 7,
            },
        )

    def stats(self):
        return {
            "version": "1",
            "uptime_s": 60,
            "healthy": True,
            "reason": "ok",
            "inputs": [{"id": "waf", "units": [self.unit]}],
            "outputs": [{"name": "siem", "waiting_events": 5}],
            "output": {"name": "elasticsearch", **self.totals, "waiting_rejected": 1, "queue": 0},
        }


@pytest.fixture
def reporter():
    """Return (shipper, health report, delivered events)."""
    shipper, delivered = Shipper(), []
    health = Health(shipper, "prod", 60.0, lambda unit, events: delivered.extend(events))
    return shipper, health, delivered


def test_report_consists_of_valid_events(reporter):
    shipper, health, delivered = reporter
    health.report()
    assert [CHECK(event) for event in delivered] == [None, None]
    unit, output = (event["siemtap"] for event in delivered)
    assert (
        delivered[0]["data_stream"]
        == {
            "type": "logs",
            "dataset": "siemtap.health",
            "namespace": "prod",
        }
        and delivered[0]["event"]["kind"] == "metric"
    )
    assert {
        name: value for name, value in UNIT.items() if name not in ("error", "last_success")
    } | {"input": "waf"} == unit
    assert output == {
        "state": "ok",
        "output": "elasticsearch",
        "accepted": 10,
        "rejected": 1,
        "retried": 0,
        "requests": 7,
        "waiting_rejected": 1,
        "waiting_events": 5,
        "uptime_s": 60.0,
    }


def test_report_has_increases_since_the_last_report(reporter):
    shipper, health, delivered = reporter
    health.report()
    shipper.time.now += 60 * SECOND
    shipper.unit["events"], shipper.totals["accepted"] = 25, 31
    health.report()
    assert [event["siemtap"].get("events") for event in delivered] == [10, None, 15, None] and [
        event["siemtap"].get("accepted") for event in delivered
    ] == [None, 10, None, 21]
    assert len({event["event"]["id"] for event in delivered}) == 4
    shipper.unit["events"] = 4  # the input was restarted, so the counter starts at zero
    health.report()
    assert delivered[4]["siemtap"]["events"] == 4


def test_state_change_is_an_event_but_the_first_success_is_not(reporter):
    shipper, health, delivered = reporter
    for state, error in (
        ("running", ""),
        ("ok", ""),
        ("retrying", "Retry: 503"),
        ("retrying", "Retry: 503"),
        ("degraded", "Retry: 503 again"),
        ("ok", ""),
    ):
        shipper.time.now += SECOND
        health.changed("waf/acme.event", state, error)
    health.report()
    changes = [event for event in delivered if event["event"]["kind"] == "event"]
    assert [CHECK(event) for event in changes] == [None] * 3
    assert [
        (
            event["siemtap"]["state"],
            event["event"]["outcome"],
            event.get("error", {}).get("message"),
        )
        for event in changes
    ] == [
        ("retrying", "unknown", "Retry: 503"),
        ("degraded", "failure", "Retry: 503 again"),
        ("ok", "success", None),
    ]
    assert (
        changes[0]["@timestamp"] == "2026-03-04T12:00:03.000Z"
        and changes[2]["message"] == "waf/acme.event: degraded -> ok"
    )


def test_an_output_whose_queue_another_worker_reads(reporter, monkeypatch):
    """`processes: 2`: it is open here without the numbers of its queue."""
    shipper, health, delivered = reporter
    stats = shipper.stats()
    stats["outputs"].append({"name": "archive", "type": "sqlite"})
    monkeypatch.setattr(shipper, "stats", lambda: stats)
    health.report()
    assert delivered[-1]["siemtap"]["waiting_events"] == 5


def test_a_limited_number_of_events_waits_for_the_output():
    shipper, delivered, error = Shipper(), [], [True]

    def deliver(unit, events):
        if error[0]:
            raise Retry("not now")
        delivered.extend(events)

    health = Health(shipper, "default", 60.0, deliver)
    for _ in range(MAX_WAITING):
        health.report()
        shipper.time.now += SECOND
    assert len(health.waiting) == MAX_WAITING
    error[0] = False
    health.report()
    assert (
        len(delivered) == MAX_WAITING
        and delivered[-1]["@timestamp"].startswith("2026-03-04T12:16:40")
        and not health.waiting
    )


def test_ignored_fields_are_queried_periodically(reporter):
    shipper, health, delivered = reporter
    asked = []
    shipper.cluster.ignored = lambda units, now: asked.append((units, now)) or 5
    for id, output in (("waf", "siem"), ("other", "archive")):
        shipper.inputs[id] = SimpleNamespace(
            input_config=SimpleNamespace(
                common=SimpleNamespace(namespace="default"), outputs=(output,)
            ),
            units={"a unit" if id == "waf" else "another unit": None},
        )
    for _ in range(3):
        health.report()
        shipper.time.now += 60 * SECOND
    assert asked == [({("a unit", "default")}, NOON)] and [
        event["siemtap"]["ignored"] for event in delivered if "ignored" in event["siemtap"]
    ] == [5, 5, 5]


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=300),
    st.sampled_from([0.5, 0.9, 0.99, 1.0]),
)
def test_lateness_percentiles_are_accurate_to_ten_percent(late, share):
    health = Lateness()
    health.add(late)
    ranked = sorted(late)
    exact = ranked[max(0, -(-round(share * len(late) * 1000) // 1000) - 1)]
    assert (
        health.number == len(late)
        and health.most == max(late)
        and exact <= health.percentile(share) + 1
        and health.percentile(share) <= exact * 1.1 + 1
    )


def test_lateness_without_events_is_zero():
    assert Lateness().percentile(0.99) == 0
