"""The CEL program of AppTrana's attack log: websites with cursors of their own, and answers that may
be cut. By mito, against the simulator."""

import json
import time
from collections import Counter
from datetime import datetime, timezone

from fleet import new_agent

from apptrana import simulator as apptrana
from siemtap.core.compile import bind
from siemtap.core.manifest import fill_in
from siemtap.core.windows import MINUTE
from siemtap.render import registry
from siemtap.testing.simulation import Server


def ids_of(agent):
    """Return how often the agent published each attack of AppTrana."""
    plugin = registry.plugin("apptrana")
    settings = fill_in(plugin.settings, {"client_id": "x", "client_secret": "y"})
    map_record = bind(plugin.dataset("apptrana.attack"), settings, {})
    records = [json.loads(event["message"]) for event in agent.taken]
    return Counter(map_record(record, 0)["event"]["id"] for record in records)


def test_each_website_of_apptrana_has_a_cursor():
    """A website that the vendor does not have delays no other."""
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=3.0, unknown_site="400")))
    try:
        simulated, now = server.simulated, int(time.time() * 1000)
        sites = ["shop.example.com", "gone.example.com", "www.example.com"]
        agent = new_agent(server, "apptrana.attack", websites=sites, initial_interval="12m")
        agent.cycle()
        assert "getAttackInfo of gone.example.com: 400" in agent.error
        assert agent.cursor.keys() == {"shop.example.com", "www.example.com"}
        got = ids_of(agent)
        truth = simulated.ledger(now, now - 11 * MINUTE, now - MINUTE)
        assert truth and truth <= got.keys() and set(got.values()) == {1}
        agent.restart()
        agent.taken = []
        agent.cycle()
        assert not ids_of(agent).keys() & got.keys(), "each website goes on at its own cursor"
    finally:
        server.close()


def test_answers_of_apptrana_that_may_be_cut_are_read_in_halves():
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=40.0, cap=50)))
    try:
        now = int(time.time() * 1000)
        agent = new_agent(server, "apptrana.attack", initial_interval="12m", split_at=50)
        agent.cycle()
        got = ids_of(agent)
        assert (
            agent.error == ""
            and server.simulated.ledger(now, now - 11 * MINUTE, now - MINUTE) <= got.keys()
        )
        assert len(got) > 500 and set(got.values()) == {1}
    finally:
        server.close()


class Ignoring(apptrana.Simulator):
    """A vendor that answers as if no website had been requested."""

    def answer(self, request, now):
        if b"websiteName" in request.body:
            body = json.loads(request.body)
            body.pop("websiteName")
            request = request._replace(body=json.dumps(body).encode())
        return super().answer(request, now)


def test_an_api_that_ignores_the_website_returns_each_attack_once():
    knobs = apptrana.Knobs(rate=3.0)
    server = Server(Ignoring(knobs))
    try:
        now = int(time.time() * 1000)
        websites = [" SHOP.example.com.", *knobs.websites[1:]]
        agent = new_agent(server, "apptrana.attack", websites=websites, initial_interval="12m")
        agent.cycle()
        got = ids_of(agent)
        truth = server.simulated.ledger(now, now - 11 * MINUTE, now - MINUTE)
        assert agent.error == "" and truth and truth <= got.keys() and set(got.values()) == {1}
    finally:
        server.close()


def test_unreadable_time_is_skipped_after_skip_after():
    """The events before it are delivered at once, in the same cycle; it and what follows it only
    after `skip_after`, with an event that names the lost time. The overlap does not read it again."""
    now = int(time.time() * 1000)
    bad = now // 1000 - 400
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=20.0, poison=bad + 0.5)))
    try:
        simulated = server.simulated
        agent = new_agent(server, "apptrana.attack", initial_interval="15m", skip_after="2h")
        agent.cycle()
        assert "neither data nor a successMessage; skipped after 2h" in agent.error
        mark = agent.cursor["all"]
        assert bad - 21 <= seconds(mark["until"]) <= bad and mark["stuck"]["at"]
        before = simulated.ledger(now, now - 14 * MINUTE, (bad - 21) * 1000)
        assert before and before <= ids_of(agent).keys()
        assert not [event for event in agent.taken if "error" in event]

        agent.restart()
        agent.cycle()
        assert agent.cursor["all"]["stuck"] == mark["stuck"], "since when, whatever happens"

        agent.cursor["all"]["stuck"]["since"] = stamp(now // 1000 - 3 * 3600)
        agent.restart()
        agent.cycle()
        assert agent.error == ""
        (lost,) = [event["error"]["message"] for event in agent.taken if "error" in event]
        assert "; lost 20" in lost and "unreadable since" in lost
        after = agent.cursor["all"]
        (gap,) = after["skipped"]
        assert seconds(gap["from"]) <= bad + 0.5 <= seconds(gap["to"])
        assert seconds(gap["to"]) - seconds(gap["from"]) <= 10 and "stuck" not in after
        agent.taken = [event for event in agent.taken if "error" not in event]
        got = ids_of(agent)
        hole = simulated.ledger(now, (bad - 11) * 1000, (bad + 12) * 1000)
        truth = simulated.ledger(now, now - 14 * MINUTE, now - MINUTE)
        assert truth - got.keys() <= hole and set(got.values()) == {1}

        agent.restart()
        agent.cycle()
        assert agent.error == "" and agent.cursor["all"]["skipped"] == [gap]
    finally:
        server.close()


def test_unreadable_time_is_kept_while_nothing_behind_it_can_be_read():
    """A service that answers nothing else skips nothing, however long."""

    class Silent(apptrana.Simulator):
        def answer(self, request, now):
            reply = super().answer(request, now)
            is_attack = request.url.endswith("getAttackInfo")
            return reply._replace(body=b'{"odd": 1}') if is_attack else reply

    server = Server(Silent(apptrana.Knobs(rate=3.0)))
    try:
        agent = new_agent(server, "apptrana.attack", initial_interval="15m", skip_after="2h")
        agent.cycle()
        agent.cursor["all"]["stuck"]["since"] = stamp(int(time.time()) - 3 * 3600)
        agent.restart()
        agent.cycle()
        assert "skipped after 2h" in agent.error and "skipped" not in agent.cursor["all"]
        assert not agent.taken
    finally:
        server.close()


def seconds(moment):
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def stamp(moment):
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
