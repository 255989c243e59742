"""The rules of the agent's simulator, one by one, by programs of a few lines; the numbers are those of
agent.py. And what of it the policies of the packages set: secrets that the log hides, the client's
retries."""

import json

import pytest
from agent import DEGRADED, Agent
from fleet import WAYS, new_agent, page, policies
from ingest import TOOLS
from retrying import Retrying

from apptrana import simulator as apptrana
from siemtap.elastic.package.model import PULLED
from siemtap.testing.simulation import Fault, Server

URL = "https://api.example.com"


def agent_of(program, state=None, **policy):
    """Return an agent with a program of its own."""
    return Agent(
        TOOLS / "mito",
        {
            "program": program,
            "state": state or {},
            "resource.url": URL,
            "max_executions": 1000,
            "processors": [{"add_fields": {"fields": {}}}],
            **policy,
        },
    )


def test_1_url_is_that_of_the_resource():
    agent = agent_of('{"events": [{"message": state.url}], "url": state.url}', {"url": ["other"]})
    agent.cycle()
    assert agent.taken == [{"message": URL}]


def test_2_a_program_that_drops_url_gets_it_back():
    program = (
        '{"events": [{"message": state.url}], "want_more": !has(state.second), "second": true}'
    )
    agent = agent_of(program)
    agent.cycle()
    assert agent.taken == [{"message": URL}] * 2


def test_3_without_events_the_input_ends():
    with pytest.raises(AssertionError, match="missing events"):
        agent_of('{"url": state.url}').cycle()


def test_4_an_empty_list_ends_the_cycle_and_saves_no_cursor():
    agent = agent_of('{"events": [], "want_more": true, "cursor": {"n": 1}, "kept": "x"}')
    agent.cycle()
    assert agent.cursor is None and agent.state["kept"] == "x" and agent.state["cursor"] == {"n": 1}
    agent.restart()
    assert "cursor" not in agent.state


def test_5_an_object_is_a_document_and_sets_the_cursor_back():
    program = """has(state.cursor) && has(state.cursor.n) ?
      {"events": {"error": {"message": "refused"}}, "cursor": {"n": 2}, "want_more": false}
    : {"events": [{"message": "a"}], "cursor": {"n": 1}, "want_more": true}"""
    agent = agent_of(program)
    agent.cycle()
    assert (agent.cursor, agent.state["cursor"], agent.error) == ({"n": 1}, {"n": 1}, "refused")
    assert agent.health == "refused" and len(agent.failures) == 1 and len(agent.taken) == 1


def test_6_events_are_removed_from_the_state():
    agent = agent_of('{"events": [{"message": string(has(state.events))}], "want_more": false}')
    agent.cycle()
    agent.cycle()
    assert agent.taken == [{"message": "false"}] * 2


@pytest.mark.parametrize("cursor", ['{"n": 2}', '[{"n": 1}, {"n": 2}]'], ids=["7", "8"])
def test_cursor_of_a_batch_is_that_of_its_last_event(cursor):
    program = f'{{"events": [{{"message": "a"}}, {{"message": "b"}}], "cursor": {cursor}}}'
    agent = agent_of(program)
    agent.cycle(dies_after=1)
    assert agent.cursor is None and len(agent.taken) == 2, "published, and its cursor is lost"
    agent.cycle()
    assert agent.cursor == {"n": 2}


@pytest.mark.parametrize("more, number", [("true", 3), ("false", 1), ('"true"', 1), ("1", 1)])
def test_9_only_true_continues(more, number):
    program = f'{{"events": [{{"message": "a"}}], "want_more": {more}}}'
    agent = agent_of(program, max_executions=3)
    agent.cycle()
    assert len(agent.taken) == number


