"""`siemtap rejected retry`: the index of an event, and what is no event."""

import json
from contextlib import closing

import elastic_simulator
from click.testing import CliRunner
from outputs.simulated_cluster import configured
from shipper.kafka_events import event

from siemtap.core.model import Unit
from siemtap.edge.store.checkpoints import Database
from siemtap.edge.store.rejected import RejectedEvents
from siemtap.kafka.backlog import Received
from siemtap.kafka.input import event_of
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


def test_a_message_that_is_no_event_stops_no_others(tmp_path):
    """It names no data stream, in which the output would be asked for it."""
    with elastic_simulator.Server(elastic_simulator.Cluster()) as served:
        path = configured(served, tmp_path, path={"data": str(tmp_path / "data")})
        (tmp_path / "data").mkdir(mode=0o700)
        unreadable = event_of(Received("t", 0, 7, b"{", 1_772_618_400_000))
        with closing(Database(tmp_path / "data/siemtap.db")) as database:
            rejected = RejectedEvents(database)
            rejected.store(Unit("kafka", "kafka.events"), [(unreadable.event, unreadable.reason)])
            rejected.store(Unit("apptrana", "apptrana.attack"), [(event(1), "too odd")])
        done = CliRunner().invoke(main, ["rejected", "retry", "-c", str(path)])
    assert done.exit_code == 1 and "1 accepted, 1 refused again" in done.output, done.output
    id = unreadable.event["event"]["id"]
    assert f"{id}: it is no event (KeyError): delete it" in done.output
