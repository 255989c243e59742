"""Time ranges with more records than one response may hold, and pages that never end."""

import json
from contextlib import suppress

import pytest

from apptrana import PLUGIN, plugin, simulator
from siemtap.core import bounds
from siemtap.core.errors import Malformed, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.settings import Connection
from siemtap.edge.client import http, sender
from siemtap.edge.clock import SYSTEM
from siemtap.testing.simulation import Server
from siemtap.testing.world import NOON, World

pytestmark = pytest.mark.slow


def simulated_input(**settings):
    return World(
        PLUGIN, simulator.Simulator(simulator.Knobs(rate=40.0)), **{"lookback": "40m", **settings}
    )


def check(world):
    """Assert that everything readable was delivered once, without errors."""
    got, must = (
        world.output.ids(),
        world.simulator.ledger(world.time.now, NOON - 2_400_000, world.until() - 100_000),
    )
    assert len(must) > 500 and must <= set(got) and max(got.values()) == 1 and world.errors == []


@pytest.mark.parametrize("most", [6_000, 12_000])
def test_dense_window_is_read_in_halves(most, monkeypatch):
    """About 80 JSON values for each attack and 40 attacks a minute: 16,000 values in 300 s."""
    monkeypatch.setattr(bounds, "MAX_VALUES", most)
    check(simulated_input().cycles(3))


def test_dense_window_is_read_in_halves_over_http(monkeypatch):
    """The response has too many bytes, which is noticed while it is read."""
    monkeypatch.setattr(sender, "LARGEST_REPLY", 100_000)
    world = simulated_input()
    server = Server(world.simulator)
    try:
        now = SYSTEM.now()
        client = PLUGIN.connect(
            fill_in(PLUGIN.settings, world.simulator.settings(server.url)),
            http.connect(fill_in(Connection, {})),
        )
        with pytest.raises(Malformed, match="MiB in one answer"):
            client.get_attack_info("", plugin.Window(now - 320_000, now - 20_000))
        assert sender.LARGE.bytes == 0
    finally:
        server.close()


def test_punctuation_inside_text_does_not_count_as_values(monkeypatch):
    """A second full of brackets and commas inside texts is read like any other."""
    monkeypatch.setattr(bounds, "MAX_VALUES", 20_000)
    world = simulated_input()
    answer = world.simulator.answer

    def full(request, now):
        reply = answer(request, now)
        return reply._replace(
            body=reply.body.replace(b'"attackData": "', b'"attackData": "' + b',[{:\\"' * 4_000)
        )

    monkeypatch.setattr(world.simulator, "answer", full)
    world.cycles(2)
    attacks = [event for event in world.output.kept if event["event"]["kind"] != "pipeline_error"]
    assert len(attacks) > 300 and world.errors == []
    assert all(event["apptrana"]["attack_data"].startswith(",[{:") for event in attacks)


def test_second_with_too_many_values_is_skipped_after_skip_after(monkeypatch):
    """A second holds more JSON values than the limit: it is reported, skipped after
    `skip_after`, and an event records the skipped range."""
    monkeypatch.setattr(bounds, "MAX_VALUES", 20_000)
    world = simulated_input(skip_after="1h")
    answer, bad = world.simulator.answer, NOON - 30_000

    def full(request, now):
        reply = answer(request, now)
        body = json.loads(request.body) if b"startTime" in request.body else {}
        if body and int(body["startTime"]) <= bad <= int(body["endTime"]):
            return reply._replace(
                body=b'{"successMessage": "Success", "data": [' + b"{}," * 30_000 + b"{}]}"
            )
        return reply

    monkeypatch.setattr(world.simulator, "answer", full)
    (unit,) = world.units()
    for _ in range(3):
        with suppress(Malformed):
            world.attempt(unit)
        world.time.now += 2_000_000
    (lost,) = [event for event in world.output.kept if event.get("message", "").startswith("lost ")]
    assert "more than 20,000 values" in lost["message"] and world.until() > bad


def test_window_below_split_at_is_below_the_limits():
    """10,000 attacks (`split_at`) in one response are far below both limits."""
    attacks = [
        json.dumps(attack)
        for attack in simulated_input().client.get_attack_info(
            "", plugin.Window(NOON - 320_000, NOON - 20_000)
        )
    ]
    assert (
        len(attacks) > 300
        and 10_000 * max(map(bounds.count_values, attacks)) < bounds.MAX_VALUES
        and 10_000 * sum(map(len, attacks)) / len(attacks) < sender.LARGEST_REPLY
    )


