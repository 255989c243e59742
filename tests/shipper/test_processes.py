"""Several processes of one configuration: whose a unit is, how they speak, and what happens when
they die."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace

import filelock
import pytest
from processes import wait_for

from siemtap.core.errors import ConfigError, Retry, SiemtapError
from siemtap.core.model import Unit
from siemtap.shipper import logs
from siemtap.shipper.config.load import load, parse
from siemtap.shipper.process import Shipper
from siemtap.shipper.processes import child as children
from siemtap.shipper.processes.channel import Channel, Ended
from siemtap.shipper.processes.locks import lock_file, wait_for_processes
from siemtap.shipper.processes.merged import merge_inputs, merge_outputs
from siemtap.shipper.processes.share import Ownership
from siemtap.shipper.processes.supervisor import Supervisor
from siemtap.shipper.processes.worker import Claims
from siemtap.shipper.stats import Tally

# ownership


def units(number, input="waf"):
    return [Unit(input, "acme.event", f"{index}.example.com") for index in range(number)]


def test_a_unit_has_one_owner_for_good():
    ownership = Ownership(3)
    owned = [ownership.claim(worker, units(30)) for worker in (2, 0, 1)]
    assert sorted(unit for part in owned for unit in part) == sorted(units(30))
    assert [len(part) for part in owned] == [10, 10, 10]
    # a reload, or a worker that is started again, asks once more, and for more
    assert ownership.claim(2, units(40))[:10] == owned[0]
    again = [ownership.claim(worker, units(40)) for worker in range(3)]
    assert sorted(len(part) for part in again) == [13, 13, 14]
    assert set(again[0]) >= set(owned[1])


def test_readers_of_queues_are_spread_apart():
    """They may have nothing to do, so they count for nothing against units that are polled."""
    ownership = Ownership(2)
    outputs = [Unit("output", name) for name in ("a", "b", "c")]
    assert len(ownership.claim(0, outputs)) == 2
    assert len(ownership.claim(0, units(2))) == len(ownership.claim(1, units(2))) == 1


def test_number_of_processes():
    entry = "inputs: [{type: centurylink_ips}]\n"
    assert parse(entry).general.process_count == 1
    assert parse(f"{entry}processes: 2").general.process_count == 2
    assert parse(f"{entry}processes: auto").general.process_count == len(os.sched_getaffinity(0))
    for wrong in ("0", "65", "many", "-1", "1.5"):
        with pytest.raises(ConfigError, match="a number from 1 to 64, or auto"):
            parse(f"{entry}processes: {wrong}")


def test_outputs_know_the_process_that_runs_them(tmp_path):
    config = parse(f"path.data: {tmp_path}\ninputs: [{{type: centurylink_ips}}]\n")
    share = Claims("worker 2", None)
    share.known[Unit("output", "default")] = False  # as its supervisor said
    shipper = Shipper(replace(config, inputs=()), once=True, share=share)
    assert shipper.delivery.context.process == "worker 2"
    shipper.close()


# messages


@pytest.fixture
def pair():
    """Return what connects two sides: a function that makes them of their handlers."""
    made = []

    def make(here, there, blocks=False):
        first, second = os.pipe(), os.pipe()
        gone = threading.Event()
        first_side = Channel(os.fdopen(first[0], "rb"), os.fdopen(second[1], "wb"), here, gone.set)
        other = Channel(
            os.fdopen(second[0], "rb"), os.fdopen(first[1], "wb"), there, lambda: None, blocks
        )
        made.extend((first_side, other))
        return first_side, other, gone

    yield make
    for channel in made:
        channel.write.close()
    for channel in made:
        channel.thread.join(10)
        channel.read.close()


def test_both_sides_ask_and_answer(pair):
    told = []

    def there(name, value):
        if name == "fail":
            raise ConfigError("siemtap.yml line 7: no")
        if name == "bug":
            raise KeyError("x")
        # it asks back before it answers
        return [other.ask("more", "\ud800").result(10), value]

    here, other, _ = pair(lambda name, value: told.append((name, value)) or "yes", there, True)
    assert here.ask("it", {"a": 1}).result(10) == ["yes", {"a": 1}]
    assert told == [("more", "\ud800")]
    with pytest.raises(ConfigError, match="line 7: no"):
        here.ask("fail").result(10)
    with pytest.raises(Retry, match="KeyError in bug"):
        here.ask("bug").result(10)


def test_what_is_no_message_is_text(pair):
    told = []
    here, other, _ = pair(lambda name, value: told.append((name, value)), lambda name, value: None)
    other.write.write(b"Fatal Python error: Segmentation fault\n[1]\n\xff\n")
    other.tell("log", 1)
    wait_for(lambda: len(told) == 4)
    assert told == [
        ("text", "Fatal Python error: Segmentation fault"),
        ("text", "[1]"),
        ("text", "\ufffd"),
        ("log", 1),
    ]


def test_the_end_of_the_other_side_is_noticed(pair):
    never = threading.Event()
    here, other, gone = pair(lambda name, value: None, lambda name, value: never.wait(20), True)
    future = here.ask("it")
    with pytest.raises(FutureTimeout):
        future.result(0.05)
    other.write.close()
    assert gone.wait(10)
    with pytest.raises(Ended):
        future.result(10)
    with pytest.raises(Ended):
        here.ask("it").result(10)
    never.set()


# numbers


def test_numbers_of_several_processes_are_those_of_one():
    received = {"at": [], "waiting_bytes": 5, "spool_bytes": 90, "spool_damaged": 2}
    reader = {
        "inputs": [{"id": "ips", "type": "ips", "units": ["u"], "received": received}],
        "outputs": [{"name": "siem", "type": "file", "requests": 2, "accepted": 1}],
    }
    receivers = {
        "inputs": [
            {
                "id": "ips",
                "type": "ips",
                "units": [],
                "received": {**received, "at": ["udp://"], "kept": 7, "waiting_bytes": 90},
            }
        ]
    }
    owner = {
        "inputs": [{"id": "ips", "type": "ips", "units": ["v"]}],
        "outputs": [
            {
                "name": "siem",
                "type": "file",
                "requests": 3,
                "state": "retrying",
                "error": "busy",
                "waiting_events": 9,
                "full": True,
            }
        ],
    }
    for parts in ([receivers, reader, owner], [reader, owner, receivers]):
        (row,) = merge_inputs(parts)
        assert sorted(row["units"]) == ["u", "v"]
        assert row["received"]["at"] == ["udp://"] and row["received"]["kept"] == 7
        assert row["received"]["waiting_bytes"] == 5
        (output,) = merge_outputs(parts)
        assert (output["requests"], output["accepted"], output["waiting_events"]) == (5, 1, 9)
        assert (output["state"], output["error"], output["full"]) == ("retrying", "busy", True)


def test_what_an_input_lost_is_summed():
    """Each worker counts what Kafka deleted of its own partitions."""
    parts = [
        {"inputs": [{"id": "k", "type": "kafka", "units": [], "source": {"lost_offsets": number}}]}
        for number in (7, 0, 3)
    ]
    assert merge_inputs(parts)[0]["source"] == {"lost_offsets": 10}
    assert merge_inputs(parts[1:2])[0]["source"] == {"lost_offsets": 0}
    assert parts[0]["inputs"][0]["source"] == {"lost_offsets": 7}
    without = {"inputs": [{"id": "waf", "type": "apptrana", "units": []}]}
    assert "source" not in merge_inputs([without])[0]


def test_charts_add_up():
    first, second = Tally(), Tally()
    for tally, number in ((first, 2), (second, 3)):
        tally.add_rows(
            [(1_772_618_400_000, "acme.event", "high", "blocked", "R", "1.2.3.4", number)]
        )
    total = Tally()
    for part in (first, second):
        total.add_json(json.loads(json.dumps(part.to_json(0))))
    assert total.top("rule") == [("R", 5)] and total.slots == {
        1_772_618_400_000: {("acme.event", "high"): 5}
    }
    assert first.to_json(1_772_618_400_001)["slots"] == []


def test_lines_of_a_process_name_it(caplog):
    lines = []
    handler = logs.ToSupervisor(lines.append)
    try:
        raise ValueError("bad")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "%s failed", ("it",), sys.exc_info()
        )
    handler.emit(record)
    caplog.set_level(logging.INFO, "siemtap")
    logs.log_of("worker 2", json.loads(json.dumps(lines[0])))
    logs.log_of("worker 2", {**lines[0], "level": logging.DEBUG})  # below the level
    (received,) = [each for each in caplog.records if each.name == "siemtap"]
    text = logs.Text().format(received)
    assert " error   [worker 2] it failed\nTraceback" in text and "ValueError: bad" in text
    line = json.loads(logs.Ecs().format(received))
    assert line["service.node.name"] == "worker 2" and line["message"] == "it failed"
    assert "ValueError: bad" in line["error.stack_trace"]
    assert logs.Message().format(received).startswith("[worker 2] it failed\n")


# deaths


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    """Return a supervisor whose processes run this program instead of siemtap, in a thread."""
    monkeypatch.setattr(children, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(children, "LONGEST_WAIT", 0.05)
    running = []

    def run(made):
        with contextlib.suppress(SiemtapError):  # which `fatal` holds
            made.run()

    def make(program):
        monkeypatch.setattr(children, "own_command", lambda: [sys.executable, "-c", program])
        file = tmp_path / "siemtap.yml"
        file.write_text(
            f"path.data: {tmp_path}/data\nprocesses: 2\ninputs: [{{type: centurylink_ips}}]\n"
        )
        file.chmod(0o600)
        made = Supervisor(load(str(file), {}), once=False, patience=1.0, time_range=None)
        thread = threading.Thread(target=run, args=[made])
        thread.start()
        running.append((made, thread))
        return made

    yield make
    for made, thread in running:
        made.stop()
        thread.join(60)
    logging.getLogger("siemtap").filters.clear()


# speaks as a worker does: it says that it has started, and answers
WORKER = """
import json, os, sys
say = lambda *parts: print(json.dumps(parts), file=sys.stderr, flush=True)
say("ask", 1, "hello", None)
for line in sys.stdin:
    kind, number, name, value = json.loads(line)
    if kind == "answer":
        say("tell", 0, "started", None)
    elif name == "stats":
        counts = {"accepted": 5}
        say("answer", number, "", {"healthy": True, "reason": "ok", "inputs": [], "outputs": [],
            "totals": [counts, {"slots": [], "tops": {"rule": [["R", 2]]}, "delivered": {}}]})
    elif name == "stop":
        break
    elif name == "hang":
        say("answer", number, "", "")
