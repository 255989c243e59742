"""A real process that receives: what was answered with 2xx comes out once, over kill -9, a full
spool, an output that is away."""

import collections
import itertools
import json
import random
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
from centurylink_ips.simulator import Knobs, Simulator
from pingintelligence import simulator as abs_simulator
from processes import Process, page, siemtap, wait_for

from siemtap.runners import receiving, simulate

SECRET = "a-secret-of-sixteen-and-more"


def write(tmp_path, output="", more="", **settings):
    path = tmp_path / "siemtap.yml"
    said = {
        "listen": "127.0.0.1:0",
        "secret": SECRET,
        "syslog": ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"],
        **settings,
    }
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\n{output}\n{more}\ninputs:\n  - type:"
        " centurylink_ips\n"
        + "".join(f"    {name}: {json.dumps(value)}\n" for name, value in said.items())
    )
    return path


def addresses(process):
    """(webhook, udp, tcp, status page)"""
    said = process.until(r"listening at (\S+), (\S+), (\S+)\n")
    return (
        said[1].replace("<secret>", SECRET),
        said[2],
        said[3],
        process.until(r"status page at (\S+)")[1],
    )


def in_files(tmp_path):
    lines = [
        line
        for file in sorted((tmp_path / "out").glob("*.ndjson*"))
        for line in file.read_bytes().splitlines()
    ]
    return collections.Counter(json.loads(line)["event"]["id"] for line in lines)


def in_store(tmp_path):
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        return {id for (id,) in db.execute("SELECT id FROM event")}


def things(number, **knobs):
    start = 1_772_618_400_000
    return list(Simulator(Knobs(rate=1.0, **knobs)).pushed(start, start + number * 1000))


def test_every_form_by_every_way_into_the_embedded_store(tmp_path):
    process = Process(write(tmp_path))
    try:
        webhook, udp, tcp, status = addresses(process)
        sent = things(120, twice=10)
        for syslog, part in ((udp, sent[:60]), (tcp, sent[60:])):
            sender = simulate.Sender([webhook, syslog])
            assert all(sender.send(thing) for thing in part)
            sender.close()
        wanted = {id for thing in sent for id in thing.ids}
        wait_for(lambda: in_store(tmp_path) == wanted)
        stats = json.loads(page(status, "stats")[1])
        received = stats["inputs"][0]["received"]
        assert (
            received["kept"] == len(sent)
            and not received["spool_full"]
            and SECRET not in json.dumps(stats)
            and stats["healthy"]
        )
        shown, metrics = page(status)[1], page(status, "metrics")[1]
        assert (
            "centurylink_ips.event" in shown
            and 'id="received"' in shown
            and SECRET not in shown
            and f'siemtap_received{{input="centurylink_ips"}} {len(sent)}.0' in metrics
        )
        wait_for(
            lambda: (
                json.loads(page(status, "stats")[1])["inputs"][0]["received"]["waiting_bytes"] == 0
            )
        )
    finally:
        assert process.end() == 0
    assert SECRET not in process.said and len(wanted) == 120


def test_the_simulator_delivers_from_the_command_line(tmp_path):
    process = Process(write(tmp_path))
    try:
        webhook, udp, tcp, _ = addresses(process)
        for syslog in (udp, tcp):
            done = siemtap(
                "simulate",
                "centurylink_ips",
                "--deliver-to",
                webhook,
                "--deliver-to",
                syslog,
                "--rate",
                "20",
                "--for",
                "3s",
            )
            assert int(re.search(r"(\d+) taken, 0 refused", done.stdout)[1]) > 20
        wait_for(lambda: len(in_store(tmp_path)) > 60)
    finally:
        assert process.end() == 0
    assert (
        "pushes nothing" in siemtap("simulate", "apptrana", "--deliver-to", webhook, code=2).stderr
    )


