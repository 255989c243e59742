"""Rejected events are not a success: the command reports which, why and what to do, until
somebody has listed them."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from processes import ENVIRONMENT, Process, page, siemtap, wait_for
from validation import RefusingCheck

from apptrana import simulator
from siemtap.core.model import Unit
from siemtap.edge.store.checkpoints import Database
from siemtap.edge.store.rejected import RejectedEvents, UnseenRejections
from siemtap.outputs.validated import MAX_REASONS, ValidateEvents
from siemtap.testing import simulation

pytestmark = pytest.mark.slow

MISSING = "a field that no event has"
REASON = f"event breaks properties/event/then/required: {MISSING} is missing"
NARROW = """
import sys
from siemtap.edge import schemas
from siemtap.shipper.cli import main as cli
read = schemas.read

def narrow(name):
    schema = read(name)
    if name != "event.schema.json":
        return schema
    event = schema["definitions"]["shared"]["properties"]["event"]
    event["if"] = {"required": ["severity"], "properties": {"severity": {"not": {"const": 99}}}}
    event["then"] = {"required": ["a field that no event has"]}
    return schema

schemas.read = narrow
cli.main()
"""


@pytest.fixture
def vendor():
    server = simulation.Server(simulator.Simulator(simulator.Knobs(rate=3.0)))
    yield server
    server.close()


def write(tmp_path, vendor, more="", interval="1s"):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\n{more}\ninputs:\n  - {{type: apptrana, url:"
        f" '{vendor.url}', client_id: demo, client_secret: demo-secret, interval: {interval},"
        " lookback: 30m}\n"
    )
    return path


def stored(tmp_path):
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        return {id for (id,) in db.execute("SELECT id FROM event")}


class StrictProcess(Process):
    """`siemtap run` with a schema that accepts only critical events."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", NARROW, "run", "-c", str(path)],
            env=ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.output = ""


def run_strict(*arguments):
    return subprocess.run(
        [sys.executable, "-c", NARROW, *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_run_once_exits_1_with_the_reason_and_advice(tmp_path, vendor):
    path = write(tmp_path, vendor)
    done = run_strict("run", "--once", "-c", path)
    assert done.returncode == 1 and re.search(
        r"\d+ events accepted, [1-9]\d* rejected", done.stderr
    )
    warned = [line for line in done.stderr.splitlines() if " was rejected and stored: " in line]
    assert (
        len(warned) == 1
        and REASON in warned[0]
        and "apptrana/apptrana.attack" in warned[0]
        and "warning" in warned[0]
    )
    left = re.search(
        r"error .*not finished: ([\d,]+) rejected events have not been reviewed; .*"
        + re.escape(REASON)
        + ".*`siemtap rejected list`, then `retry`, `delete` or `list --acknowledge`",
        done.stderr,
    )
    listed = siemtap("rejected", "list", "-c", path).stdout.splitlines()
    assert len(listed) == int(left[1]) > 10 and REASON in listed[0]
    kept = json.loads(siemtap("rejected", "list", "--json", "-c", path).stdout.splitlines()[0])
    assert kept["event"]["event"]["id"] not in stored(tmp_path)
    again = run_strict("rejected", "retry", "-c", path)
    assert (
        again.returncode == 1
        and again.stdout == f"0 accepted, {len(listed)} refused again\n"
        and REASON in again.stderr
    )
    assert (
        siemtap("rejected", "retry", "-c", path).stdout
        == f"{len(listed)} accepted, 0 refused again\n"
    )
    assert kept["event"]["event"]["id"] in stored(tmp_path)
    nothing = siemtap("rejected", "list", "-c", path)
    assert (nothing.stdout, nothing.stderr) == ("", "there are no rejected events\n")
    siemtap("run", "--once", "-c", path)


def test_run_with_a_time_range_or_stdout_exits_1(tmp_path, vendor):
    path = write(tmp_path, vendor, "output.stdout:")
    start, stop = (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago)) for ago in (7200, 6600)
    )
    for arguments in (["--once"], ["--from", start, "--to", stop]):
        done = run_strict("run", *arguments, "-c", path)
        assert (
            done.returncode == 1
            and done.stdout
            and "not finished: " in done.stderr
            and REASON in done.stderr
        )


@pytest.mark.parametrize("look", [["list", "--acknowledge"], ["delete", "--all"]])
def test_health_is_degraded_until_the_events_are_acknowledged_also_after_a_restart(
    tmp_path, vendor, look
):
    path = write(tmp_path, vendor, interval="1h")
    process = StrictProcess(path)
    address = process.until(r"status page at (\S+)")[1]
    wait_for(lambda: page(address, "health")[0] == 503)
    health = json.loads(page(address, "health")[1])
    assert (
        health["healthy"] is False
        and re.fullmatch(
            r"[\d,]+ rejected events have not been reviewed; .*`siemtap rejected"
            r" list`.*",
            health["reason"],
        )
        and REASON in health["reason"]
    )
    front = page(address)[1]
    assert (
        REASON in front
        and 'id="rejected"' in front
        and '"healthy": false' in page(address, "stats")[1]
        and "siemtap_healthy 0.0" in page(address, "metrics")[1]
    )
    assert process.end() == 0
    process = StrictProcess(path)  # nothing new is rejected, and nobody has listed the events
    address = process.until(r"status page at (\S+)")[1]
    wait_for(lambda: '"state": "ok"' in page(address, "stats")[1])
    assert page(address, "health")[0] == 503
    siemtap("rejected", "list", "-c", path)  # whoever looks, a cron job too, changes nothing
    assert page(address, "health")[0] == 503
    siemtap("rejected", *look, "-c", path)
    assert page(address, "health") == (200, '{"healthy": true, "reason": "ok"}')
    assert ('id="rejected"' in page(address)[1], "rejected: see" in page(address)[1]) == (
        False,
        look[0] == "list",
    )
    assert process.end(signal.SIGTERM) == 0


