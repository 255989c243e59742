"""Refused events are no success: the real command says what was refused, why, and what to do,
until a person has looked."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from processes import ENVIRONMENT, Process, page, siemtap, wait_for

from apptrana import simulator
from siemtap.core.model import Unit
from siemtap.edge.checkpoints import Database
from siemtap.edge.rejects import News, Rejects
from siemtap.outputs.checked import DIFFERENT_REASONS, Checked
from siemtap.runners import simulate

REASON = "event.severity breaks properties/event/properties/severity/enum"
NARROW = """
import sys
from siemtap import contract
from siemtap.runners import cli
read = contract.read

def narrow(name):
    schema = read(name)
    schema["definitions"]["shared"]["properties"]["event"]["properties"]["severity"] = {"enum": [99]}
    return schema

contract.read = narrow
cli.main()
"""


@pytest.fixture
def vendor():
    server = simulate.Server(simulator.Simulator(simulator.Knobs(rate=3.0)))
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


class Strict(Process):
    """`siemtap run` whose contract takes critical events only."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", NARROW, "run", "-c", str(path)],
            env=ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.said = ""


def strict(*words):
    return subprocess.run(
        [sys.executable, "-c", NARROW, *map(str, words)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_once_ends_with_1_says_why_and_what_to_do(tmp_path, vendor):
    path = write(tmp_path, vendor)
    done = strict("run", "--once", "-c", path)
    assert done.returncode == 1 and re.search(
        r"\d+ events accepted, [1-9]\d* rejected", done.stderr
    )
    warned = [line for line in done.stderr.splitlines() if " was refused and kept: " in line]
    assert (
        len(warned) == 1
        and REASON in warned[0]
        and "apptrana/apptrana.attack" in warned[0]
        and "warning" in warned[0]
    )
    left = re.search(
        r"error .*left undone: ([\d,]+) events were refused .*"
        + re.escape(REASON)
        + ".*`siemtap rejected list`, then `retry` or `delete`",
        done.stderr,
    )
    listed = siemtap("rejected", "list", "-c", path).stdout.splitlines()
    assert len(listed) == int(left[1]) > 10 and REASON in listed[0]
    kept = json.loads(siemtap("rejected", "list", "--json", "-c", path).stdout.splitlines()[0])
    assert kept["event"]["event"]["id"] not in stored(tmp_path)
    again = strict("rejected", "retry", "-c", path)
    assert (
        again.returncode == 1
        and again.stdout == f"0 accepted, {len(listed)} refused again\n"
        and REASON in again.stderr
    )
    assert (
        siemtap("rejected", "retry", "-c", path).stdout
        == f"{len(listed)} accepted, 0 refused again\n"
    )
    assert (
        kept["event"]["event"]["id"] in stored(tmp_path)
        and siemtap("rejected", "list", "-c", path).stdout == ""
    )
    siemtap("run", "--once", "-c", path)


def test_a_stretch_and_standard_output_too(tmp_path, vendor):
    path = write(tmp_path, vendor, "output.stdout:")
    start, stop = (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago)) for ago in (7200, 6600)
    )
    for words in (["--once"], ["--from", start, "--to", stop]):
        done = strict("run", *words, "-c", path)
        assert (
            done.returncode == 1
            and done.stdout
            and "left undone: " in done.stderr
            and REASON in done.stderr
        )


