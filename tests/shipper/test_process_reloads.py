"""A process of the supervisor and a reload: while it starts, one that was refused before it died,
and one that is under way when it shall stop."""

import contextlib
import os
import socket
import threading
from types import SimpleNamespace

import pytest
from processes import wait_for

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Unit
from siemtap.shipper.config.load import parse
from siemtap.shipper.process import Shipper
from siemtap.shipper.processes.channel import Channel
from siemtap.shipper.processes.receivers import Receivers
from siemtap.shipper.processes.supervisor import Supervisor
from siemtap.shipper.processes.worker import RECEIVERS, Process

INPUT = (
    '  - {{type: centurylink_ips, id: {id}, listen: "127.0.0.1:{port}",'
    " secret: a-secret-of-sixteen-and-more{more}}}\n"
)


class Running:
    """A process in a thread, and its supervisor's side of the pipes. `answers`: by question."""

    def __init__(self, folder):
        self.folder = folder
        self.told, self.log = {}, []
        self.answers = {"claim": lambda units: units}
        up, down = os.pipe(), os.pipe()
        self.channel = Channel(
            os.fdopen(up[0], "rb"), os.fdopen(down[1], "wb"), self._handle, lambda: None
        )
        self.process = Process(
            os.fdopen(down[0], "rb"), os.fdopen(up[1], "wb"), folder / "process.lock"
        )
        self.thread = threading.Thread(target=self.process.run)

    def _handle(self, name, value):
        if name in self.answers:
            return self.answers[name](value)
        if name == "log":
            self.log.append(value["message"] if "message" in value else str(value))
        self.told[name] = value
        return None

    def text(self, ports, output="output.file.path: FOLDER/out", more=""):
        """Return a configuration of inputs that listen, by id."""
        (self.folder / "siemtap.yml").touch(0o600)
        output = output.replace("FOLDER", str(self.folder))
        return f"path.data: {self.folder}/data\nprocesses: 2\n{output}\ninputs:\n" + "".join(
            INPUT.format(id=id, port=port, more=more) for id, port in ports.items()
        )

    def start(self, first, latest, role=RECEIVERS, again=False, after=None):
        """Start with one configuration; after: what is the latest once it has started."""

        def config(text, reloads):
            texts = [(str(self.folder / "siemtap.yml"), text)]
            return {"latest": texts, "reloads": reloads, "overrides": []}

        hello = {
            "name": "worker 1",
            "role": role,
            "again": again,
            "first": config(first, 0)["latest"],
            **config(latest, 0),
            **{"once": False, "patience": 1.0, "time_range": None, "ids": []},
        }
        self.answers["hello"] = lambda value: hello
        self.answers["latest"] = lambda value: config(after or latest, 1 if after else 0)
        self.thread.start()
        return self

    def inputs(self):
        return sorted(row["id"] for row in self.channel.ask("stats").result(10)["inputs"])

    def health(self):
        """Return whether it says that all is well, and its reason up to an address."""
        stats = self.channel.ask("stats").result(10)
        return stats["healthy"], stats["reason"].partition(" on 127")[0]

    def close(self):
        self.channel.tell("stop")
        if self.thread.ident:
            self.thread.join(30)
        for channel in (self.channel, self.process.channel):
            with contextlib.suppress(OSError):
                channel.write.close()
        for channel in (self.channel, self.process.channel):
            channel.thread.join(10)
            channel.read.close()


