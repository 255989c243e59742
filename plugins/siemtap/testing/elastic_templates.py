"""What a new plugin needs for its Elastic package, by the kind of its API: `ingest.py`, and in
`elastic/` the CEL program and the converters in Painless."""

from __future__ import annotations

from typing import Dict

from .templates import filled
from .templates_pull import FILES_OF_CURSOR, FILES_OF_WINDOWS

INGEST = '''"""What Elastic's package needs beside the manifest and the mapping: how an agent
asks, and the converters of mapping.py in Painless."""

from __future__ import annotations

from pathlib import Path

from siemtap.elastic.cel import program
from siemtap.elastic.package.model import Package, Stream, Way

from .mapping import EVENT

HERE = Path(__file__).parent / "elastic"
WALK = ("interval", "lookback", "lag", "overlap")
WAY = Way("cel", ("url", "api_key"), WALK, program(HERE, "event", EVENT))

PACKAGE = Package(
    {EVENT.name: Stream((WAY,), sample="an_event")},
    (HERE / "mapping.painless").read_text(encoding="utf-8"),
)
'''

INGEST_PUSHED = '''"""What Elastic's package needs beside the manifest and the mapping: how events
come to an agent, and the converters of mapping.py in Painless."""

from __future__ import annotations

from pathlib import Path

from siemtap.elastic.package.model import Package, Stream, Way

from .mapping import EVENT

HERE = Path(__file__).parent / "elastic"

PACKAGE = Package(
    {EVENT.name: Stream((Way("http_endpoint", port=8_181),), sample="an_event")},
    (HERE / "mapping.painless").read_text(encoding="utf-8"),
    absent={"interval": "an agent delivers events as they come"},
)
'''

# The statements of a program: siemtap/elastic/cel.py. What is used: siemtap/elastic/frame.cel.
WINDOWS_PROGRAM = """// The requests of plugin.py once more, for Elastic Agent: change both.
//
// The vendor's events in windows of at most an hour: from the cursor, less the
// overlap, to `now - lag`.
use wait
let mark = has(state.cursor) ? state.cursor : {}
let limit = now - duration(state.lag)
let first = now - duration(state.lookback)
let width = duration("1h")
use window
return if run.to <= run.from:
  {"want_more": false}
let call = request("GET", state.url + "/events?" + {
    "from": [string(int(run.from) * 1000 + run.from.getMilliseconds())],
    "to": [string(int(run.to) * 1000 + run.to.getMilliseconds())],
  }.format_query()).with({"Header": {"Authorization": ["Bearer " + state.api_key]}})
use call
use no_answer
use limited
return if run.status != 200 || !has(run.object.events) || type(run.object.events) != list:
  {"error": run.answered + ": the answer has no list of events"}
let records = run.object.events.map(row, {"record": row, "words": row})
let last = true
use identity
use seen
return:
  run.delivery.with({"cursor": run.mark})
"""

CURSOR_PROGRAM = """// The requests of plugin.py once more, for Elastic Agent: change both.
//
// The vendor's events in time ranges of at most a day, page by page: each
// answer has the link to the next page, and the last one has none.
use wait
let mark = has(state.cursor) ? state.cursor : {}
let limit = now - duration(state.lag)
let first = now - duration(state.lookback)
let width = duration("24h")
use window
return if run.to <= run.from:
  {"want_more": false}
let link = has(state.link) ? state.link : ""
let api = state.url.parse_url()
let origin = run.api.Scheme + "://" + run.api.Host
let page = run.link == "" ? state.url + "/events?" + {
    "since": [string(run.from)], "until": [string(run.to)], "limit": ["100"],
  }.format_query() : run.link.has_prefix("/") ? run.origin + run.link :
  run.link.has_prefix("?") ? state.url + "/events" + run.link : run.link
// the key goes to no other host
return if !run.page.has_prefix(run.origin + "/"):
  {"link": "", "error": "the link to the next page leads to another host than " + run.origin}
let call = request("GET", run.page)
  .with({"Header": {"Authorization": ["Bearer " + state.api_key]}})
use call
use no_answer
use limited
return if run.status != 200 || !has(run.object.items) || type(run.object.items) != list:
  {"link": "", "error": run.answered + ": the answer has no list of items"}
let next = has(run.object.next) && type(run.object.next) == string ? run.object.next : ""
let records = run.object.items.map(row, {"record": row, "words": row})
let last = run.next == ""
use identity
use seen
return:
  run.delivery.with({"cursor": run.mark, "link": run.next})
"""

PAINLESS = """// The converters of mapping.py once more, each under its own name.

String time(Map r) { return instant(r.get('time')) }
List source(def v) { return [ip(v), v, ip(v)] }
"""

PULLED_FILES: Dict[str, str] = {"ingest.py": INGEST, "elastic/mapping.painless": PAINLESS}

ELASTIC_FILES: Dict[str, Dict[str, str]] = {
    "windows": {**PULLED_FILES, "elastic/event.cel": WINDOWS_PROGRAM},
    "cursor": {**PULLED_FILES, "elastic/event.cel": CURSOR_PROGRAM},
    "push": {"ingest.py": INGEST_PUSHED, "elastic/mapping.painless": PAINLESS},
}


def is_left_behind(name: str, client: str, program: str) -> bool:
    """Return whether a plugin's program is still that of a new plugin, and its client is not.

    client: the text of plugin.py. program: that of elastic/event.cel.
    """
    for kind, files in (("windows", FILES_OF_WINDOWS), ("cursor", FILES_OF_CURSOR)):
        if program == filled(ELASTIC_FILES[kind]["elastic/event.cel"], name):
            return client != filled(files["plugin.py"], name)
    return False
