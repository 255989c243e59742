"""What Elastic Agent does around a CEL program, with mito in the middle. Its rules are those of
`run()` in beats' x-pack/filebeat/input/cel/input.go, @00f3c215:

- the state is the policy's, with the cursor that was saved, and `url`, the resource's, whatever the
  policy has under that name; a program that drops `url` gets it back;
- `events` leave the state before the next evaluation; none end the cycle, and the program's state
  stays;
- an object in place of `events` is published as a document of its own, and the cursor goes back to
  the last that was published: an empty one if there was none;
- an evaluation that fails makes such an object, and changes nothing else (`evalWith`); what a
  program wants more of is then not asked for;
- `header`, `rate_limit` and `status_code` are the agent's own, too: it takes them out of the state
  and acts by them (`handleResponse`).
"""

import json
import re
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path

BUDGET = 1_000
# mito goes on by itself otherwise
AROUND = (
    '(\n{}\n).as(out, out.with({{"want_more": false, "_more": has(out.want_more) &&'
    " out.want_more}}))"
)
TAKEN_AWAY = {"header", "rate_limit", "status_code"}


class Agent:
    """One input. `taken`: what reached the output, but for `failures`: (when, what a program or the
    agent says of a failure). `error`: why the last cycle ended early. `ago`: its clock is so many
    seconds late."""

    def __init__(self, mito, policy):
        self.mito, self.program, self.config, self.url = (
            mito,
            policy["program"],
            policy["state"],
            policy["resource.url"],
        )
        self.conf = next(
            step["add_fields"]["fields"] for step in policy["processors"] if "add_fields" in step
        )
        self.cursor, self.taken, self.failures, self.error, self.ago = None, [], [], "", 0
        self.restart()

    def restart(self):
        """Of all that it knew, the cursor stays."""
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
                [self.mito, "-data", data, source], capture_output=True, text=True, timeout=60
            )
        # a peer that hangs up, say
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
        """What was published since the last time, as it goes to the cluster."""
        found = [("2026-01-01T00:00:00.000Z", event) for event in self.taken] + self.failures
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
            for at, event in found
        ]

    def cycle(self, dies_after=BUDGET):
        """`dies_after`: evaluations, of which the last one's events are taken and its cursor is
        lost."""
        self.error = ""
        for number in range(BUDGET):
            state = self.evaluate()
            assert not TAKEN_AWAY & state.keys(), "the agent acts by these"
            events, more = state.pop("events"), state.pop("_more")
            state.pop("want_more", None)
            state.setdefault("url", self.url)
            self.state = state
            if not events:
                return
            if isinstance(events, dict):
                self.error = events["error"]["message"]
                self.failures.append(
                    (datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z", events)
                )
                state["cursor"] = self.cursor or {}
            else:
                # the policy's drop_event
                self.taken += [event for event in events if "_nothing" not in event]
                if number + 1 >= dies_after:
                    return
                self.cursor = state.get("cursor", self.cursor)
                state["cursor"] = self.cursor or {}
            if not more:
                return
        raise AssertionError("the agent's budget is spent")
