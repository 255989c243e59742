"""The real command in real processes, against a real socket."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from processes import COMMAND, ENVIRONMENT, ROOT, Process, page, siemtap, wait_for

from apptrana import simulator
from siemtap import contract
from siemtap.health import DATASET
from siemtap.outputs.checked import compiled
from siemtap.runners import simulate


@pytest.fixture
def vendor():
    server = simulate.Server(simulator.Simulator(simulator.Knobs(rate=3.0)))
    yield server
    server.close()


def write(tmp_path, vendor, more="", inputs="", port=0, **settings):
    said = {
        "url": vendor.url,
        "client_id": "demo",
        "client_secret": "demo-secret",
        "interval": "1s",
        "lookback": "30m",
        **settings,
    }
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: {port}\n{more}\ninputs:\n  - type: apptrana\n"
        + "".join(f"    {name}: {json.dumps(value)}\n" for name, value in said.items())
        + inputs
    )
    return path


def stored(tmp_path):
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        return {id for (id,) in db.execute("SELECT id FROM event")}


# run


def test_once_collects_all_that_is_due(tmp_path, vendor):
    path = write(tmp_path, vendor)
    done = siemtap("run", "--once", "-c", path)
    must = vendor.simulated.ledger(*(int(time.time() - ago) * 1000 for ago in (0, 1700, 60)))
    assert len(must) > 50 and must <= stored(tmp_path)
    assert "events accepted" in done.stderr and "demo-secret" not in done.stderr
    before = stored(tmp_path)
    siemtap("run", "--once", "-c", path)
    assert before <= stored(tmp_path)


def test_files(tmp_path, vendor):
    path = write(tmp_path, vendor, f"output.file: {{path: {tmp_path}/out}}")
    siemtap("run", "--once", "-c", path)
    siemtap("run", "--once", "-c", path)
    ids = [
        json.loads(line)["event"]["id"]
        for line in (tmp_path / "out/events.ndjson").read_bytes().splitlines()
    ]
    assert len(ids) == len(set(ids)) > 50


def test_standard_output(tmp_path, vendor):
    done = siemtap("run", "--once", "-c", write(tmp_path, vendor, "output.stdout:"))
    events = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert (
        len(events) > 50
        and events[0]["agent"]["type"] == "siemtap"
        and events[0]["event"]["created"].endswith("Z")
    )


def test_tags_fields_and_namespace(tmp_path, vendor):
    path = write(
        tmp_path,
        vendor,
        "output.stdout:",
        tags=["waf"],
        fields={"team": "blue"},
        namespace="prod",
        drop={"action": ["logged"]},
    )
    events = [
        json.loads(line) for line in siemtap("run", "--once", "-c", path).stdout.split("\n") if line
    ]
    assert all(
        event["tags"] == ["waf"]
        and event["fields"] == {"team": "blue"}
        and event["data_stream"]["namespace"] == "prod"
        for event in events
    )
    assert {event["event"].get("action") for event in events} & {"logged"} == set() and len(
        events
    ) > 20


def test_a_chosen_stretch_beside_the_checkpoints(tmp_path, vendor):
    path = write(tmp_path, vendor, lookback="5m")
    siemtap("run", "--once", "-c", path)
    marks = siemtap("state", "list", "-c", path).stdout
    before = stored(tmp_path)
    start, stop = time.time() - 7200, time.time() - 3600
    spelled = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (start, stop)]
    siemtap("run", "--from", spelled[0], "--to", spelled[1], "-c", path)
    more = stored(tmp_path) - before
    assert (
        vendor.simulated.ledger(
            int(time.time() * 1000), int(start + 1) * 1000, int(stop - 1) * 1000
        )
        <= more
    )
    assert siemtap("state", "list", "-c", path).stdout == marks
    siemtap("run", "--from", spelled[0], "--to", spelled[1], "-c", path)
    assert stored(tmp_path) == before | more


def test_a_wrong_key_degrades_its_input_and_no_other(tmp_path, vendor):
    path = write(
        tmp_path,
        vendor,
        id="bad",
        client_secret="n0t-the-k3y",
        inputs=(
            f"  - type: apptrana\n    url: {vendor.url}\n    client_id: demo\n    client_secret:"
            " demo-secret\n    lookback: 30m\n"
        ),
    )
    done = siemtap("run", "--once", "-c", path, code=1)
    assert (
        "AuthError" in done.stderr
        and "check client_id/client_secret" in done.stderr
        and "left undone: bad/" in done.stderr
    )
    assert len(stored(tmp_path)) > 50 and "n0t-the-k3y" not in done.stderr


def test_once_retries_a_vendor_that_fails_and_gives_up_after_its_patience(tmp_path, vendor):
    vendor.simulated.faults.append(simulate.Fault("getAttackInfo", 3, 503))
    siemtap("run", "--once", "-c", write(tmp_path, vendor))
    vendor.simulated.faults.append(simulate.Fault("getAttackInfo", 10**6, 503))
    assert (
        "left undone"
        in siemtap(
            "run", "--once", "--patience", "2s", "-c", tmp_path / "siemtap.yml", code=1
        ).stderr
    )


def test_a_config_mistake_is_one_sentence_and_exit_2(tmp_path, vendor):
    path = write(tmp_path, vendor, lookback="1 day")
    done = siemtap("run", "-c", path, code=2)
    assert re.fullmatch(
        r'siemtap: .*siemtap.yml line \d+: inputs\[0\].lookback is "1 day"; use a number and a'
        r" unit, such as 30s, 5m, 12h or 1d\n",
        done.stderr,
    )
    assert not (tmp_path / "data").exists()
    siemtap("run", "-c", tmp_path / "nowhere.yml", code=2)
    for words in (
        ["--to", "2026-01-01T00:00Z"],
        ["--from", "tomorrow"],
        ["--from", "2026-01-02T00:00Z", "--to", "2026-01-01T00:00Z"],
    ):
        siemtap("run", *words, "-c", write(tmp_path, vendor), code=2)


def test_a_damaged_checkpoint_file_is_refused(tmp_path, vendor):
    path = write(tmp_path, vendor)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/siemtap.db").write_bytes(b"x" * 9000)
    done = siemtap("run", "--once", "-c", path, code=2)
    assert (
        "is damaged" in done.stderr
        and "move it away" in done.stderr
        and (tmp_path / "data/siemtap.db").read_bytes() == b"x" * 9000
    )


def test_a_full_disk_is_waited_out(tmp_path, vendor):
    """No file may grow beyond 400 kB; then it may again. What was collected meanwhile is whole,
    and once."""
    import resource

    path = write(tmp_path, vendor, lookback="6h", window="60s")
    process = Process(
        path,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY)
        ),
    )
    process.until("nothing was committed")
    process.until("nothing was committed.*\n(.*\n)*.*nothing was committed")
    resource.prlimit(
        process.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    now = int(time.time())
    wait_for(
        lambda: (
            vendor.simulated.ledger(now * 1000, (now - 6 * 3600 + 60) * 1000, (now - 60) * 1000)
            <= stored(tmp_path)
        ),
        40,
    )
    assert process.end() == 0


def test_one_process_per_folder_and_a_clean_end(tmp_path, vendor):
    path = write(tmp_path, vendor)
    process = Process(path)
    address = process.until(r"status page at (\S+)")[1]
    assert (
        f"in use by another siemtap (process {process.process.pid})"
        in siemtap("run", "--once", "-c", path, code=2).stderr
    )
    siemtap("state", "list", "-c", path)
    siemtap("state", "set", "apptrana/apptrana.attack", "{}", "-c", path, code=2)
    wait_for(lambda: "ok" in page(address, "stats")[1] and stored(tmp_path))
    assert page(address, "health") == (200, '{"healthy": true, "reason": "ok"}')
    assert process.end() == 0 and "events accepted" in process.said
    siemtap("run", "--once", "-c", path)


def test_sigterm_while_the_vendor_hangs(tmp_path, vendor):
    path = write(tmp_path, vendor, "shutdown_timeout: 1s")
    vendor.simulated.faults.append(simulate.Fault("getAttackInfo", 99, delay=30.0))
    process = Process(path)
    process.until("status page")
    wait_for(lambda: vendor.simulated.counts.get("getAttackInfo"))
    began = time.monotonic()
    assert process.end() == 0 and time.monotonic() - began < 10


def test_sighup_reads_the_inputs_again(tmp_path, vendor):
    path = write(tmp_path, vendor)
    process = Process(path)
    address = process.until(r"status page at (\S+)")[1]
    path.write_text(
        path.read_text()
        + f"  - type: apptrana\n    id: second\n    url: {vendor.url}\n    client_id: demo-2\n   "
        " client_secret: demo-secret\n    lookback: 10m\n"
    )
    process.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "second/apptrana.attack" in page(address, "stats")[1])
    path.write_text("inputs: 7\n")
    process.process.send_signal(signal.SIGHUP)
    process.until("inputs stay as they were")
    assert "second/apptrana.attack" in page(address, "stats")[1]
    assert process.end() == 0


def test_health_says_why_not(tmp_path, vendor):
    process = Process(write(tmp_path, vendor, client_secret="wrong"))
    address = process.until(r"status page at (\S+)")[1]
    wait_for(lambda: page(address, "health")[0] == 503)
    status, said = page(address, "health")
    assert "check client_id/client_secret" in said
    assert process.end() == 0


def test_silence_is_degraded(tmp_path):
    server = simulate.Server(simulator.Simulator(simulator.Knobs(rate=0.0)))
    process = Process(write(tmp_path, server, silent_after="2s"))
    address = process.until(r"status page at (\S+)")[1]
    wait_for(lambda: page(address, "health")[0] == 503)
    assert "silent_after" in page(address, "health")[1]
    assert process.end() == 0
    server.close()


def test_metrics_for_prometheus(tmp_path, vendor):
    process = Process(write(tmp_path, vendor))
    address = process.until(r"status page at (\S+)")[1]
    wait_for(
        lambda: re.search(
            r'siemtap_unit_up\{input="apptrana",unit="apptrana/apptrana.attack"\} 1.0',
            page(address, "metrics")[1],
        )
    )
    said = page(address, "metrics")[1]
    assert (
        re.search(r'siemtap_events_total\{dataset="apptrana.attack"\} \d\d+', said)
        and "siemtap_accepted_total" in said
        and "siemtap_healthy 1.0" in said
    )
    assert page(address, "nowhere")[0] == 404
    assert process.end() == 0


def test_a_taken_port_is_a_mistake_of_the_configuration(tmp_path, vendor):
    port = int(vendor.url.rpartition(":")[2])
    assert (
        "cannot listen" in siemtap("run", "-c", write(tmp_path, vendor, port=port), code=2).stderr
    )


def test_logs_for_a_machine_in_a_file(tmp_path, vendor):
    siemtap(
        "run",
        "--once",
        "-c",
        write(tmp_path, vendor, f"logging: {{format: json, file: {tmp_path}/log}}"),
    )
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines and all(
        {"@timestamp", "log.level", "message", "ecs.version"} <= set(line) for line in lines
    )


def test_late_events_are_measured_and_warned_of(tmp_path):
    server = simulate.Server(simulator.Simulator(simulator.Knobs(rate=120.0, late=(0.0, 4.0))))
    process = Process(write(tmp_path, server, lag="0s", overlap="4s", lookback="1m"))
    process.until("came .* s late, and the overlap is 4 s: raise `overlap`")
    assert process.end() == 0
    server.close()


# test, state, rejected, export, simulate


def test_test_config_and_inputs(tmp_path, vendor):
    path = write(tmp_path, vendor)
    assert "OK" in siemtap("test", "config", "-c", path).stdout
    said = siemtap("test", "inputs", "--preview", "-c", path).stdout
    assert (
        re.search(
            r"apptrana/apptrana.attack: logged in; \d+ events in the last 10 min, the newest \d+"
            r" s old",
            said,
        )
        and "the clock of 127.0.0.1" in said
    )
    assert (
        said.count('"record"') == 3
        and simulator.COOKIE not in said
        and not (tmp_path / "data").exists()
    )
    write(tmp_path, vendor, client_secret="wrong")
    assert "AuthError" in siemtap("test", "inputs", "-c", path, code=1).stderr


def test_state_is_seen_and_edited(tmp_path, vendor):
    path = write(tmp_path, vendor)
    assert "no checkpoints" in siemtap("state", "list", "-c", path, code=2).stderr
    siemtap("run", "--once", "-c", path)
    unit = "apptrana/apptrana.attack"
    assert unit in siemtap("state", "list", "-c", path).stdout
    assert set(json.loads(siemtap("state", "show", unit, "-c", path).stdout)) == {"cursor", "seen"}
    assert (
        'did you mean "apptrana/apptrana.attack"'
        in siemtap("state", "show", "apptrana/apptrana.attak", "-c", path, code=2).stderr
    )
    siemtap("state", "set", unit, '{"until": 5', "-c", path, code=2)
    siemtap("state", "set", unit, '{"until": 1772625600000}', "-c", path)
    assert json.loads(siemtap("state", "show", unit, "-c", path).stdout)["cursor"] == {
        "until": 1772625600000
    }
    siemtap("state", "delete", unit, "-c", path)
    assert siemtap("state", "list", "-c", path).stdout == ""


def test_an_audit_tells_what_is_missing_and_brings_it_back(tmp_path, vendor):
    path = write(tmp_path, vendor, lookback="130m", interval="60s")
    siemtap("run", "--once", "-c", path)
    assert (
        "nothing is missing, nothing is twice"
        in siemtap("audit", "--since", "30m", "-c", path).stdout
    )
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        gone = [
            id
            for (id,) in db.execute(
                "SELECT id FROM event WHERE time BETWEEN ? AND ? LIMIT 7",
                [(time.time() - 1500) * 1000, (time.time() - 900) * 1000],
            )
        ]
        db.executemany("DELETE FROM event WHERE id = ?", [[id] for id in gone])
    assert "7 missing" in siemtap("audit", "--since", "30m", "-c", path, code=1).stdout
    assert "7 delivered" in siemtap(
        "audit", "--since", "30m", "--repair", "-c", path
    ).stdout and set(gone) <= stored(tmp_path)
    assert "nothing is missing" in siemtap("audit", "--since", "30m", "-c", path).stdout


def test_export():
    assert "def event(record" in siemtap("export", "mapping", "apptrana.attack").stdout
    assert json.loads(siemtap("export", "schema", "apptrana.attack").stdout) == json.loads(
        (ROOT / "schemas/datasets/apptrana.attack.json").read_text()
    )
    assert (
        json.loads(siemtap("export", "schema", "apptrana").stdout)["additionalProperties"] is False
    )
    assert json.loads(siemtap("export", "schema", "config").stdout)["title"] == "siemtap.yml"
    assert (
        siemtap("export", "sample", "apptrana").stdout
        == (ROOT / "plugins/apptrana/sample.yml").read_text()
    )
    assert (
        'did you mean "apptrana.attack"'
        in siemtap("export", "mapping", "apptrana.atack", code=2).stderr
    )


def test_simulate_as_a_server():
    process = subprocess.Popen(
        [
            *COMMAND,
            "simulate",
            "apptrana",
            "--knob",
            "rate=1",
            "--knob",
            "edges=()",
            "--for",
            "20s",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    said = json.loads(process.stdout.readline())
    assert (
        said["url"].startswith("http://127.0.0.1:")
        and page(said["url"], "/siem/v1/authorize")[0] == 401
    )
    process.kill()
    process.communicate()
    assert (
        'did you mean "edges"'
        in siemtap("simulate", "apptrana", "--knob", "edgse=x", code=2).stderr
    )


def test_demo_once():
    began = time.monotonic()
    said = siemtap("demo", "--once", timeout=60).stdout
    assert all(
        title in said
        for title in (
            "dataset",
            "severity",
            "action",
            "top rules",
            "top attackers",
            "apptrana.attack",
        )
    ) and re.search(r"[\d,]{5,} events in", said)
    assert time.monotonic() - began < 40


def test_a_new_plugin_passes_its_tests_at_once(tmp_path):
    """The folder that `siemtap new` writes, beside a copy of the machine, under the contract
    tests."""
    import shutil

    for name in ("plugins/siemtap", "schemas", "tests", "packaging", "setup.cfg", "README.md"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, tmp_path / name)
    siemtap("new", "acme", "--into", tmp_path / "plugins")
    assert (
        "is there already" in siemtap("new", "acme", "--into", tmp_path / "plugins", code=2).stderr
    )
    siemtap("new", "Acme!", "--into", tmp_path / "plugins", code=2)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path / "plugins")}
    isolated = (
        "import sys, importlib.metadata as m; m.entry_points = lambda **k: m.EntryPoints(());"
        " import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            isolated,
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "tests/test_contract.py",
            "tests/test_cases.py",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (
        int(re.search(r"(\d+) passed", done.stdout)[1]) >= 15
        and "acme" not in done.stdout.partition("short test summary")[2]
    )
    rendered = subprocess.run(
        [
            sys.executable,
            "-c",
            isolated.replace(
                "import pytest; sys.exit(pytest.main(sys.argv[1:]))",
                "import runpy; sys.argv = ['build', 'render']; runpy.run_path('packaging/build',"
                " run_name='__main__')",
            ),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (
        rendered.returncode == 0
        and "api_key: ${ACME_API_KEY}" in (tmp_path / "plugins/acme/sample.yml").read_text()
    ), rendered.stderr


# Health in the SIEM


def health_events(tmp_path):
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        return [
            json.loads(said)
            for (said,) in db.execute(
                "SELECT event FROM event WHERE dataset = 'siemtap.health' ORDER BY time"
            )
        ]


def test_off_by_default_and_with_once_it_speaks_at_the_end(tmp_path, vendor):
    siemtap("run", "--once", "-c", write(tmp_path, vendor))
    assert health_events(tmp_path) == []
    (tmp_path / "data/siemtap.db").unlink()
    siemtap("run", "--once", "-c", write(tmp_path, vendor, "health.enabled: true"))
    events, check = health_events(tmp_path), compiled(contract.read("event.schema.json"), [DATASET])
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        ((collected,),) = db.execute("SELECT count(*) FROM event WHERE dataset <> 'siemtap.health'")
    assert sum(event["siemtap"].get("events", 0) for event in events) == collected > 50 and [
        check(event) for event in events
    ] == [None] * len(events)


def test_a_vendor_that_fails_is_told_to_the_siem(tmp_path, vendor):
    path = write(tmp_path, vendor, "health: {enabled: true, interval: 10s}", timeout="1s")
    running = Process(path)
    try:
        address = running.until(r"status page at (\S+)")[1]
        wait_for(
            lambda: json.loads(page(address, "stats")[1])["inputs"][0]["units"][0]["state"] == "ok"
        )
        vendor.simulated.faults.append(simulate.Fault(times=50, status=503))
        running.until("warning .*503", 20)
    finally:
        assert running.end() == 0
    changes = [event for event in health_events(tmp_path) if event["event"]["kind"] == "event"]
    assert (
        changes
        and changes[0]["siemtap"]["state"] == "retrying"
        and "503" in changes[0]["error"]["message"]
    )