@pytest.fixture
def running(tmp_path):
    made = Running(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    yield made
    made.close()


@pytest.fixture
def busy_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("role", [RECEIVERS, "worker"])
def test_a_process_asks_for_what_was_reloaded_while_it_started(running, role):
    before, after = running.text({"ips": 0}), running.text({"ips": 0, "more": 0})
    running.start(before, before, role, after=after)
    wait_for(lambda: "started" in running.told and running.inputs() == ["ips", "more"])


@pytest.mark.slow
def test_a_supervisor_answers_with_what_it_has_reloaded(running):
    def config(*ids):
        return parse(running.text(dict.fromkeys(ids, 0)))

    made = Supervisor(config("ips"), once=False, patience=1.0, time_range=None)
    worker = made.workers[0]
    hello = worker._handle("hello", None)
    assert not hello["again"]
    assert worker._handle("latest", None)["reloads"] == hello["reloads"]
    made.reconfigure(config("ips", "more"))
    latest = worker._handle("latest", None)
    assert latest["reloads"] != hello["reloads"] and latest["latest"] == made.latest.texts
    assert worker._handle("hello", None)["again"]
    made.close()


def test_a_refused_reload_is_no_outage_when_the_receivers_die_later(running, busy_port):
    first = running.text({"ips": 0})
    running.start(first, running.text({"ips": 0, "more": busy_port}), again=True)
    wait_for(lambda: "started" in running.told, 20)
    assert running.inputs() == ["ips"] and "failed" not in running.told
    assert any("cannot listen" in line for line in running.log)
    assert running.health() == (False, "more does not run as configured: more: cannot listen")


def test_a_mistake_of_the_first_start_is_told(running, busy_port):
    first = running.text({"ips": 0, "more": busy_port})
    running.start(first, first)
    wait_for(lambda: "failed" in running.told)
    assert "cannot listen" in running.told["failed"][1] and "started" not in running.told


@pytest.mark.slow
def test_a_worker_started_again_runs_with_the_outputs_that_open(running, tmp_path):
    (tmp_path / "no_folder").touch()
    outputs = "outputs:\n  file: {type: file, path: FOLDER/out}\n"
    other = "  other: {type: file, path: FOLDER/no_folder/out}\n"
    first = running.text({"ips": 0}, outputs)
    latest = running.text({"ips": 0}, outputs + other, more=", output: file")
    running.start(first, latest, "worker", again=True)
    wait_for(lambda: "started" in running.told, 20)
    assert "no_folder" in "".join(running.log) and running.inputs() == ["ips"]
    healthy, reason = running.health()
    assert not healthy and reason.startswith("the outputs do not run as configured")


def test_a_stop_ahead_of_an_answer_that_a_reload_waits_for(running):
    """The reload holds the lock that the stop needs."""
    lock = threading.Lock()
    stopped = threading.Event()

    def stop():
        with lock:
            stopped.set()

    running.process.shipper = SimpleNamespace(stop=stop)
    with lock:
        running.channel.tell("stop")
        units = running.process.channel.ask("claim", [Unit("ips", "acme.event")])
        assert units.result(10) == [["ips", "acme.event", ""]]
    assert stopped.wait(10)


def test_an_input_that_a_reload_refuses_is_told_by_the_health(running, busy_port):
    def config(**ports):
        return parse(running.text(ports, "output.sqlite: {}").replace("processes: 2\n", ""))

    shipper = Shipper(config(ips=0))
    try:
        assert shipper.health() == (True, "ok")
        with pytest.raises(ConfigError):
            shipper.reconfigure(config(ips=busy_port))
        healthy, reason = shipper.health()
        assert not healthy and reason.startswith("ips does not run as configured: ips: cannot")
        shipper.reconfigure(config(ips=0))
        assert shipper.health() == (True, "ok")
    finally:
        shipper.close()


def test_inputs_that_start_neither_anew_nor_as_before_hold_up_no_other(running, monkeypatch):
    """As on a disk that fails meanwhile."""

    def config(ports, more=""):
        text = running.text(ports, "output.sqlite: {}", more).replace("processes: 2\n", "")
        return parse(text)

    shipper = Shipper(config({"a": 0, "b": 0}))
    try:
        start = shipper._start

        def failing(input_config, delay):
            if input_config.id == "a":
                raise Retry("a: the disk fails")
            start(input_config, delay)

        monkeypatch.setattr(shipper, "_start", failing)
        with pytest.raises(ConfigError, match="a: the disk fails. It does not run at all, because"):
            shipper.reconfigure(config({"a": 0, "b": 0}, ", networks: [192.0.2.0/24]"))
        assert list(shipper.inputs) == ["b"] and not shipper.inputs["b"].stopped
        assert shipper.inputs["b"].input_config.receiving.networks == ("192.0.2.0/24",)
        healthy, reason = shipper.health()
        assert not healthy and "a does not run as configured: a: the disk fails" in reason
    finally:
        shipper.close()


def test_receivers_that_open_neither_anew_nor_as_before_hold_up_no_other(running, monkeypatch):
    def config(more=""):
        return parse(running.text({"a": 0, "b": 0}, "output.sqlite: {}", more))

    receivers = Receivers(config())
    receivers.configure(config().inputs)
    opened = receivers._open

    def failing(input_config):
        if input_config.id == "a":
            raise Retry("a: the disk fails")
        opened(input_config)

    monkeypatch.setattr(receivers, "_open", failing)
    with pytest.raises(ConfigError, match="It does not run at all"):
        receivers.configure(config(", networks: [192.0.2.0/24]").inputs)
    assert list(receivers.open) == ["b"]
    assert receivers.open["b"][0].receiving.networks == ("192.0.2.0/24",)
    assert receivers.stats()["reason"].startswith("a does not run as configured: a: the disk fails")
    receivers.open["b"][1].close()
