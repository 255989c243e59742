"""`processes: 2` with real processes: every event once, one page, one log, signals, `kill -9`."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from contextlib import closing

import psutil
import pytest
from campaign import ask, simulator
from campaign_stores import embedded, files
from processes import COMMAND, ENVIRONMENT, HANG, Process, page, siemtap, wait_for
from search_node import free_port

pytestmark = pytest.mark.slow

SECRET = "a-secret-of-sixteen-and-more"
BODY = (
    '{"driverTime": %d, "startTime": "2026-03-04T10:02:13.000Z", "action": "Reset", "reason":'
    ' "1000128 - X", "sourceIP": "203.0.113.45", "severity": "High", "hostName": "W"}'
)


@pytest.fixture(scope="module")
def vendors():
    """Return the URLs of three vendors with different events."""
    running = [
        simulator(rate=120.0, odd=False, seed=number, websites=[f"shop{number}.example.com"])
        for number in range(3)
    ]
    yield [url for _, url in running]
    for process, _ in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def configured(tmp_path, vendors):
    """Return a function that writes a configuration of several inputs and returns its path."""

    def write(outputs="output.sqlite: {}", more="", inputs=3, names=""):
        path = tmp_path / "siemtap.yml"
        path.write_text(
            f"path.data: {tmp_path}/data\nprocesses: 2\nhttp.port: 0\n{outputs}\ninputs:\n"
            + "".join(
                f'  - {{type: apptrana, id: v{number}, url: "{url}", client_id: demo, client_secret:'
                f" demo-secret, interval: 1s, lag: 1s, overlap: 10s, lookback: 5m{names}}}\n"
                for number, url in enumerate(vendors[:inputs])
            )
            + more
        )
        path.chmod(0o600)
        return path

    return write


def is_running(pid):
    """Return whether a process runs. One that has ended is a zombie until its new parent, init,
    looks at it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def receiving(port):
    return f'  - {{type: centurylink_ips, listen: "127.0.0.1:{port}", secret: {SECRET}}}\n'


def post(port, number):
    """Post a payload and return the status."""
    url = f"http://127.0.0.1:{port}/centurylink_ips/{SECRET}"
    request = urllib.request.Request(url, (BODY % number).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=HANG) as answer:
        return answer.status


def events_of(folder, number):
    """Return how many events of the webhook with this number the embedded store has."""
    like = f'%"driver_time":{number},%'
    with closing(sqlite3.connect(folder / "data/siemtap.db")) as database:
        return database.execute("SELECT count(*) FROM event WHERE event LIKE ?", [like]).fetchone()[
            0
        ]


TWO = "outputs: {sqlite: {type: sqlite}, file: {type: file, path: %s}}"


@pytest.mark.parametrize("outputs", ["sqlite", "file", "two"])
def test_each_event_once(outputs, configured, tmp_path, vendors):
    """The inputs of both workers reach an output that both may write, one that only one may write,
    and two by the queue."""
    section = {
        "sqlite": "output.sqlite: {}",
        "file": f"output.file.path: {tmp_path}/out",
        "two": TWO % (tmp_path / "out"),
    }[outputs]
    path = configured(section, names=", output: [sqlite, file]" if outputs == "two" else "")
    for _ in range(2):  # the second time from the checkpoints, and beside what is there
        done = siemtap("run", "--once", "-c", path)
    assert "[supervisor]" in done.stderr
    start = int((time.time() - 200) * 1000)
    must = {
        id for url in vendors for id in ask(url, f"ledger?start={start}&stop={start + 100_000}")
    }
    for name in ["sqlite", "file"] if outputs == "two" else [outputs]:
        copies = embedded(tmp_path / "data") if name == "sqlite" else files(tmp_path / "out")
        assert must <= set(copies) and len(must) > 300 and set(copies.values()) == {1}
    listed = siemtap("state", "list", "-c", path).stdout.splitlines()
    assert len(listed) == 3
    assert siemtap("queue", "list", "-c", path).stdout == ""


def test_a_range_and_an_audit_and_an_input_of_several(configured, tmp_path):
    path = configured(f"output.file.path: {tmp_path}/out")
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 250))
    stop = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 50))
    siemtap("run", "--from", start, "--to", stop, "--input", "v1", "-c", path)
    copies = files(tmp_path / "out")
    assert len(copies) > 200 and set(copies.values()) == {1}
    siemtap("run", "--once", "-c", path)
    assert set(files(tmp_path / "out").values()) == {1}
    assert (
        "nothing is missing, nothing is duplicate"
        in siemtap("audit", "--since", "4m", "-c", path).stdout
    )
    # with another number of processes, and with one: from the same checkpoints
    for number in (3, 1):
        siemtap("run", "--once", "-c", path, "-E", f"processes={number}")
        assert set(files(tmp_path / "out").values()) == {1}