def test_a_wrong_secret_writes_nothing(tmp_path):
    process = Process(write(tmp_path))
    try:
        webhook, *_ = addresses(process)
        sender = simulate.Sender([webhook.replace(SECRET, "b" + SECRET[1:])])
        assert not any(sender.send(thing) for thing in things(8, formats=("json",)))
        sender.close()
    finally:
        assert process.end() == 0
    assert (
        in_store(tmp_path) == set()
        and siemtap("run", "--once", "-c", tmp_path / "siemtap.yml").returncode == 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("output", ["file", "sqlite"])
def test_what_was_answered_comes_out_once_over_kill_9(tmp_path, output):
    """A sender that never tries twice, and notes each 2xx; the process is killed again and
    again."""
    path = write(tmp_path, f"output.file: {{path: {tmp_path}/out}}" if output == "file" else "")
    knobs = Knobs(rate=1.0, formats=("json", "slack", "deep_security", "array"), twice=9)
    # more than any machine sends meanwhile
    sent = Simulator(knobs).pushed(1_772_618_400_000, 1_782_618_400_000)
    taken, luck = [], random.Random(5)
    for _ in range(8):
        process = Process(path)
        webhook, *_ = addresses(process)
        sender, over = simulate.Sender([webhook]), threading.Event()

        def go(sender=sender, over=over):
            while not over.is_set():
                sender.send(next(sent))

        thread = threading.Thread(target=go)
        thread.start()
        time.sleep(luck.uniform(0.3, 1.2))
        process.process.send_signal(signal.SIGKILL)
        over.set()
        thread.join()
        process.process.communicate()
        taken += sender.taken
        sender.close()
    assert siemtap("run", "--once", "-c", path).returncode == 0
    found = in_files(tmp_path) if output == "file" else collections.Counter(in_store(tmp_path))
    assert len(set(taken)) > 200 and set(taken) <= set(found) and max(found.values()) == 1
    assert not list((tmp_path / "data/spool/centurylink_ips").glob("*.spool"))[1:], (
        "what is delivered goes"
    )


def test_while_the_output_is_away_all_is_taken_until_the_spool_is_full(tmp_path):
    """Then the sender is told so; and when the output is back, everything comes out."""
    path = write(
        tmp_path,
        'output.elasticsearch: {hosts: ["http://127.0.0.1:9"]}',
        spool_max_bytes=32 * 1024**2,
        max_body_bytes=1024**2,
    )
    process = Process(path)
    big = json.dumps({**Simulator(Knobs()).event(1, 1_772_618_400_000), "note": "x" * 900_000})
    try:
        webhook, _, _, status = addresses(process)
        answers = []
        for number in range(40):
            try:
                answers.append(
                    urllib.request.urlopen(
                        urllib.request.Request(
                            webhook, big.replace("Reset", f"R{number}").encode(), method="POST"
                        ),
                        timeout=20,
                    ).status
                )
            except urllib.error.HTTPError as error:
                answers.append(error.code)
                assert error.headers["Retry-After"] == "30"
        taken = answers.count(204)
        assert 25 <= taken < 40 and set(answers) == {204, 503}
        code, said = page(status, "health")
        assert code == 503 and ("spool is full" in said or "output.elasticsearch" in said)
    finally:
        process.end()
    path.write_text(re.sub(r"output\.elasticsearch.*", "", path.read_text()))
    siemtap("run", "--once", "-c", path)
    assert len(in_store(tmp_path)) == taken


def test_replay_goes_through_the_same_door(tmp_path):
    path = write(tmp_path, f"output.file: {{path: {tmp_path}/out}}")
    sent = things(24, formats=("json", "slack", "cef"))
    by_form = [b"\n".join(thing.body for thing in sent[form::3]) + b"\n" for form in range(3)]
    for name, said in (
        ("a.ndjson", by_form[0]),
        ("b.ndjson", by_form[1]),
        ("c.log", by_form[2]),
        ("d.json", json.dumps([json.loads(thing.body) for thing in sent[0::3]]).encode()),
        ("e.txt", b"two lines\nthat are nothing\n"),
    ):
        (tmp_path / name).write_bytes(said)
    done = siemtap(
        "replay",
        "-c",
        path,
        *(tmp_path / name for name in ("a.ndjson", "b.ndjson", "c.log")),
        "--path",
        "ACME/web01",
    )
    assert "24 payloads: 24 events accepted, 0 rejected, 0 known already" in done.stdout
    assert set(in_files(tmp_path)) == {id for thing in sent for id in thing.ids}
    again = siemtap("replay", "-c", path, tmp_path / "d.json", tmp_path / "e.txt")
    assert (
        "2 payloads: 1 events accepted, 0 rejected, 8 known already" in again.stdout
        and max(in_files(tmp_path).values()) == 1
    )
    last = json.loads((tmp_path / "out/events.ndjson").read_bytes().splitlines()[-1])
    assert (
        last["event"]["kind"] == "pipeline_error"
        and last["event"]["original"] == '"two lines\\nthat are nothing\\n"'
    )
    assert (
        "say --input"
        in siemtap("replay", "-c", path, tmp_path / "a.ndjson", "--input", "other", code=2).stderr
    )


def test_a_replay_of_lines_that_differ_in_a_word_takes_them_all(tmp_path):
    path = write(tmp_path, f"output.file: {{path: {tmp_path}/out}}")
    head = (
        "<13>Mar  4 10:02:13 a01 CEF:0|Trend Micro|Deep Security"
        " Agent|20.0.0|4000000|Eicar_test_file|6|cn1=1 dvchost=a01"
    )
    lines = [
        f"{head} filePath=/srv/{name}.bin act=Delete suser=user{number % 2}"
        for number, name in enumerate("abcdefgh")
    ]
    (tmp_path / "lines.log").write_text("\n".join(lines) + "\n")
    done = siemtap("replay", "-c", path, tmp_path / "lines.log")
    assert "8 payloads: 8 events accepted, 0 rejected, 0 known already" in done.stdout
    again = siemtap("replay", "-c", path, tmp_path / "lines.log")
    assert "0 events accepted, 0 rejected, 8 known already" in again.stdout and set(
        in_files(tmp_path).values()
    ) == {1}


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"secret": ""}, "`listen` needs a `secret`"),
        ({"listen": "0.0.0.0:8443"}, "needs `certificate` and `key`"),
        ({"listen": "8443"}, "write an address and a port, such as 0.0.0.0:8443"),
        ({"secret": "short"}, "secret cannot be this value"),
        ({"networks": ["192.0.2.0/99"]}, "write 192.0.2.0/24"),
        ({"syslog": ["5514"]}, "is no place to listen"),
        ({"syslog": ["tls://0.0.0.0:6514"]}, "`syslog: tls://…` needs"),
    ],
)
def test_settings_that_cannot_work(tmp_path, settings, sentence):
    done = siemtap("test", "config", "-c", write(tmp_path, **settings), code=2)
    assert sentence in done.stderr and "siemtap.yml line" in done.stderr