@pytest.mark.parametrize("look", [["list"], ["delete", "--all"]])
def test_health_is_degraded_until_a_person_looks_also_over_a_start(tmp_path, vendor, look):
    path = write(tmp_path, vendor, interval="1h")
    process = Strict(path)
    address = process.until(r"status page at (\S+)")[1]
    wait_for(lambda: page(address, "health")[0] == 503)
    health = json.loads(page(address, "health")[1])
    assert (
        health["healthy"] is False
        and re.fullmatch(
            r"[\d,]+ events were refused and nobody has looked at them; .*`siemtap rejected"
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
    process = Strict(path)  # nothing new is refused, and nobody has looked
    address = process.until(r"status page at (\S+)")[1]
    wait_for(lambda: '"state": "ok"' in page(address, "stats")[1])
    assert page(address, "health")[0] == 503
    siemtap("rejected", *look, "-c", path)
    assert page(address, "health") == (200, '{"healthy": true, "reason": "ok"}')
    assert ('id="rejected"' in page(address)[1], "rejected: see" in page(address)[1]) == (
        False,
        look == ["list"],
    )
    assert process.end(signal.SIGTERM) == 0


def test_delete_wants_to_know_which(tmp_path, vendor):
    path = write(tmp_path, vendor)
    strict("run", "--once", "-c", path)
    first, second, *rest = [
        json.loads(line)["id"]
        for line in siemtap("rejected", "list", "--json", "-c", path).stdout.splitlines()
    ]
    assert "say which" in siemtap("rejected", "delete", "-c", path, code=2).stderr
    assert "say which" in siemtap("rejected", "delete", "--all", first, "-c", path, code=2).stderr
    assert (
        "no rejected event nobody"
        in siemtap("rejected", "delete", first, "nobody", "-c", path, code=2).stderr
    )
    assert siemtap("rejected", "delete", first, second, "-c", path).stdout == "2 deleted\n"
    assert len(siemtap("rejected", "list", "-c", path).stdout.splitlines()) == len(rest)
    assert siemtap("rejected", "delete", "--all", "-c", path).stdout == f"{len(rest)} deleted\n"


def refused(number, reason="odd", kind="event"):
    return {"event": {"id": f"{number:032x}", "kind": kind, "dataset": "acme.event"}}, reason


def test_what_is_refused_after_a_look_is_news(tmp_path):
    """Also where it is the same event once more; and in a database of the version before."""
    Database(tmp_path / "siemtap.db").close()
    with sqlite3.connect(tmp_path / "siemtap.db") as old:
        assert "looked" not in {row[1] for row in old.execute("PRAGMA table_info(rejected)")}
        old.execute("INSERT INTO rejected VALUES ('a', 'it', 'acme.event', 'old', 1, '{}')")
    database = Database(tmp_path / "siemtap.db")
    rejects, beside, unit = Rejects(database), Rejects(database), Unit("it", "acme.event")
    assert rejects.news() == News(1, unit, "old")
    beside.look(["a", "unknown"])
    assert rejects.news() is None and rejects.count() == 1
    rejects.keep(unit, [refused(1, "one"), refused(2, "one")])
    assert beside.news() == News(2, unit, "one")
    beside.look([row.id for row in rejects.all()])
    rejects.keep(unit, [refused(1, "again")])
    assert beside.news() == News(1, unit, "again") and rejects.count() == 3
    assert (
        rejects.delete(["a", "unknown"]) == 1
        and rejects.delete([f"{1:032x}"]) == 1
        and rejects.news() is None
    )
    database.close()


class Output:
    together = False

    def deliver(self, unit, events, mark):
        return []

    def keep(self, unit, refused):
        pass


def test_a_reason_is_logged_once_a_unit_and_there_is_an_end_of_reasons(caplog):
    """A cluster's reason quotes what an attacker sent: it makes no line of its own, and not a
    line an event."""
    reasons = iter(
        [
            f"400 document_parsing_exception: [1:{number}] failed to parse field [source.ip] of"
            f" type [ip] in document with id '{number:x}'. Preview of field's value:"
            f" '\x1b[2J\n{number}\u202e'"
            for number in range(1000)
        ]
    )
    output = Checked(Output(), lambda event: next(reasons), Output())
    for unit in (Unit("it", "acme.event"), Unit("other", "acme.event")):
        for _ in range(400):
            output.deliver(unit, [refused(1)[0]], None)
    assert (
        len(caplog.records) == 2
        and not {"\x1b", "\n", "\u202e"} & set(caplog.text.strip("\n").replace("\n", "", 1))
        and "\\u001b[2J\\u000a0\\u202e" in caplog.records[0].getMessage()
    )
    caplog.clear()
    words = iter(f"reason {chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(676))
    output = Checked(Output(), lambda event: next(words), Output())
    for _ in range(676):
        output.deliver(Unit("it", "acme.event"), [refused(1)[0]], None)
    assert (
        len(caplog.records) == DIFFERENT_REASONS + 1
        and "more and more reasons" in caplog.records[-1].getMessage()
    )
    caplog.clear()  # that there were so many hides no error
    loss, _ = refused(1, kind="pipeline_error")
    output = Checked(Output(), lambda event: "refused", Output())
    output.logged[Unit("it", "acme.event"), False] = set(map(str, range(DIFFERENT_REASONS + 1)))
    output.deliver(Unit("it", "acme.event"), [loss], None)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_the_latest_refusal_is_kept():
    output = Checked(Output(), lambda event: "odd", Output())
    assert output.latest is None
    output.deliver(Unit("it", "acme.event"), [refused(1)[0]], None)
    assert output.latest == (Unit("it", "acme.event"), "odd")
