"""The commands with several outputs: `run`, `audit`, `rejected`, `queue`, `test` and `setup`."""

import json

import pytest
from processes import siemtap
from shipper import vendor_process
from shipper.vendor_process import write

from siemtap.core.model import Unit
from siemtap.edge.store.checkpoints import Database
from siemtap.edge.store.event_queue import EventQueue
from siemtap.edge.store.rejected import RejectedEvents

pytestmark = pytest.mark.slow

# fixtures
vendor = vendor_process.vendor

TWO = (
    "outputs:\n  siem: {{type: file, path: {0}/siem}}\n  archive: {{type: {1}, path: {0}/archive}}"
)


def ids_in(path):
    return [
        json.loads(line)["event"]["id"]
        for line in (path / "events.ndjson").read_bytes().splitlines()
    ]


def configured(tmp_path, vendor, other="file", output=("siem", "archive")):
    return write(tmp_path, vendor, TWO.format(tmp_path, other), output=list(output))


def test_a_run_fills_both_and_an_audit_compares_both(tmp_path, vendor):
    path = configured(tmp_path, vendor)
    siemtap("run", "--once", "-c", path)
    siem, archive = ids_in(tmp_path / "siem"), ids_in(tmp_path / "archive")
    assert sorted(siem) == sorted(archive) and len(set(siem)) == len(siem) > 50
    siemtap("run", "--once", "-c", path)
    assert len(ids_in(tmp_path / "siem")) == len(set(ids_in(tmp_path / "archive")))

    audit = siemtap("audit", "--since", "1h", "-c", path)
    assert "output siem:" in audit.stdout and "output archive:" in audit.stdout
    lines = (tmp_path / "archive/events.ndjson").read_bytes().splitlines(keepends=True)
    lost = json.loads(lines.pop(len(lines) // 2))["event"]["id"]
    (tmp_path / "archive/events.ndjson").write_bytes(b"".join(lines))
    audit = siemtap("audit", "--since", "1h", "-c", path, code=1)
    assert audit.stdout.count(lost) == 1
    assert audit.stdout.index("output archive:") < audit.stdout.index(lost)
    siemtap("audit", "--since", "1h", "--output", "siem", "-c", path)
    wrong = siemtap("audit", "--output", "seim", "-c", path, code=2)
    assert '"seim" is no output; did you mean "siem"?' in wrong.stderr


def test_an_output_that_fails_is_named_and_keeps_its_events(tmp_path, vendor):
    path = configured(tmp_path, vendor)
    (tmp_path / "archive").write_text("not a folder")
    siemtap("run", "--once", "-c", path, code=2)
    (tmp_path / "archive").unlink()

    text = TWO.format(tmp_path, "file").replace(
        f"type: file, path: {tmp_path}/archive",
        "type: elasticsearch, hosts: ['http://127.0.0.1:9']",
    )
    path = write(tmp_path, vendor, text, output=["siem", "archive"])
    done = siemtap("run", "--once", "--patience", "1s", "-c", path, code=1)
    number = len(ids_in(tmp_path / "siem"))
    assert f"not finished: {number:,} events wait for the output archive" in done.stderr
    assert siemtap("queue", "list", "-c", path).stdout.startswith(f"archive\t{number} events\t")
    # what waits is not missing
    path = configured(tmp_path, vendor)
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/events.ndjson").write_text("")
    audit = siemtap("audit", "--since", "1h", "-c", path).stdout
    archive = audit.partition("output archive")[2]
    assert " 0 found, " in archive and " waiting" in archive and "missing" not in archive
    siemtap("run", "--once", "-c", path)
    assert sorted(ids_in(tmp_path / "archive")) == sorted(ids_in(tmp_path / "siem"))
    nothing = siemtap("queue", "list", "-c", path)
    assert (nothing.stdout, nothing.stderr) == ("", "no events wait for an output\n")


def test_an_output_that_cannot_be_read_does_not_end_the_audit_of_the_others(tmp_path, vendor):
    text = TWO.format(tmp_path, "file").replace(
        f"type: file, path: {tmp_path}/archive", "type: stdout"
    )
    path = write(tmp_path, vendor, text, output=["archive", "siem"])
    siemtap("run", "--once", "-c", path)
    audit = siemtap("audit", "--since", "1h", "-c", path).stdout
    assert "output archive:\nnot compared: stdout cannot return its events" in audit
    assert "nothing is missing" in audit
    alone = siemtap("audit", "--output", "archive", "-c", path, code=2)
    assert "cannot return its events" in alone.stderr


def test_what_waits_for_a_removed_output_can_be_deleted(tmp_path, vendor):
    path = configured(tmp_path, vendor)
    assert "nothing waits" in siemtap("queue", "list", "-c", path, code=2).stderr
    database = Database(tmp_path / "data/siemtap.db")
    unit = Unit("waf", "apptrana.attack", "")
    EventQueue(database, 1024**2).put(unit, [{"event": {"id": "1"}}], ("gone", "siem"))
    database.close()
    listed = siemtap("queue", "list", "-c", path).stdout.splitlines()
    assert listed[0].startswith("gone\t1 events\t") and listed[0].endswith("configured any more")
    unknown = siemtap("queue", "delete", "gnoe", "-c", path, code=2).stderr
    assert 'nothing waits for "gnoe"; did you mean "gone"?' in unknown
    assert siemtap("queue", "delete", "gone", "-c", path).stdout == "1 events deleted\n"
    assert siemtap("queue", "list", "-c", path).stdout.startswith("siem\t1 events")


def test_a_rejected_event_is_retried_at_its_output(tmp_path, vendor):
    path = configured(tmp_path, vendor)
    siemtap("run", "--once", "-c", path)
    event = json.loads((tmp_path / "siem/events.ndjson").read_bytes().splitlines()[0])
    before = {name: len(ids_in(tmp_path / name)) for name in ("siem", "archive")}
    event["event"]["id"] = "f" * 32
    database = Database(tmp_path / "data/siemtap.db")
    unit = Unit("apptrana", "apptrana.attack", "")
    rejected = RejectedEvents(database)
    rejected.store(unit, [(event, "too odd")], "archive")
    rejected.store(unit, [({**event, "event": {**event["event"], "id": "e" * 32}}, "schema")])
    rejected.store(unit, [(event, "long gone")], "other")
    database.close()
    assert "output archive: too odd" in siemtap("rejected", "list", "-c", path).stdout
    done = siemtap("rejected", "retry", "-c", path, code=1)
    assert "the output other is not configured any more" in done.stderr
    assert "2 accepted, 1 refused again" in done.stdout
    assert len(ids_in(tmp_path / "siem")) == before["siem"] + 1
    assert set(ids_in(tmp_path / "archive")[before["archive"] :]) == {"f" * 32, "e" * 32}


def test_a_retry_goes_on_with_the_other_outputs(tmp_path, vendor):
    """One output is down, and the row of the schema has done its work once each output has its
    own."""
    text = TWO.format(tmp_path, "file").replace(
        f"type: file, path: {tmp_path}/archive",
        "type: elasticsearch, hosts: ['http://127.0.0.1:9']",
    )
    path = write(tmp_path, vendor, text, output=["siem", "archive"])
    siemtap("run", "--once", "--patience", "0s", "-c", path, code=1)
    event = json.loads((tmp_path / "siem/events.ndjson").read_bytes().splitlines()[0])
    database = Database(tmp_path / "data/siemtap.db")
    rejected = RejectedEvents(database)
    unit = Unit("apptrana", "apptrana.attack", "")
    for letter, output in (("a", "archive"), ("b", "siem")):
        made = {**event, "event": {**event["event"], "id": letter * 32}}
        rejected.store(unit, [(made, "odd")], output)
    database.close()
    done = siemtap("rejected", "retry", "-c", path, code=1)
    assert f"{'a' * 32}: output archive: " in done.stderr
    assert "1 accepted, 1 refused again" in done.stdout
    assert "b" * 32 in ids_in(tmp_path / "siem")


def test_checks_name_the_outputs(tmp_path, vendor):
    path = configured(tmp_path, vendor)
    assert (
        "output siem: file\noutput archive: file\nOK"
        in siemtap("test", "config", "-c", path).stdout
    )
    assert "outputs.siem needs no setup" in siemtap("setup", "-c", path, code=2).stderr
    text = TWO.format(tmp_path, "file").replace(
        f"type: file, path: {tmp_path}/archive", "type: opensearch, hosts: ['http://127.0.0.1:9']"
    )
    path = write(tmp_path, vendor, text, output=["siem", "archive"])
    tested = siemtap("test", "output", "-c", path, code=1)
    assert "output archive:" in tested.stdout and "127.0.0.1" in tested.stderr
    written = siemtap("export", "templates", "--into", tmp_path / "templates", "-c", path).stdout
    assert "templates/index_template-siemtap-apptrana.attack.json" in written