def test_delete_requires_ids_or_all(tmp_path, vendor):
    path = write(tmp_path, vendor)
    run_strict("run", "--once", "-c", path)
    first, second, *rest = [
        json.loads(line)["id"]
        for line in siemtap("rejected", "list", "--json", "-c", path).stdout.splitlines()
    ]
    assert "give either ids" in siemtap("rejected", "delete", "-c", path, code=2).stderr
    assert (
        "give either ids"
        in siemtap("rejected", "delete", "--all", first, "-c", path, code=2).stderr
    )
    assert (
        "no rejected event nobody"
        in siemtap("rejected", "delete", first, "nobody", "-c", path, code=2).stderr
    )
    assert siemtap("rejected", "delete", first, second, "-c", path).stdout == "2 deleted\n"
    assert len(siemtap("rejected", "list", "-c", path).stdout.splitlines()) == len(rest)
    assert siemtap("rejected", "delete", "--all", "-c", path).stdout == f"{len(rest)} deleted\n"


def refused(number, reason="odd", kind="event"):
    return {"event": {"id": f"{number:032x}", "kind": kind, "dataset": "acme.event"}}, reason


def test_events_rejected_after_a_list_are_new(tmp_path):
    """Also if it is the same event again."""
    database = Database(tmp_path / "siemtap.db")
    rejected_events, beside, unit = (
        RejectedEvents(database),
        RejectedEvents(database),
        Unit("it", "acme.event"),
    )
    rejected_events.store(unit, [({"event": {"id": "a"}}, "old")])
    assert rejected_events.unseen() == UnseenRejections(1, unit, "old")
    beside.mark_seen(["a", "unknown"])
    assert rejected_events.unseen() is None and rejected_events.count() == 1
    rejected_events.store(unit, [refused(1, "one"), refused(2, "one")])
    assert beside.unseen() == UnseenRejections(2, unit, "one")
    beside.mark_seen([row.id for row in rejected_events.all()])
    rejected_events.store(unit, [refused(1, "again")])
    assert beside.unseen() == UnseenRejections(1, unit, "again") and rejected_events.count() == 3
    assert (
        rejected_events.delete(["a", "unknown"]) == 1
        and rejected_events.delete([f"{1:032x}"]) == 1
        and rejected_events.unseen() is None
    )
    database.close()


class Output:
    together = False

    def deliver(self, unit, events, mark):
        return []

    def store(self, unit, refused):
        pass


def test_number_of_logged_reasons_is_limited(caplog):
    """The reason of a cluster quotes what an attacker sent: it must neither add log lines nor
    cause one for each event."""
    reasons = iter(
        [
            f"400 document_parsing_exception: [1:{number}] failed to parse field [source.ip] of"
            f" type [ip] in document with id '{number:x}'. Preview of field's value:"
            f" '\x1b[2J\n{number}\u202e'"
            for number in range(1000)
        ]
    )
    output = ValidateEvents(Output(), RefusingCheck(lambda event: next(reasons)), Output())
    for unit in (Unit("it", "acme.event"), Unit("other", "acme.event")):
        for _ in range(400):
            output.deliver(unit, [refused(1)[0]], None)
    assert (
        len(caplog.records) == 2
        and not {"\x1b", "\n", "\u202e"} & set(caplog.text.strip("\n").replace("\n", "", 1))
        and "\\x1b[2J\\n0\\u202e" in caplog.records[0].getMessage()
    )
    caplog.clear()
    arguments = iter(
        f"reason {chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(676)
    )
    output = ValidateEvents(Output(), RefusingCheck(lambda event: next(arguments)), Output())
    for _ in range(676):
        output.deliver(Unit("it", "acme.event"), [refused(1)[0]], None)
    assert (
        len(caplog.records) == MAX_REASONS + 1
        and "further reasons are not logged" in caplog.records[-1].getMessage()
    )
    caplog.clear()  # their number hides no error
    loss, _ = refused(1, kind="pipeline_error")
    output = ValidateEvents(Output(), RefusingCheck(lambda event: "refused"), Output())
    output.news.logged[Unit("it", "acme.event"), "rejected"] = set(map(str, range(MAX_REASONS + 1)))
    output.deliver(Unit("it", "acme.event"), [loss], None)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_latest_rejection_is_kept():
    output = ValidateEvents(Output(), RefusingCheck(lambda event: "odd"), Output())
    assert output.latest is None
    output.deliver(Unit("it", "acme.event"), [refused(1)[0]], None)
    assert output.latest == (Unit("it", "acme.event"), "odd")