def test_10_the_next_cycle_continues_after_max_executions():
    program = """int(has(state.cursor) && has(state.cursor.n) ? state.cursor.n : 0).as(n,
      {"events": [{"message": string(n)}], "cursor": {"n": n + 1}, "want_more": n < 6})"""
    agent = agent_of(program, max_executions=4)
    agent.cycle()
    assert agent.health == DEGRADED and len(agent.taken) == 4
    agent.cycle()
    assert agent.health == "" and [int(event["message"]) for event in agent.taken] == [*range(7)]


def test_11_a_failed_evaluation_is_a_document_and_changes_nothing():
    agent = agent_of('{"events": [{"message": "a"}], "want_more": state.none}', {"kept": "x"})
    before = dict(agent.state)
    agent.cycle()
    assert agent.error.startswith("failed eval: ") and agent.taken == []
    assert {key: agent.state[key] for key in before} == before


def test_12_a_restart_keeps_the_cursor_only():
    agent = agent_of('{"events": [{"message": "a"}], "cursor": {"n": 1}, "own": "x"}', {"set": "y"})
    agent.cycle()
    assert agent.state["own"] == "x"
    agent.restart()
    assert agent.state == {"set": "y", "cursor": {"n": 1}, "url": URL}


FAULTS = [{"status": 429, "retry_after": "7"}, {"status": 500}, {"status": 503}, {"cut": 0}]


@pytest.mark.parametrize("fault", FAULTS, ids=["429", "500", "503", "no answer"])
def test_13_what_the_client_retries_reaches_no_program(fault):
    """A fault that five repeats survive is seen; a shorter one is not, and nothing is lost."""
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=20.0, late=(0.0,))))
    client = Retrying(server)
    try:
        agent = new_agent(client, "apptrana.attack", initial_interval="5m")
        server.simulated.faults.append(Fault(call="getAttackInfo", times=5, **fault))
        agent.cycle()
        assert agent.error == "" and len(client.waits) == 5 and agent.taken
        assert client.waits == ([7.0] * 5 if "retry_after" in fault else [1, 2, 4, 8, 16])
        before = agent.cursor
        server.simulated.faults.append(Fault(call="getAttackInfo", times=6, **fault))
        agent.ago = -60
        agent.cycle()
        assert "getAttackInfo" in agent.error and agent.cursor == before
    finally:
        client.close()
        server.close()


@pytest.mark.parametrize("name, dataset", [way[:2] for way in WAYS if way[2] == PULLED])
def test_secrets_of_a_policy_are_redacted_in_the_log(name, dataset):
    """run, `redactor{state: state, cfg: cfg.Redact}`: the state is logged without these."""
    variables = page(name, dataset, PULLED)
    secret = "a-secret-of-the-form"
    values = {
        key: URL if key in ("url", "ips_url", "login_url") else secret
        for key, of in variables.items()
        if of["required"] and "default" not in of
    }
    values = {key: [value] if variables[key]["multi"] else value for key, value in values.items()}
    secrets = {key: secret for key, of in variables.items() if of["type"] == "password"}
    (policy,) = policies(name, dataset, PULLED, {**values, **secrets})
    assert secrets and "token.text" in policy["redact"]["fields"]
    shown = {
        key: value
        for key, value in policy["state"].items()
        if key not in policy["redact"]["fields"]
    }
    kept = {key for key, value in shown.items() if secret in json.dumps(value)}
    assert kept <= {key for key, of in variables.items() if of["type"] != "password"}


def test_an_empty_range_moves_the_saved_cursor_and_a_negative_one_nothing():
    """A site without attacks: the cursor is saved, although there is no event."""
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=0.0)))
    try:
        agent = new_agent(server, "apptrana.attack", initial_interval="5m", overlap="0s")
        agent.cycle()
        first = agent.cursor
        assert agent.taken == [] and first["all"]["until"] and first["all"]["seen"] == {}
        agent.ago = 3_600
        agent.cycle()
        assert (agent.cursor, agent.error) == (first, "")
        agent.ago = -600
        agent.cycle()
        assert agent.cursor["all"]["until"] > first["all"]["until"] and agent.taken == []
    finally:
        server.close()
