"""siemtap's own health in the SIEM: what is measured, what is said when something changes, what
happens when the output does not take it."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap import contract
from siemtap.core.errors import Retry
from siemtap.core.windows import SECOND
from siemtap.health import DATASET
from siemtap.outputs.checked import compiled
from siemtap.runners.health import KEPT, Health
from siemtap.runners.stats import Lateness
from world import NOON, Time

CHECK = compiled(contract.read("event.schema.json"), [DATASET])
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
    """As much of it as health looks at."""

    def __init__(self):
        self.time = Time()
        self.clock, self.also, self.sink, self.inputs = (
            self.time.clock,
            {"agent.type": "siemtap", "agent.version": "1", "agent.name": "here"},
            SimpleNamespace(),
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
            "output": {"name": "elasticsearch", **self.totals, "waiting_rejected": 1, "queue": 0},
        }


@pytest.fixture
def told():
    shipper, delivered = Shipper(), []
    it = Health(shipper, "prod", 60.0, lambda unit, events: delivered.extend(events))
    return shipper, it, delivered


def test_a_report_is_events_of_the_contract(told):
    shipper, it, delivered = told
    it.report()
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
        "uptime_s": 60.0,
    }


def test_totals_become_what_came_since_the_last_report(told):
    shipper, it, delivered = told
    it.report()
    shipper.time.now += 60 * SECOND
    shipper.unit["events"], shipper.totals["accepted"] = 25, 31
    it.report()
    assert [event["siemtap"].get("events") for event in delivered] == [10, None, 15, None] and [
        event["siemtap"].get("accepted") for event in delivered
    ] == [None, 10, None, 21]
    assert len({event["event"]["id"] for event in delivered}) == 4
    shipper.unit["events"] = 4  # the input was configured anew
    it.report()
    assert delivered[4]["siemtap"]["events"] == 4


def test_a_change_is_an_event_of_its_own_and_the_first_success_is_none(told):
    shipper, it, delivered = told
    for state, error in (
        ("running", ""),
        ("ok", ""),
        ("retrying", "Retry: 503"),
        ("retrying", "Retry: 503"),
        ("degraded", "Retry: 503 again"),
        ("ok", ""),
    ):
        shipper.time.now += SECOND
        it.changed("waf/acme.event", state, error)
    it.report()
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


def test_what_the_output_does_not_take_waits_and_is_bounded():
    shipper, delivered, trouble = Shipper(), [], [True]

    def deliver(unit, events):
        if trouble[0]:
            raise Retry("not now")
        delivered.extend(events)

    it = Health(shipper, "default", 60.0, deliver)
    for _ in range(KEPT):
        it.report()
        shipper.time.now += SECOND
    assert len(it.waiting) == KEPT
    trouble[0] = False
    it.report()
    assert (
        len(delivered) == KEPT
        and delivered[-1]["@timestamp"].startswith("2026-03-04T12:16:40")
        and not it.waiting
    )


def test_ignored_fields_are_asked_for_now_and_then(told):
    shipper, it, delivered = told
    asked = []
    shipper.sink.ignored = lambda units, now: asked.append((units, now)) or 5
    shipper.inputs["waf"] = SimpleNamespace(
        wish=SimpleNamespace(every=SimpleNamespace(namespace="default")), units={"a unit": None}
    )
    for _ in range(3):
        it.report()
        shipper.time.now += 60 * SECOND
    assert asked == [({("a unit", "default")}, NOON)] and [
        event["siemtap"]["ignored"] for event in delivered if "ignored" in event["siemtap"]
    ] == [5, 5, 5]


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=300),
    st.sampled_from([0.5, 0.9, 0.99, 1.0]),
)
def test_lateness_is_right_to_a_tenth(late, share):
    it = Lateness()
    it.add(late)
    ranked = sorted(late)
    exact = ranked[max(0, -(-round(share * len(late) * 1000) // 1000) - 1)]
    assert (
        it.number == len(late)
        and it.most == max(late)
        and exact <= it.within(share) + 1
        and it.within(share) <= exact * 1.1 + 1
    )


def test_nothing_late_is_nought():
    assert Lateness().within(0.99) == 0