def test_a_mistake_ends_all_with_2(configured):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        path = configured(more=receiving(busy.getsockname()[1]))
        done = siemtap("run", "-c", path, code=2)
        assert "cannot listen on 127.0.0.1" in done.stderr


def test_one_page_one_log_and_signals(configured, tmp_path, vendors):
    port = free_port()
    path = configured(more=receiving(port), inputs=2)
    process = Process(path)
    address = process.until(r"status page at (\S+)")[1]
    process.until(r"\[receivers\] centurylink_ips: listening at")
    assert post(port, 7) == 204

    def stats():
        return json.loads(page(address, "stats")[1])

    def units():
        return {unit["unit"]: unit for row in stats()["inputs"] for unit in row["units"]}

    wait_for(lambda: len(units()) == 3 and all(unit["events"] for unit in units().values()))
    numbers = stats()
    assert [row["name"] for row in numbers["processes"]] == ["receivers", "worker 1", "worker 2"]
    assert numbers["output"]["accepted"] == sum(
        unit["events"] for row in numbers["inputs"] for unit in row["units"]
    )
    (row,) = [row for row in numbers["inputs"] if "received" in row]
    assert row["received"]["kept"] == 1 and row["received"]["waiting_bytes"] == 0
    metrics = page(address, "metrics")[1]
    assert 'siemtap_process_up{process="worker 2"} 1.0' in metrics
    assert 'siemtap_received{input="centurylink_ips"} 1.0' in metrics
    front = page(address)[1]
    assert 'id="processes"' in front and "v0/apptrana.attack" in front and "v1/" in front
    assert page(address, "health") == (200, '{"healthy": true, "reason": "ok"}')
    # a second one is refused
    assert "is in use by another siemtap" in siemtap("run", "-c", path, code=1).stderr
    configured(more=receiving(port), inputs=3)
    process.process.send_signal(signal.SIGHUP)
    wait_for(lambda: units().get("v2/apptrana.attack", {}).get("events"))
    pids = [row["pid"] for row in stats()["processes"]]
    assert process.end() == 0
    assert "[supervisor] inputs reloaded" in process.output
    assert not any(map(is_running, pids))
    assert set(embedded(tmp_path / "data").values()) == {1}


def test_killed_processes_are_started_again_and_end_with_their_supervisor(configured, tmp_path):
    port = free_port()
    path = configured(more=receiving(port), inputs=2)
    process = Process(path)
    address = process.until(r"status page at (\S+)")[1]

    def rows():
        return {row["name"]: row for row in json.loads(page(address, "stats")[1])["processes"]}

    wait_for(lambda: len(rows()) == 3 and all(row["state"] == "ok" for row in rows().values()))
    for number, name in enumerate(["receivers", "worker 1", "worker 2"]):
        before = rows()[name]["pid"]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: rows()[name]["state"] == "ok" and rows()[name]["pid"] != before)
        assert rows()[name]["restarts"] == 1 and post(port, number) == 204
    assert page(address, "health")[0] == 200
    pids = [row["pid"] for row in rows().values()]
    os.kill(process.process.pid, signal.SIGKILL)
    process.process.communicate(timeout=HANG)
    again = Process(path)  # at once, while the others may still end
    address = again.until(r"status page at (\S+)")[1]
    wait_for(lambda: len(rows()) == 3 and all(row["state"] == "ok" for row in rows().values()))
    assert not any(map(is_running, pids))
    assert post(port, 3) == 204
    wait_for(lambda: events_of(tmp_path, 3) == 1)
    assert again.end(signal.SIGINT) == 0
    assert [events_of(tmp_path, number) for number in range(4)] == [1, 1, 1, 1]
    assert set(embedded(tmp_path / "data").values()) == {1}


def test_a_terminal_signal_reaches_a_worker_only_by_its_supervisor(configured):
    path = configured(inputs=1)
    with subprocess.Popen(
        [*COMMAND, "run", "-c", str(path)],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for(lambda: len(psutil.Process(process.pid).children()) == 2)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        log = process.communicate(timeout=HANG)[1]
    assert process.returncode == 0 and "started again" not in log
