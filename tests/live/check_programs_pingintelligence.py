"""The CEL program of PingIntelligence's attack reports: a time range whose report is no JSON. By
mito, against the simulator."""

import re
import time
from datetime import datetime, timezone

from fleet import new_agent
from pingintelligence import simulator as pingintelligence

from siemtap.testing.simulation import Server

MINUTES = 60
LOST = re.compile(r"; lost (\S+) to (\S+), unreadable since ")


def seconds(moment):
    digits = "".join(sign for sign in moment if sign.isdigit())[:14]
    return datetime.strptime(f"{digits}+0000", "%Y%m%d%H%M%S%z").timestamp()


def test_unreadable_time_is_skipped_after_skip_after():
    """For each API, with an event that names the lost time; the events before it at once."""
    now = int(time.time())
    bad = now - now % 60 - 150 * MINUTES
    knobs = pingintelligence.Knobs(apis=("shop",), poison=float(bad))
    server = Server(pingintelligence.Simulator(knobs))
    try:
        agent = new_agent(
            server,
            "pingintelligence.attack",
            apis=["shop"],
            initial_interval="5h",
            skip_after="2h",
        )
        agent.cycle()
        assert "no report of attacks; skipped after 2h" in agent.error
        marks = agent.cursor
        assert marks.keys() == {"all", "shop"}
        for mark in marks.values():
            assert bad - 11 * MINUTES <= seconds(mark["until"]) <= bad
        before = len(agent.taken)
        assert before and not [event for event in agent.taken if "error" in event]

        agent.restart()
        agent.cycle()
        assert {scope: mark["stuck"] for scope, mark in agent.cursor.items()} == {
            scope: mark["stuck"] for scope, mark in marks.items()
        }
        for mark in agent.cursor.values():
            since = datetime.fromtimestamp(now - 3 * 3600, timezone.utc)
            mark["stuck"]["since"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        agent.restart()
        agent.cycle()
        assert agent.error == ""
        lost = [event["error"]["message"] for event in agent.taken if "error" in event]
        ranges = [LOST.search(message).groups() for message in lost]
        assert len(lost) == 2 and all("unreadable since" in message for message in lost)
        for start, stop in ranges:
            assert seconds(start) <= bad < seconds(stop) <= seconds(start) + 10 * MINUTES
        for mark in agent.cursor.values():
            assert "stuck" not in mark and seconds(mark["until"]) > bad + 60 * MINUTES
        assert len(agent.taken) > before + len(lost)

        agent.restart()
        agent.taken = []
        agent.cycle()
        again = [event for event in agent.taken if "error" in event]
        assert agent.error == "" and not again, "the overlap does not read it again"
    finally:
        server.close()