def test_endless_audit_log_pages_are_malformed(monkeypatch):
    monkeypatch.setattr(plugin, "MAX_ACTIONS", 50)
    world = simulated_input(datasets="activity", activity_page=1)
    pages = iter(range(10_000))
    monkeypatch.setattr(
        world.client, "post", lambda path, body: {"result": {"actions": [{"number": next(pages)}]}}
    )
    with pytest.raises(Retry, match="more than 50 actions in one window") as caught:
        world.client.get_activity("", plugin.Window(world.time.now - 3_600_000, world.time.now))
    assert caught.value.narrower and next(pages) == 51


def walk(fetch, **settings):
    """Return the batches of a first cycle that calls `fetch` for each window instead of the API."""
    world = simulated_input(**settings)
    world.client.get_attack_info = lambda site, window: fetch(window)
    unit = next(iter(world.units()))
    return PLUGIN.collect(world.client, unit, {}, world.time.now)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_responses_in_memory_are_limited_by_concurrency(concurrency):
    """Every response is full, so that 2,400 s need more than 2,400 requests: only the responses
    in flight may be in memory, not those of a whole window."""
    questions, most = [], 0
    delivered = 0

    def fetch(window):
        questions.append(window)
        return [{"window": list(window)}] * 10

    for batch in walk(fetch, split_at=10, concurrency=concurrency):
        if batch.records:
            delivered += 1
        most = max(
            most,
            len([window for window in questions if window.width <= plugin.NARROWEST]) - delivered,
        )
    assert delivered > 2_400 and most <= concurrency


def test_records_before_an_unreadable_second_are_delivered():
    """One second in the middle of a window cannot be read, and every response is full. The error
    names that second."""
    bad = NOON - 2_000_000

    def fetch(window):
        if window.start <= bad < window.stop:
            raise Malformed("no list")
        return [{}] * 10

    reached = []
    with pytest.raises(Malformed, match="no list") as caught:
        for batch in walk(fetch, split_at=10):
            reached += [batch.cursor.get("until", 0)] if batch.records else []
    assert (
        bad - 2_000 <= max(reached) <= bad
        and len(reached) > 300
        and caught.value.where.startswith("2026-03-04T11:26:3")
    )


def test_response_with_too_many_records_is_halved_whatever_split_at(
    monkeypatch,
):
    """At the narrowest window it is unreadable."""
    monkeypatch.setattr("siemtap.edge.client.walk.MOST", 50)
    world = simulated_input(split_at=10**6)
    get_attack_info = world.client.get_attack_info
    widths = []
    world.client.get_attack_info = lambda site, window: (
        widths.append(window.width) or get_attack_info(site, window)
    )
    check(world.cycles(3))
    assert min(widths) < 100_000
    with pytest.raises(Malformed, match="more than 50 records in one answer"):
        list(walk(lambda window: [{}] * 51, split_at=10**6))


def test_attacks_are_counted_before_they_are_parsed(monkeypatch):
    monkeypatch.setattr(plugin, "MOST", 50)
    world = simulated_input()
    monkeypatch.setattr(plugin, "read_attacks", lambda row: pytest.fail("made"))
    world.client.post = lambda path, body: {
        "data": [{"attacks": [{}] * 30}, {"attacks": [{}] * 21}, None, {"attacks": None}]
    }
    with pytest.raises(Malformed, match="more than 50 attacks in one response"):
        world.client.get_attack_info("", plugin.Window(0, 1))


@pytest.mark.parametrize(
    "sites,most",
    [(range(10), 10), (range(11), None), ([*[1] * 50_000, *range(10)], 10)],
    ids=["most", "more", "twice"],
)
def test_number_of_websites_is_limited(monkeypatch, sites, most):
    monkeypatch.setattr(plugin, "MAX_WEBSITES", 10)
    world = simulated_input()
    world.client.api.json = lambda request: [f"site{number}" for number in sites]
    if most:
        assert len(world.client.get_websites()) == most
    else:
        with pytest.raises(
            Malformed, match="more than 10 websites; list those to collect under `websites`"
        ):
            world.client.get_websites()
