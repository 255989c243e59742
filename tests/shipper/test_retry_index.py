"""`siemtap rejected retry` delivers to the `index` of the event's input."""

import json
from contextlib import closing

from click.testing import CliRunner
from shipper.kafka_events import event

from siemtap.core.model import Unit
from siemtap.edge.store.checkpoints import Database
from siemtap.edge.store.rejected import RejectedEvents
from siemtap.outputs.elasticsearch.output import Elasticsearch
from siemtap.shipper.cli.main import main


def test_a_retry_goes_to_the_index_of_the_input(tmp_path, monkeypatch):
    apptrana = {"type": "apptrana", "client_id": "a", "client_secret": "b", "index": "own"}
    path = tmp_path / "siemtap.yml"
    config = {
        "path": {"data": str(tmp_path / "data")},
        "inputs": [apptrana],
        "output": {"elasticsearch": {"hosts": ["http://127.0.0.1:9"]}},
    }
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    (tmp_path / "data").mkdir(mode=0o700)
    with closing(Database(tmp_path / "data/siemtap.db")) as database:
        unit = Unit("apptrana", "apptrana.attack", "")
        RejectedEvents(database).store(unit, [(event(1), "too odd")])
    indices = []

    def deliver(self, unit, events, mark):
        indices.extend(self.target_index(unit.input, event) for event in events)
        return []

    monkeypatch.setattr(Elasticsearch, "has_any", lambda self, unit, events: True)
    monkeypatch.setattr(Elasticsearch, "holds", lambda self, unit, events: set())
    monkeypatch.setattr(Elasticsearch, "deliver", deliver)
    done = CliRunner().invoke(main, ["rejected", "retry", "-c", str(path)])
    assert done.exit_code == 0 and "1 accepted" in done.output, done.output
    assert indices == ["own"]
