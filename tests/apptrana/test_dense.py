"""Windows with more in them than one answer may hold, and pages that never end."""

import json
from contextlib import suppress

import pytest

from apptrana import PLUGIN, plugin, simulator
from siemtap.core import bounds
from siemtap.core.errors import Malformed, Retry
from siemtap.core.forms import Connection
from siemtap.core.manifest import fill_in
from siemtap.edge import http
from siemtap.edge.clock import SYSTEM
from siemtap.runners.simulate import Server
from world import NOON, World


def world(**settings):
    return World(
        PLUGIN, simulator.Simulator(simulator.Knobs(rate=40.0)), **{"lookback": "40m", **settings}
    )


def check(it):
    """All that can be read is there, once; nothing went wrong."""
    got, must = (
        it.output.ids(),
        it.simulator.ledger(it.time.now, NOON - 2_400_000, it.until() - 100_000),
    )
    assert len(must) > 500 and must <= set(got) and max(got.values()) == 1 and it.errors == []


@pytest.mark.parametrize("most", [6_000, 12_000])
def test_a_dense_window_is_read_in_halves(most, monkeypatch):
    """Some 80 elements an attack, 40 attacks a minute: 300 s are 16,000."""
    monkeypatch.setattr(bounds, "ELEMENTS", most)
    check(world().cycles(3))


def test_a_dense_window_over_the_wire(monkeypatch):
    """Too many bytes, seen while they are read."""
    monkeypatch.setattr(http, "LARGEST_REPLY", 100_000)
    it = world()
    server = Server(it.simulator)
    try:
        now = SYSTEM.now()
        client = PLUGIN.connect(
            fill_in(PLUGIN.settings, it.simulator.settings(server.url)),
            http.connect(fill_in(Connection, {})),
        )
        with pytest.raises(Malformed, match="MiB in one answer"):
            client.get_attack_info("", plugin.Window(now - 320_000, now - 20_000))
        assert http.LARGE.bytes == 0
    finally:
        server.close()


def test_an_attackers_commas_stop_nobody(monkeypatch):
    """Signs inside texts are no values: a second full of them is read like any other."""
    monkeypatch.setattr(bounds, "ELEMENTS", 20_000)
    it = world()
    answer = it.simulator.answer

    def full(request, now):
        reply = answer(request, now)
        return reply._replace(
            body=reply.body.replace(b'"attackData": "', b'"attackData": "' + b',[{:\\"' * 4_000)
        )

    monkeypatch.setattr(it.simulator, "answer", full)
    it.cycles(2)
    attacks = [event for event in it.output.kept if event["event"]["kind"] != "pipeline_error"]
    assert len(attacks) > 300 and it.errors == []
    assert all(event["apptrana"]["attack_data"].startswith(",[{:") for event in attacks)


def test_a_second_that_cannot_be_read_at_all_is_given_up_in_the_end(monkeypatch):
    """More values in one second than may be made: said, skipped after `skip_after`, and an event
    names it."""
    monkeypatch.setattr(bounds, "ELEMENTS", 20_000)
    it = world(skip_after="1h")
    answer, bad = it.simulator.answer, NOON - 30_000

    def full(request, now):
        reply = answer(request, now)
        asked = json.loads(request.body) if b"startTime" in request.body else {}
        if asked and int(asked["startTime"]) <= bad <= int(asked["endTime"]):
            return reply._replace(
                body=b'{"successMessage": "Success", "data": [' + b"{}," * 30_000 + b"{}]}"
            )
        return reply

    monkeypatch.setattr(it.simulator, "answer", full)
    (unit,) = it.units()
    for _ in range(3):
        with suppress(Malformed):
            it.attempt(unit)
        it.time.now += 2_000_000
    (lost,) = [event for event in it.output.kept if event.get("message", "").startswith("lost ")]
    assert "more than 20,000 values" in lost["message"] and it.until() > bad


def test_the_largest_window_that_is_not_split_passes():
    """`split_at` 10,000 attacks in one answer are far below both bounds."""
    attacks = [
        json.dumps(attack)
        for attack in world().client.get_attack_info(
            "", plugin.Window(NOON - 320_000, NOON - 20_000)
        )
    ]
    assert (
        len(attacks) > 300
        and 10_000 * max(map(bounds.elements, attacks)) < bounds.ELEMENTS
        and 10_000 * sum(map(len, attacks)) / len(attacks) < http.LARGEST_REPLY
    )


def test_pages_that_never_end_are_no_audit_log(monkeypatch):
    monkeypatch.setattr(plugin, "MOST_ACTIONS", 50)
    it = world(datasets="activity", activity_page=1)
    pages = iter(range(10_000))
    monkeypatch.setattr(
        it.client, "ask", lambda path, body: {"result": {"actions": [{"number": next(pages)}]}}
    )
    with pytest.raises(Retry, match="more than 50 actions in one window") as caught:
        it.client.get_activity("", plugin.Window(it.time.now - 3_600_000, it.time.now))
    assert caught.value.narrower and next(pages) == 51


def walk(fetch, **settings):
    """A first cycle that asks `fetch` for windows instead of the API."""
    it = world(**settings)
    it.client.get_attack_info = lambda site, window: fetch(window)
    unit = next(iter(it.units()))
    return PLUGIN.collect(it.client, unit, {}, it.time.now)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_was_read_is_handed_on_before_more_is_asked_for(concurrency):
    """Every answer is full, so that 2,400 s are 2,400 questions and more: what is in memory are
    the answers in flight, and not all of a window."""
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


def test_what_lies_before_an_error_in_a_window_is_delivered_and_the_error_names_its_own():
    """A second that cannot be read, in the middle of a window of which every answer is full."""
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


def test_an_answer_of_too_many_records_is_asked_for_in_halves_and_at_the_narrowest_unreadable(
    monkeypatch,
):
    """Whatever `split_at` says."""
    monkeypatch.setattr("siemtap.edge.walk.MOST", 50)
    it = world(split_at=10**6)
    asked = it.client.get_attack_info
    widths = []
    it.client.get_attack_info = lambda site, window: (
        widths.append(window.width) or asked(site, window)
    )
    check(it.cycles(3))
    assert min(widths) < 100_000
    with pytest.raises(Malformed, match="more than 50 records in one answer"):
        list(walk(lambda window: [{}] * 51, split_at=10**6))


def test_attacks_are_counted_before_they_are_made(monkeypatch):
    monkeypatch.setattr(plugin, "MOST", 50)
    it = world()
    monkeypatch.setattr(plugin, "attacks", lambda row: pytest.fail("made"))
    it.client.ask = lambda path, body: {
        "data": [{"attacks": [{}] * 30}, {"attacks": [{}] * 21}, None, {"attacks": None}]
    }
    with pytest.raises(Malformed, match="more than 50 attacks in one answer"):
        it.client.get_attack_info("", plugin.Window(0, 1))


@pytest.mark.parametrize(
    "sites,most",
    [(range(10), 10), (range(11), None), ([*[1] * 50_000, *range(10)], 10)],
    ids=["most", "more", "twice"],
)
def test_sites_are_bounded(monkeypatch, sites, most):
    monkeypatch.setattr(plugin, "MOST_SITES", 10)
    it = world()
    it.client.call = lambda make: [f"site{number}" for number in sites]
    if most:
        assert len(it.client.get_websites()) == most
    else:
        with pytest.raises(
            Malformed, match="more than 10 sites; list those to read under `websites`"
        ):
            it.client.get_websites()
