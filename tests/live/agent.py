"""A simulator of how Elastic Agent runs a CEL program, with mito as the interpreter.

Its rules are those of beats' x-pack/filebeat/input/cel/input.go, @00f3c215. Each is named after the
function and the statement that it follows; check_agent.py has a test of each, by its number.

 1 run, `state["url"] = goodURL`: the state is that of the policy, with the saved cursor and the URL
   of the resource, whatever the policy has under that name.
 2 run, `if !ok && goodURL != ""`: a program that drops `url` gets it back.
 3 run, `unexpected missing events array`: without `events` the input ends.
 4 run, `if len(e) == 0`: an empty list ends the cycle. The program keeps its state, cursor included,
   but no cursor is saved.
 5 run, `case map[string]interface{}`: an object in place of `events` is published as a document of
   its own, the input is degraded, and the cursor is the last one that was published.
 6 run, `delete(state, "events")`: the next evaluation has no `events`.
 7 run, `i == len(events)-1`: one cursor is saved with the last event of a batch.
 8 run, `cursors[i]`: of a list of cursors, each is saved with its event.
 9 run, `if more, _ := state["want_more"].(bool)`: only `true` continues.
10 run, `if budget <= 0`: after `max_executions` evaluations the cycle ends, degraded; the next one
   continues.
11 evalWith, `failed eval`: an evaluation that fails gives such an object, and leaves the state as it
   was; clearWantMore: it does not continue.
12 Run, `crsr.Unpack`: of a state, a restart keeps the saved cursor only.
13 newClient, `retryablehttp.Client`: see retrying.py.

`header`, `rate_limit` and `status_code` belong to the agent (handleResponse): no program here may
return them."""

import json
import re
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path

# otherwise mito continues by itself
AROUND = (
    '(\n{}\n).as(out, out.with({{"want_more": false, "_more": has(out.want_more) &&'
    " type(out.want_more) == bool && out.want_more}}))"
)
TAKEN_AWAY = {"header", "rate_limit", "status_code"}
DEGRADED = "exceeding maximum number of CEL executions"


class Agent:
    """An input of an agent. `taken`: the published events without failures, which are in
    `failures`: (time, message of a program or of the agent). `error`: why the last cycle ended
    early. `health`: "" while it is running. `ago`: how many seconds the clock is behind."""

    def __init__(self, mito, policy):
        self.mito, self.program, self.config, self.url = (
            mito,
            policy["program"],
            policy["state"],
            policy["resource.url"],
        )
        self.budget = policy["max_executions"]
        self.conf = next(
            step["add_fields"]["fields"] for step in policy["processors"] if "add_fields" in step
        )
        self.cursor, self.taken, self.failures, self.error, self.ago = None, [], [], "", 0
        self.health = ""
        self.restart()

    def restart(self):
        """Restart: only the cursor is kept."""
        self.state = {
            **self.config,
            **({"cursor": self.cursor} if self.cursor is not None else {}),
            "url": self.url,
        }

    def evaluate(self):
        with tempfile.TemporaryDirectory() as folder:
            data, source = Path(folder) / "state.json", Path(folder) / "program.cel"
            data.write_text(json.dumps(self.state))
            source.write_text(
                re.sub(r"\bnow\b", f'(now - duration("{self.ago}s"))', AROUND.format(self.program))
            )
            done = subprocess.run(
                [self.mito, "-data", data, source], capture_output=True, text=True, timeout=300
            )
        # a closed connection, for example
        return (
            json.loads(done.stdout)
            if done.returncode == 0
            else {
                **self.state,
                "events": {"error": {"message": f"failed eval: {done.stderr}"}},
                "_more": False,
            }
        )

    def documents(self):
        """Return the documents published since the last call, as they are sent to the cluster."""
        published = [("2026-01-01T00:00:00.000Z", event) for event in self.taken] + self.failures
        self.taken, self.failures = [], []
        return [
            {
                **event,
                "_conf": {**self.conf, **event.get("_conf", {})},
                "@timestamp": at,
                "agent": {"type": "filebeat", "id": "an-agent"},
                "input": {"type": "cel"},
                "data_stream": {"namespace": "default"},
            }
            for at, event in published
        ]

    def cycle(self, dies_after=0):
        """Run one cycle. `dies_after`: crash after so many evaluations; the events of the last
        one are published, and its cursor is lost."""
        self.error, self.health = "", ""
        for number in range(1, self.budget + 1):
            state = self.evaluate()
            assert not TAKEN_AWAY & state.keys(), "the agent uses these itself"
            assert "events" in state, "unexpected missing events array from evaluation"
            events, more = state.pop("events"), state.pop("_more")
            state.pop("want_more", None)
            state.setdefault("url", self.url)
            self.state = state
            if not events:
                return
            if isinstance(events, dict):
                self.fail(events)
            else:
                self.publish(events, state.get("cursor", self.cursor), number == dies_after)
            if number == dies_after:
                return
            state["cursor"] = self.cursor or {}
            if not more:
                return
        self.health = DEGRADED

    def fail(self, event):
        """Publish an object that stands in place of events."""
        self.error = self.health = event["error"]["message"]
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
        self.failures.append((f"{now[:-3]}Z", event))

    def publish(self, events, cursor, dies):
        """Publish events, and save the cursor of each that has one, unless the process dies."""
        # drop_event of the policy
        self.taken += [event for event in events if "_nothing" not in event]
        if not dies:
            self.cursor = cursor[len(events) - 1] if isinstance(cursor, list) else cursor
