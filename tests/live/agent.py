"""A simulator of how Elastic Agent runs a CEL program, with mito as the interpreter. Its rules are
those of `run()` in beats' x-pack/filebeat/input/cel/input.go, @00f3c215:

- The state is that of the policy, with the saved cursor and `url`, which is always the URL of the
resource, whatever the policy has under that name; a program that drops `url` gets it back.
- `events` are removed from the state before the next evaluation; an empty list ends the cycle, and
the state of the program is kept.
- An object in place of `events` is published as a document of its own, and the cursor is set back
to the last published one, or to an empty one if there was none.
- An evaluation that fails gives such an object and changes nothing else (`evalWith`); `want_more`
is then ignored.
- `header`, `rate_limit` and `status_code` belong to the agent, too: it removes them from the
state and acts on them (`handleResponse`)."""

import json
import re
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path

BUDGET = 1_000
# otherwise mito continues by itself
AROUND = (
    '(\n{}\n).as(out, out.with({{"want_more": false, "_more": has(out.want_more) &&'
    " out.want_more}}))"
)
TAKEN_AWAY = {"header", "rate_limit", "status_code"}


class Agent:
    """An input of an agent. `taken`: the published events without failures, which are in
    `failures`: (time, message of a program or of the agent). `error`: why the last cycle ended
    early. `ago`: how many seconds the clock is behind."""

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

    def cycle(self, dies_after=BUDGET):
        """Run one cycle. `dies_after`: crash after so many evaluations; the events of the last
        one are published, and its cursor is lost."""
        self.error = ""
        for number in range(BUDGET):
            state = self.evaluate()
            assert not TAKEN_AWAY & state.keys(), "the agent uses these itself"
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
                # drop_event of the policy
                self.taken += [event for event in events if "_nothing" not in event]
                if number + 1 >= dies_after:
                    return
                self.cursor = state.get("cursor", self.cursor)
                state["cursor"] = self.cursor or {}
            if not more:
                return
        raise AssertionError("the agent's budget is spent")
