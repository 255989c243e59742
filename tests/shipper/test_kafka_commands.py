"""Commands about checkpoints and events that are in Kafka say where they are, and what to do."""

import json
from contextlib import closing

import pytest
from click.testing import CliRunner

from siemtap.core.model import Mark, Unit
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.shipper.cli.main import main

APPTRANA = {"type": "apptrana", "client_id": "a", "client_secret": "b"}
FLEET = {"cluster": {"kafka": {"hosts": ["127.0.0.1:1"]}}, "inputs": [APPTRANA]}
WRITER = {"inputs": [{"type": "kafka", "hosts": ["127.0.0.1:1"], "group_id": "siem"}]}
SQLITE = {"output": {"sqlite": {}}}
TOPIC = "in the topic siemtap.checkpoints: `siemtap fleet status` shows how far they are"
GROUP = "kafka-consumer-groups.sh --bootstrap-server 127.0.0.1:1 --describe --group siem shows it"


@pytest.fixture
def siemtap(tmp_path):
    """Return a function that runs a command; it returns the exit code and what was printed."""

    def run(config, *words):
        path = tmp_path / "siemtap.yml"
        path.write_text(json.dumps({"path": {"data": str(tmp_path / "data")}, **config}))
        path.chmod(0o600)
        done = CliRunner().invoke(main, [*words, "-c", str(path)])
        return done.exit_code, done.output

    return run


def save(folder, unit):
    with closing(Database(folder / "data/siemtap.db")) as database:
        Checkpoints(database).save(unit, Mark({"until": 1_772_618_400_000}))


@pytest.mark.parametrize("config, text", [(FLEET, TOPIC), ({**WRITER, **SQLITE}, GROUP)])
def test_state_says_where_checkpoints_in_kafka_are(siemtap, tmp_path, config, text):
    code, printed = siemtap(config, "state", "list")
    assert code == 2 and "there are no checkpoints in" in printed and text in printed
    save(tmp_path, Unit("centurylink_ips", "centurylink_ips.event", "received"))
    code, printed = siemtap(config, "state", "list")
    assert code == 0 and printed.startswith("centurylink_ips/") and text in printed
    for words in (["show"], ["delete"]):
        code, printed = siemtap(config, "state", *words, "apptrana/apptrana.attack")
        assert code == 2 and 'there is no unit "apptrana/apptrana.attack"' in printed
        assert text in printed


def test_state_without_kafka_says_nothing_of_it(siemtap, tmp_path):
    save(tmp_path, Unit("apptrana", "apptrana.attack", ""))
    code, printed = siemtap({"inputs": [APPTRANA], **SQLITE}, "state", "list")
    assert code == 0 and printed.count("\n") == 1


def test_an_audit_of_topics_is_refused_before_a_vendor_is_asked(siemtap):
    code, printed = siemtap(FLEET, "audit")
    assert code == 2 and "output.kafka: kafka cannot return its events: a topic" in printed
    assert "an audit needs sqlite, file, elasticsearch, opensearch" in printed


def test_an_audit_of_a_writer_says_what_to_compare_with(siemtap):
    code, printed = siemtap({**WRITER, **SQLITE}, "audit")
    assert "kafka: not compared: it reads what others have collected. Compare with" in printed
    assert code == 0 and "nothing was compared" in printed
