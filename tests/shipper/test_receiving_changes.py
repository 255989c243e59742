"""Receivers with invalid settings and settings that change, and the answers while an input
stops."""

import collections
import itertools
import json
import re
import signal
import socket
import sqlite3
import threading
import time
import types
import urllib.error
import urllib.request

import pytest
from pingintelligence import simulator as abs_simulator
from processes import Process, siemtap, wait_for
from shipper.receivers import SECRET, addresses, ids_in_database, pushed_events, write

from siemtap.edge.receive import receiver as receiving
from siemtap.testing import simulation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"secret": ""}, "listen needs a `secret`"),
        ({"listen": "0.0.0.0:8443"}, "needs `certificate` and `key`"),
        ({"listen": "8443"}, "write an address and a port, such as 0.0.0.0:8443"),
        ({"secret": "short"}, "16 to 128 letters, digits"),
        ({"networks": ["192.0.2.0/99"]}, "write 192.0.2.0/24"),
        ({"syslog": ["5514"]}, "is not an address to listen on"),
        ({"syslog": ["tls://0.0.0.0:6514"]}, "`syslog: tls://…` needs"),
    ],
)
def test_settings_that_cannot_work_are_rejected(tmp_path, settings, sentence):
    done = siemtap("test", "config", "-c", write(tmp_path, **settings), code=2)
    assert sentence in done.stderr and "siemtap.yml line" in done.stderr


def test_removed_input_stops_listening(tmp_path):
    path = write(tmp_path, more="")
    process = Process(path)
    try:
        webhook, *_ = addresses(process)
        path.write_text(path.read_text() + "    enabled: false\n")
        process.process.send_signal(signal.SIGHUP)
        process.until("inputs reloaded")
        with pytest.raises(OSError):
            urllib.request.urlopen(
                urllib.request.Request(webhook, b"{}", method="POST"), timeout=300
            )
    finally:
        assert process.end() == 0


def test_input_keeps_its_address_if_the_new_one_is_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        path = write(tmp_path)
        process = Process(path)
        try:
            addresses(process)
            path.write_text(
                path.read_text().replace(
                    '"127.0.0.1:0"', f'"127.0.0.1:{other.getsockname()[1]}"', 1
                )
            )
            process.process.send_signal(signal.SIGHUP)
            process.until("one cannot start")
            # the log must show the new error
            process.output = process.output.split("status page at ")[1]
            webhook = process.until(r"listening at (\S+), ")[1].replace("<secret>", SECRET)
            assert simulation.Sender([webhook]).send(pushed_events(1)[0])
            wait_for(lambda: ids_in_database(tmp_path))
        finally:
            assert process.end() == 0


def post_until(webhook, over, answers, taken):
    """Post a different body each time until `over` is set; record the answers, and the bodies
    answered with 2xx."""
    numbers = itertools.count(threading.get_ident() % 1_000_000 * 1_000_000)
    while not over.is_set():
        number = next(numbers)
        body = json.dumps({"hostName": "h", "driverTime": number, "reason": str(number)}).encode()
        try:
            answers.append(
                urllib.request.urlopen(
                    urllib.request.Request(webhook, body, method="POST"), timeout=300
                ).status
            )
            taken.append(str(number))
        except urllib.error.HTTPError as error:
            answers.append(error.code)
        except OSError:
            answers.append("nobody")
            time.sleep(0.01)


@pytest.mark.parametrize("how", ["stop", "reload"])
def test_input_that_stops_or_reloads_never_answers_404(tmp_path, how):
    """A sender with the right secret gets 204, 503 or no connection, and every event answered
    with 204 is stored."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = write(tmp_path, listen=f"127.0.0.1:{port}", syslog=[])
    process, over, answers, taken = Process(path), threading.Event(), [], []
    webhook = f"{process.until(r'listening at (http://[^/]+)')[1]}/centurylink_ips/{SECRET}"
    threads = [
        threading.Thread(target=post_until, args=[webhook, over, answers, taken]) for _ in range(8)
    ]
    try:
        for thread in threads:
            thread.start()
        for number in range(4 if how == "reload" else 0):
            time.sleep(0.5)
            path.write_text(
                re.sub(r"remember:.*\n|$", "", path.read_text()).rstrip("\n")
                + f"\n    remember: {number + 2}h\n"
            )
            process.process.send_signal(signal.SIGHUP)
        time.sleep(1.0)
    finally:
        assert process.end() == 0
        over.set()
        for thread in threads:
            thread.join()
    assert siemtap("run", "--once", "-c", path).returncode == 0
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        stored = {rule for (rule,) in db.execute("SELECT rule FROM event")}
    assert len(taken) > 50 and set(answers) <= {204, 503, "nobody"} and set(taken) <= stored, (
        collections.Counter(answers)
    )


def test_delivery_yields_to_a_busy_receiver(monkeypatch):
    spool, rests = types.SimpleNamespace(size=0), []
    monkeypatch.setattr(receiving.time, "sleep", rests.append)
    monkeypatch.setattr(receiving.time, "perf_counter", iter(range(100)).__next__)
    rest = receiving.YieldToReceiver(spool)
    rest()
    assert rests == []  # nothing is received, so there is no reason to wait
    spool.size = 10
    rest()
    rest()
    assert rests == [receiving.PAUSE]


def test_abs_syslog_over_tcp(tmp_path):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\ninputs:\n  - type: pingintelligence\n   "
        " syslog: tcp://127.0.0.1:0\n"
    )
    process = Process(path)
    try:
        tcp = process.until(r"listening at (tcp://\S+)")[1]
        start = 1_772_618_400_000
        sent = list(
            abs_simulator.Simulator(abs_simulator.Knobs(twice=5)).pushed(start, start + 600_000)
        )
        sender = simulation.Sender([tcp])
        assert len(sent) > 50 and all(sender.send(pushed) for pushed in sent)
        sender.close()
        wait_for(lambda: ids_in_database(tmp_path) == {id for pushed in sent for id in pushed.ids})
    finally:
        assert process.end() == 0
