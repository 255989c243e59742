"""What Elastic Agent does around a CEL program, with mito in the middle: events leave the state, the cursor is kept once they are taken, it goes on while
there are events and the program wants more, and no longer than a budget."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

BUDGET = 1_000
AROUND = '(\n{}\n).as(out, out.with({{"want_more": false, "_more": has(out.want_more) && out.want_more}}))'         # mito goes on by itself otherwise


class Agent:
    """One input. `taken`: what reached the output. `error`: why the last cycle ended early. `ago`: its clock is so many seconds late."""

    def __init__(self, mito, policy):
        self.mito, self.program, self.config = mito, policy["program"], policy["state"]
        self.conf = next(step["add_fields"]["fields"] for step in policy["processors"] if "add_fields" in step)
        self.state, self.cursor, self.taken, self.error, self.ago = dict(self.config), None, [], "", 0

    def restart(self):
        """Of all that it knew, the cursor stays."""
        self.state = {**self.config, **({"cursor": self.cursor} if self.cursor is not None else {})}

    def evaluate(self):
        with tempfile.TemporaryDirectory() as folder:
            data, source = Path(folder) / "state.json", Path(folder) / "program.cel"
            data.write_text(json.dumps(self.state))
            source.write_text(re.sub(r"\bnow\b", f'(now - duration("{self.ago}s"))', AROUND.format(self.program)))
            done = subprocess.run([self.mito, "-data", data, source], capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout) if done.returncode == 0 else {**self.state, "events": {"error": {"message": done.stderr}}, "_more": False}       # a peer that hangs up, say

    def documents(self):
        """What was taken since the last time, as it goes to the cluster."""
        found, self.taken = self.taken, []
        return [{**event, "_conf": {**self.conf, **event.get("_conf", {})}, "@timestamp": "2026-01-01T00:00:00.000Z", "agent": {"type": "filebeat"}, "data_stream": {"namespace": "default"}} for event in found]

    def cycle(self, dies_after=BUDGET):
        """`dies_after`: evaluations, of which the last one's events are taken and its cursor is lost."""
        self.error = ""
        for number in range(BUDGET):
            state = self.evaluate()
            events, more = state.pop("events", []), state.pop("_more")
            state.pop("want_more", None)
            if isinstance(events, dict):
                self.error = events["error"]["message"]
                self.state = {**state, **({"cursor": self.cursor} if self.cursor is not None else {})}
                return
            self.taken += [event for event in events if "_nothing" not in event]        # the policy's drop_event
            self.state = state
            if number + 1 >= dies_after:
                return
            self.cursor = state.get("cursor", self.cursor) if events else self.cursor
            if not (more and events):
                return
        raise AssertionError("the agent's budget is spent")
