"""The CEL program of AppTrana's attack log: websites with cursors of their own, and answers that may
be cut. By mito, against the simulator."""

import json
import time
from collections import Counter

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