"""


def test_a_worker_that_dies_in_a_loop_is_a_failure_with_a_sentence(supervisor, caplog):
    made = supervisor("import sys; print('no module named x', file=sys.stderr); sys.exit(3)")
    wait_for(lambda: all(child.restarts >= 3 for child in made.workers), 60)
    healthy, reason = made.health()
    assert (
        not healthy and reason.startswith("worker 1 has ended ") and "within 10 minutes" in reason
    )
    assert "(exit code 3)" in reason and "worker 1 wrote: no module named x" in caplog.text
    assert [row["restarts"] >= 3 for row in made.stats()["processes"]] == [True, True]


def test_one_death_is_healed_and_sums_never_fall(supervisor):
    made = supervisor(WORKER)
    wait_for(lambda: all(child.is_started for child in made.workers), 60)
    assert made.health() == (True, "ok") and made.hang() == ""
    assert made.stats()["output"]["accepted"] == 10 and made.tally.top("rule") == [("R", 4)]
    made.workers[0].process.kill()
    wait_for(lambda: made.workers[0].restarts == 1, 60)
    assert made.stats()["output"]["accepted"] >= 10
    wait_for(lambda: made.workers[0].is_started, 60)
    assert made.health() == (True, "ok")
    assert made.stats()["output"]["accepted"] == 15 and made.tally.top("rule") == [("R", 6)]


@pytest.mark.slow
def test_a_process_that_hangs_is_told(supervisor, monkeypatch):
    monkeypatch.setattr("siemtap.shipper.processes.supervisor.SILENT", 0.2)
    monkeypatch.setattr("siemtap.shipper.processes.supervisor.STATS_TIMEOUT", 0.1)
    made = supervisor(
        WORKER.replace('elif name == "hang"', 'elif name == "never"').replace(
            'elif name == "stats"', 'elif name == "nothing"'
        )
    )
    wait_for(lambda: all(child.is_started for child in made.workers), 60)
    assert made.hang() == "worker 1 does not answer"
    made.health()
    time.sleep(0.3)
    healthy, reason = made.health()
    assert not healthy and reason.startswith("worker 1 has not answered for")


def test_a_mistake_that_only_a_worker_finds_ends_all(supervisor, tmp_path):
    made = supervisor(
        WORKER.replace(
            'say("tell", 0, "started", None)',
            'say("tell", 0, "failed", ["ConfigError", "cannot listen"]); sys.exit(2)',
        )
    )
    wait_for(lambda: made.fatal is not None, 60)
    assert isinstance(made.fatal, ConfigError) and "cannot listen" in str(made.fatal)


def test_a_worker_whose_disk_is_full_at_the_start_is_started_again(supervisor, tmp_path):
    made = supervisor(
        WORKER.replace(
            'say("tell", 0, "started", None)',
            f"""if os.path.exists({str(tmp_path / "room")!r}):
            say("tell", 0, "started", None)
        else:
            say("tell", 0, "failed", ["", "the disk is full"]); sys.exit(2)""",
        )
    )
    wait_for(lambda: all(child.restarts for child in made.workers), 60)
    healthy, reason = made.health()
    assert made.fatal is None and not healthy and "the disk is full" in reason
    (tmp_path / "room").touch()
    wait_for(lambda: all(child.is_started for child in made.workers), 60)
    assert made.fatal is None and all(child.error is None for child in made.workers)


# locks


def test_commands_wait_for_processes_that_outlive_their_supervisor(tmp_path, caplog):
    held = filelock.FileLock(lock_file(tmp_path, "worker 2"), thread_local=False)
    held.acquire()
    caplog.set_level(logging.INFO, "siemtap")
    with pytest.raises(Retry, match="still runs, and holds .*siemtap-worker-2.lock: end it"):
        wait_for_processes(tmp_path, 0.1)
    ends = threading.Timer(0.5, held.release)
    ends.start()
    wait_for_processes(tmp_path, 60)
    ends.join()
    assert "has not ended yet" in caplog.text
    wait_for_processes(tmp_path / "new", 0)


def test_a_worker_whose_lock_cannot_be_made_ends_with_a_sentence(tmp_path):
    """Its channel still reads what the supervisor says."""
    lock = tmp_path / "a file" / "worker.lock"
    lock.parent.write_text("")
    command = [*children.own_command(), "worker", str(lock)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe) as process:
        try:
            assert process.wait(30) == 1
            assert b"check its path and rights" in process.stderr.read()
        finally:
            process.kill()
