"""Valid events of AppTrana as messages, and a writer: a shipper that reads them from Kafka."""

import json
from pathlib import Path

from siemtap.shipper.config.load import parse

ROOT = Path(__file__).parents[2]
TOPIC = "siemtap.events.apptrana.attack"
CASE = ROOT / "plugins/apptrana/cases/a_blocked_attack"
EXPECTED = json.loads((CASE / "expected.json").read_text())[0]


def event(number):
    """Return a valid event with this number as its id."""
    details = {**EXPECTED["event"], "id": f"{number:032x}", "created": "2026-03-04T10:00:00.000Z"}
    return {**EXPECTED, "event": details}


def value(number):
    return json.dumps(event(number)).encode()


def config(folder, hosts, output, more="", **settings):
    """Return the configuration of a writer. output: the lines of its section."""
    given = {
        "type": "kafka",
        "hosts": list(hosts),
        "topics": [TOPIC],
        "group_id": "writer",
        "interval": "100ms",
        **settings,
    }
    lines = [json.dumps({"path": {"data": str(folder / "data")}, "inputs": [given]})[1:-1]]
    return parse("{" + ", ".join([*lines, *filter(None, [output, more])]) + "}")


def stored(database):
    """Return the numbers of the events in the embedded store, in the order of their arrival."""
    rows = database.read("SELECT id FROM event ORDER BY rowid")
    return [int(id, 16) for (id,) in rows]
