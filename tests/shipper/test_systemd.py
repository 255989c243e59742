"""What systemd is told: messages on a real datagram socket, from the parts and from the process."""

import json
import logging
import os
import secrets
import signal
import socket
import threading
import time

import processes
import pytest
from processes import Process
from search_node import free_port
from shipper import clocks

from apptrana import simulator
from siemtap.core.errors import Retry
from siemtap.shipper import logs
from siemtap.shipper.systemd import STALLED_AFTER, Notifier, Supervision, hang_of
from siemtap.testing.simulation import Server

# fixtures
make_shipper = clocks.make_shipper
SOON = 60  # seconds
HANGS = 0.5  # seconds without a message, after which none comes
SECRET = "0123456789abcdef0123456789abcdef"


class Manager:
    """The socket of a service manager. `address`: for $NOTIFY_SOCKET."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def next(self, seconds=processes.HANG):
        """Return the next message as a dict; {} if none comes."""
        self.socket.settimeout(seconds)
        try:
            message = self.socket.recv(65536).decode()
        except TimeoutError:
            return {}
        return dict(line.split("=", 1) for line in message.split("\n"))

    def until(self, name):
        """Return the first message with this name."""
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            message = self.next(SOON)
            if name in message:
                return message
        raise AssertionError(f"no {name}")


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    address = (
        f"{tmp_path}/notify" if request.param == "path" else f"@siemtap-{secrets.token_hex(8)}"
    )
    manager = Manager(address)
    yield manager
    manager.socket.close()


def notifier(manager, **variables):
    return Notifier({"NOTIFY_SOCKET": manager.address, **variables})


def test_messages(manager):
    notify = notifier(manager)
    notify.ready()
    assert manager.next() == {"READY": "1"}
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    with notify.reloading():
        message = manager.next()
        assert message.pop("RELOADING") == "1"
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(message.pop("MONOTONIC_USEC")) <= now and message == {}
    assert manager.next() == {"READY": "1"}
    with pytest.raises(KeyError), notify.reloading():
        raise KeyError
    assert "RELOADING" in manager.next() and manager.next() == {"READY": "1"}
    notify.stopping()
    assert manager.next() == {"STOPPING": "1"}


@pytest.mark.parametrize("address", ["", "@", "vsock:2:1234", "relative", "/no/such/socket"])
def test_without_a_socket_nothing_is_sent_and_nothing_fails(address):
    notify = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert notify.send("READY=1") is False
    if not address.startswith("/"):
        assert notify.address == "" and notify.watchdog is None


def test_watchdog_period(manager):
    own, other = str(os.getpid()), str(os.getpid() + 1)
    for variables, seconds in (
        ({}, None),
        ({"WATCHDOG_USEC": "180000000"}, 180.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": own}, 180.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": other}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "many"}, None),
    ):
        assert notifier(manager, **variables).watchdog == seconds, variables


@pytest.fixture
def supervised(make_shipper, tmp_path):
    """Yield (shipper, manager) of a shipper that is watched, with a watchdog of 0.2 s."""
    stepped = make_shipper().start()
    stepped.run_turns(1)
    stepped.shipper.scheduler.heap.clear()  # nothing is due: this shipper has no workers
    manager = Manager(str(tmp_path / "notify"))
    shipper = stepped.shipper
    Supervision(shipper, notifier(manager, WATCHDOG_USEC="200000")).start()
    yield shipper, manager
    shipper.stopping.set()
    manager.until("STOPPING")
    manager.socket.close()


def test_pings_come_while_everything_works(supervised):
    _, manager = supervised
    assert manager.next() == {"READY": "1"}
    began = time.monotonic()
    for _ in range(3):
        assert manager.until("WATCHDOG") == {"STATUS": "healthy", "WATCHDOG": "1"}
    assert time.monotonic() - began >= 0.15, "twice in each period, not more"


def test_degraded_unit_is_a_status_and_pings_go_on(supervised):
    shipper, manager = supervised
    (running,) = shipper.inputs.values()
    state = next(iter(running.states()))
    state.state, state.error = "degraded", "401\nfrom the vendor"
    for _ in range(5):  # two may be from before
        message = manager.until("WATCHDOG")
    assert message["STATUS"] == f"{state.unit}: 401 from the vendor"


def test_hanging_writer_stops_the_pings(supervised):
    shipper, manager = supervised
    hang = threading.Event()
    blocked = threading.Thread(target=shipper.database.write, args=[lambda db: hang.wait(60)])
    blocked.start()
    try:
        drain_until_silent(manager)
    finally:
        hang.set()
        blocked.join()
    assert manager.until("WATCHDOG")


def drain_until_silent(manager):
    """Read what was sent before the hang; fail if messages go on."""
    deadline = time.monotonic() + 30
    while manager.next(HANGS):
        assert time.monotonic() < deadline, "pings go on"


def test_lock_of_the_scheduler_that_is_held_stops_the_pings(supervised):
    shipper, manager = supervised
    with shipper.scheduler.lock:
        drain_until_silent(manager)
    assert manager.until("WATCHDOG")


def test_health_that_fails_stops_the_pings(supervised, monkeypatch, caplog):
    shipper, manager = supervised

    def fail():
        raise KeyError("of a defect")

    monkeypatch.setattr(shipper, "health", fail)
    drain_until_silent(manager)
    assert "KeyError while siemtap checked itself" in caplog.text
    monkeypatch.undo()
    assert manager.until("WATCHDOG")


def test_scheduler_without_workers_is_a_hang(make_shipper):
    """Its workers never started: the inputs are due and nobody runs them."""
    stepped = make_shipper().start()
    shipper = stepped.shipper
    assert hang_of(shipper) == ""
    stepped.now += int(STALLED_AFTER * 1000) + 1000
    assert hang_of(shipper) == "the scheduler has not run what has been due for 31 s"
    # all workers busy, with a slow vendor: no hang
    shipper.scheduler.busy.extend(shipper.inputs.values())
    shipper.scheduler.workers = shipper.scheduler.workers[: len(shipper.inputs)]
    assert hang_of(shipper) == ""
    shipper.scheduler.busy.clear()


def test_full_disk_is_no_hang(make_shipper, monkeypatch):
    shipper = make_shipper().start().shipper

    def write(work):
        raise Retry("database or disk is full")

    monkeypatch.setattr(shipper.database, "write", write)
    assert hang_of(shipper) == ""


@pytest.mark.slow
def test_process_reports_its_life(manager, tmp_path, monkeypatch):
    """READY=1 once the listener accepts; a ping; RELOADING=1 and READY=1 on SIGHUP; STOPPING=1."""
    port = free_port()
    simulated = simulator.Simulator()
    server = Server(simulated)
    inputs = [
        {"type": "apptrana", **simulated.settings(server.url)},
        {"type": "centurylink_ips", "listen": f"127.0.0.1:{port}", "secret": SECRET},
    ]
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.enabled: false\ninputs: {json.dumps(inputs)}\n"
    )
    path.chmod(0o600)
    monkeypatch.setitem(processes.ENVIRONMENT, "NOTIFY_SOCKET", manager.address)
    monkeypatch.setitem(processes.ENVIRONMENT, "WATCHDOG_USEC", "400000")
    process = Process(path)
    try:
        assert manager.next() == {"READY": "1"}
        socket.create_connection(("127.0.0.1", port), 10).close()
        assert manager.until("WATCHDOG")
        process.process.send_signal(signal.SIGHUP)
        assert int(manager.until("RELOADING")["MONOTONIC_USEC"]) > 0
        assert manager.until("READY")
        code = process.end()
        assert manager.until("STOPPING")
        assert code == 0, process.output
    finally:
        process.process.kill()
        server.close()


def test_journal_is_recognized(tmp_path):
    with open(tmp_path / "stream", "w") as stream:
        status = os.fstat(stream.fileno())
        journal = f"{status.st_dev}:{status.st_ino}"
        assert logs.writes_to_journal(stream, {"JOURNAL_STREAM": journal})
        assert not logs.writes_to_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:1"})
        assert not logs.writes_to_journal(stream, {})
    assert not logs.writes_to_journal(None, {"JOURNAL_STREAM": journal})


def test_lines_in_the_journal_have_a_priority():
    def line(level, message, inner):
        record = logging.LogRecord("siemtap", level, "x.py", 1, message, (), None)
        return logs.Journal(inner).format(record)

    assert line(logging.WARNING, "a", logs.Message()) == "<4>a"
    assert line(logging.INFO, "a", logs.Message()) == "<6>a"
    assert line(logging.CRITICAL, "a", logs.Message()) == "<2>a"
    assert line(logging.DEBUG, "a\nb", logs.Message()) == "<7>a\n<7>    b"
    assert line(5, "a", logs.Message()) == "<7>a"
    encoded = line(logging.ERROR, "a", logs.Ecs())
    assert encoded.startswith("<3>{") and json.loads(encoded[3:])["log.level"] == "error"


@pytest.mark.slow
def test_process_writes_to_the_journal_without_times(tmp_path, monkeypatch):
    """Standard error is a pipe here, and stands for the journal's socket."""
    path = tmp_path / "siemtap.yml"
    inputs = [{"type": "apptrana", "url": "http://127.0.0.1:9", "client_id": "a"}]
    inputs[0]["client_secret"] = SECRET
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.enabled: false\ninputs: {json.dumps(inputs)}\n"
    )
    path.chmod(0o600)
    reading, writing = os.pipe()
    status = os.fstat(writing)
    stream = f"{status.st_dev}:{status.st_ino}"
    monkeypatch.setitem(processes.ENVIRONMENT, "JOURNAL_STREAM", stream)
    result = processes.subprocess.run(
        [*processes.COMMAND, "run", "--once", "--patience", "0s", "-c", str(path)],
        stderr=writing,
        env=processes.ENVIRONMENT,
        timeout=processes.HANG,
    )
    os.close(writing)
    with open(reading) as pipe:
        lines = pipe.read().splitlines()
    assert result.returncode == 1
    assert any(line.startswith("<6>no checkpoints in ") for line in lines), lines
    assert any(line.startswith("<3>not finished: apptrana") for line in lines), lines
    assert SECRET not in "\n".join(lines)
