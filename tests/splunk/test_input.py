"""The modular input as a process, with simulators of splunkd and of the vendor: the events must
be complete, without duplicates."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import HANG, wait_for
from splunk_input import ROOT, START, events, ids, log, run, save_account, start
from splunkd_stand_in import KEY

from siemtap.core.convert import millis_of
from siemtap.core.windows import MINUTE
from siemtap.testing.simulation import Fault, Server

pytestmark = pytest.mark.slow


def test_next_cycle_continues_after_the_previous_one(splunk, vendor, tmp_path):
    save_account(splunk, vendor)
    started_at = int(time.time() * 1000)
    code, first, _ = run(splunk, tmp_path, lookback="30m")
    assert code == 0, log(tmp_path)
    (indexed, event), *_ = events(first)
    assert (
        indexed.stanza == indexed.source == "apptrana://first"
        and indexed.sourcetype == "apptrana:attack"
        and b"<index>" not in first
    )
    assert (
        round(indexed.time * 1000) == millis_of(event["@timestamp"]) and "data_stream" not in event
    )
    time.sleep(2)
    _, second, _ = run(splunk, tmp_path, lookback="30m")
    got = ids(first, second)
    assert (
        vendor.simulated.ledger(
            int(time.time() * 1000), started_at - 29 * MINUTE, started_at - 15_000
        )
        <= set(got)
        and max(got.values()) == 1
    )
    (document,) = splunk.documents["ta_test_checkpoints"].values()
    assert (
        len(document["_key"]) == 16
        and document["input"] == "apptrana://first"
        and document["unit"].startswith("first/apptrana.attack")
    )
    assert "demo-secret" not in log(tmp_path) + first.decode()
    # each run says how far it has read, and the last one says what the checkpoint has
    lines = re.findall(r"apptrana://first: \d+ events, read until (\S+)\n", log(tmp_path))
    assert len(lines) == 2 and lines[0] < lines[1]
    assert millis_of(lines[1]) == int(document["until"])


def test_no_event_is_lost_or_duplicated_after_faults_sigterm_and_sigkill(splunk, vendor, tmp_path):
    save_account(splunk, vendor)
    vendor.simulated.faults.extend(
        [
            Fault(call="getAttackInfo", times=1, status=429, retry_after="1"),
            Fault(call="getAttackInfo", times=1, status=500),
            Fault(call="getAttackInfo", times=1, status=401),
        ]
    )
    vendor.simulated.knobs.delay = 0.05
    started_at, outs, rng = int(time.time() * 1000), [], random.Random(3)
    for _ in range(6):
        calls = sum(vendor.simulated.counts.values())
        process = start(splunk, tmp_path, lookback="4h", concurrency="1")
        wait_for(lambda: sum(vendor.simulated.counts.values()) > calls)
        time.sleep(rng.uniform(0, 0.8))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=HANG)
        # or before the signal handler was installed
        assert process.returncode == 0 or (process.returncode, out) == (-signal.SIGTERM, b""), err
        outs.append(out)
    code, out, _ = run(splunk, tmp_path, lookback="4h", concurrency="4")
    assert code == 0 and "stopped, the next run continues" in log(tmp_path)
    got = ids(*filter(None, [*outs, out]))
    assert (
        vendor.simulated.ledger(
            int(time.time() * 1000), started_at - 235 * MINUTE, started_at - 20_000
        )
        <= set(got)
        and max(got.values()) == 1
    )


def test_input_ends_when_nobody_reads_its_output(splunk, vendor, tmp_path):
    save_account(splunk, vendor)
    vendor.simulated.knobs.rate = 200.0
    process = start(splunk, tmp_path, lookback="2h")
    process.stdout.read(1000)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(HANG) == 1 and "splunkd closed the pipe" in log(tmp_path)


def test_input_ends_when_splunkd_is_killed(splunk, vendor, tmp_path):
    """splunkd sends no signal in that case."""
    save_account(splunk, vendor)
    vendor.simulated.knobs.delay = 20.0
    code = (
        "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:], stdin=open(0),"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(p.pid, flush=True);"
        " time.sleep(60)"
    )
    stdin = (
        f"<input><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>x</checkpoint_dir><configuration><stanza"
        ' name="apptrana://first" app="a"><param'
        ' name="account">main</param></stanza></configuration></input>'
    )
    (tmp_path / "stdin.xml").write_text(stdin)
    (tmp_path / "var/log/splunk").mkdir(parents=True)
    with open(tmp_path / "stdin.xml") as file:
        parent = subprocess.Popen(
            [
                sys.executable,
                "-c",
                code,
                sys.executable,
                str(START),
                "apptrana",
            ],
            stdin=file,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "SPLUNK_HOME": str(tmp_path)},
        )
    child = int(parent.stdout.readline())
    wait_for(lambda: vendor.simulated.counts)
    parent.kill()
    parent.communicate()
    wait_for(
        lambda: (
            not Path(f"/proc/{child}").exists()
            or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]
        )
    )


def test_input_with_many_units(splunk, tmp_path):
    from pingintelligence import simulator as abs_simulator

    server = Server(abs_simulator.Simulator(abs_simulator.Knobs(rate=0.01, apis=5)))
    try:
        settings = server.simulated.settings(server.url)
        splunk.account(
            "main", {name: settings.pop(name) for name in ("access_key", "secret_key")}, **settings
        )
        code, out, _ = run(splunk, tmp_path, kind="pingintelligence", lookback="2h")
        assert code == 0, log(tmp_path, "pingintelligence")
        now = int(time.time() * 1000)
        assert (
            server.simulated.ledger(now, now - 115 * MINUTE, now - 80 * MINUTE) <= set(ids(out))
            and len(splunk.documents["ta_test_checkpoints"]) == 8
        )
        behind = re.search(
            r"events, 8 units, each read until (\S+) or later", log(tmp_path, "pingintelligence")
        )
        assert now - 110 * MINUTE < millis_of(behind[1]) <= now
        assert {indexed.sourcetype for indexed, _ in events(out)} == {
            "pingintelligence:attack",
            "pingintelligence:attacklist",
            "pingintelligence:report",
        } and b"SECRET-" not in out
    finally:
        server.close()


def test_error_that_needs_a_person_is_logged(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    code, out, _ = run(splunk, tmp_path)
    assert code == 1 and 'there is no account "main"' in log(tmp_path) and events(out) == []
    splunk.account(
        "main", {"client_secret": "wrong-one"}, url=settings["url"], client_id=settings["client_id"]
    )
    code, out, _ = run(splunk, tmp_path)
    assert code == 1 and "AuthError" in log(tmp_path) and "wrong-one" not in log(tmp_path)