def test_an_input_that_goes_away_stops_listening(tmp_path):
    path = write(tmp_path, more="")
    process = Process(path)
    try:
        webhook, *_ = addresses(process)
        path.write_text(path.read_text() + "    enabled: false\n")
        process.process.send_signal(signal.SIGHUP)
        process.until("inputs read again")
        with pytest.raises(OSError):
            urllib.request.urlopen(urllib.request.Request(webhook, b"{}", method="POST"), timeout=5)
    finally:
        assert process.end() == 0


def test_an_input_whose_new_address_is_taken_goes_on_at_the_old_one(tmp_path):
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
            process.until("one cannot be as it is wanted")
            # what it said before is not what it says now
            process.said = process.said.split("status page at ")[1]
            webhook = process.until(r"listening at (\S+), ")[1].replace("<secret>", SECRET)
            assert simulate.Sender([webhook]).send(things(1)[0])
            wait_for(lambda: in_store(tmp_path))
        finally:
            assert process.end() == 0


def storm(webhook, over, answers, taken):
    """Posts for as long as somebody is there, each body once; what was answered."""
    numbers = itertools.count(threading.get_ident() % 1_000_000 * 1_000_000)
    while not over.is_set():
        number = next(numbers)
        body = json.dumps({"hostName": "h", "driverTime": number, "reason": str(number)}).encode()
        try:
            answers.append(
                urllib.request.urlopen(
                    urllib.request.Request(webhook, body, method="POST"), timeout=20
                ).status
            )
            taken.append(str(number))
        except urllib.error.HTTPError as error:
            answers.append(error.code)
        except OSError:
            answers.append("nobody")
            time.sleep(0.01)


@pytest.mark.parametrize("how", ["stop", "reload"])
def test_nobody_with_the_right_secret_is_told_that_there_is_nothing(tmp_path, how):
    """While an input stops or is read again a sender meets 204, 503 or nobody, and each 204 is
    kept."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = write(tmp_path, listen=f"127.0.0.1:{port}", syslog=[])
    process, over, answers, taken = Process(path), threading.Event(), [], []
    webhook = f"{process.until(r'listening at (http://[^/]+)')[1]}/centurylink_ips/{SECRET}"
    threads = [
        threading.Thread(target=storm, args=[webhook, over, answers, taken]) for _ in range(8)
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
        there = {rule for (rule,) in db.execute("SELECT rule FROM event")}
    assert len(taken) > 50 and set(answers) <= {204, 503, "nobody"} and set(taken) <= there, (
        collections.Counter(answers)
    )


def test_work_beside_a_busy_receiver_is_done_in_pieces(monkeypatch):
    spool, rests = types.SimpleNamespace(held=0), []
    monkeypatch.setattr(receiving.time, "sleep", rests.append)
    monkeypatch.setattr(receiving.time, "perf_counter", iter(range(100)).__next__)
    rest = receiving.Considerate(spool)
    rest()
    assert rests == []  # nobody sends: no reason to wait
    spool.held = 10
    rest()
    rest()
    assert rests == [receiving.PAUSE]


def test_what_abs_sends_by_syslog_over_tcp(tmp_path):
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
        sender = simulate.Sender([tcp])
        assert len(sent) > 50 and all(sender.send(thing) for thing in sent)
        sender.close()
        wait_for(lambda: in_store(tmp_path) == {id for thing in sent for id in thing.ids})
    finally:
        assert process.end() == 0
