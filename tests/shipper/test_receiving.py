"""A real process that receives: events answered with 2xx are delivered once, despite kill -9, a
full spool and an unreachable output."""

import collections
import json
import random
import re
import signal
import threading
import time
import urllib.error
import urllib.request

import pytest
from centurylink_ips import simulator_classes
from centurylink_ips.simulator import Knobs, Simulator
from processes import Process, page, siemtap, wait_for
from shipper.receivers import SECRET, addresses, ids_in_database, ids_in_files, pushed_events, write

from siemtap.testing import simulation
from siemtap.testing.world import NOON

pytestmark = pytest.mark.slow


def test_every_format_over_every_transport_is_stored(tmp_path):
    process = Process(write(tmp_path))
    try:
        webhook, udp, tcp, status = addresses(process)
        sent = pushed_events(120, twice=10)
        for syslog, part in ((udp, sent[:60]), (tcp, sent[60:])):
            sender = simulation.Sender([webhook, syslog])
            assert all(sender.send(pushed) for pushed in part)
            sender.close()
        wanted = {id for pushed in sent for id in pushed.ids}
        wait_for(lambda: ids_in_database(tmp_path) == wanted)
        stats = json.loads(page(status, "stats")[1])
        received = stats["inputs"][0]["received"]
        assert (
            received["kept"] == len(sent)
            and not received["spool_full"]
            and SECRET not in json.dumps(stats)
            and stats["healthy"]
        )
        html, metrics = page(status)[1], page(status, "metrics")[1]
        assert (
            "centurylink_ips.event" in html
            and 'id="received"' in html
            and SECRET not in html
            and f'siemtap_received{{input="centurylink_ips"}} {len(sent)}.0' in metrics
        )
        wait_for(
            lambda: (
                json.loads(page(status, "stats")[1])["inputs"][0]["received"]["waiting_bytes"] == 0
            )
        )
    finally:
        assert process.end() == 0
    assert SECRET not in process.output and len(wanted) == 120


def test_simulate_command_sends_events(tmp_path):
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
            assert int(re.search(r"(\d+) accepted, 0 refused", done.stdout)[1]) > 20
        wait_for(lambda: len(ids_in_database(tmp_path)) > 60)
    finally:
        assert process.end() == 0
    assert (
        "does not push events"
        in siemtap("simulate", "apptrana", "--deliver-to", webhook, code=2).stderr
    )


def test_wrong_secret_stores_nothing(tmp_path):
    process = Process(write(tmp_path))
    try:
        webhook, *_ = addresses(process)
        sender = simulation.Sender([webhook.replace(SECRET, "b" + SECRET[1:])])
        assert not any(sender.send(pushed) for pushed in pushed_events(8, formats=("json",)))
        sender.close()
    finally:
        assert process.end() == 0
    assert (
        ids_in_database(tmp_path) == set()
        and siemtap("run", "--once", "-c", tmp_path / "siemtap.yml").returncode == 0
    )


@pytest.mark.parametrize("output", ["file", "sqlite"])
def test_acknowledged_events_are_delivered_once_despite_kill_9(tmp_path, output):
    """A sender that never retries records each 2xx, and the process is killed again and again."""
    path = write(tmp_path, f"output.file: {{path: {tmp_path}/out}}" if output == "file" else "")
    knobs = Knobs(rate=1.0, formats=("json", "slack", "deep_security", "array"), twice=9)
    # more than can be sent in that time
    sent = Simulator(knobs).pushed(1_772_618_400_000, 1_782_618_400_000)
    taken, rng = [], random.Random(5)
    for _ in range(8):
        process = Process(path)
        webhook, *_ = addresses(process)
        sender, over = simulation.Sender([webhook]), threading.Event()

        def send_all(sender=sender, over=over):
            while not over.is_set():
                sender.send(next(sent))

        thread = threading.Thread(target=send_all)
        thread.start()
        time.sleep(rng.uniform(0.3, 1.2))
        process.process.send_signal(signal.SIGKILL)
        over.set()
        thread.join()
        process.process.communicate()
        taken += sender.taken
        sender.close()
    assert siemtap("run", "--once", "-c", path).returncode == 0
    counts = (
        ids_in_files(tmp_path)
        if output == "file"
        else collections.Counter(ids_in_database(tmp_path))
    )
    assert len(set(taken)) > 200 and set(taken) <= set(counts) and max(counts.values()) == 1
    assert not list((tmp_path / "data/spool/centurylink_ips").glob("*.spool"))[1:], (
        "delivered segments must be deleted"
    )


def test_events_are_accepted_until_the_spool_is_full_while_the_output_is_unreachable(tmp_path):
    """A full spool answers 503. When the output is back, everything is delivered."""
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
                        timeout=300,
                    ).status
                )
            except urllib.error.HTTPError as error:
                answers.append(error.code)
                assert error.headers["Retry-After"] == "30"
        taken = answers.count(204)
        assert 25 <= taken < 40 and set(answers) == {204, 503}
        code, body = page(status, "health")
        assert code == 503 and ("spool is full" in body or "output.elasticsearch" in body)
    finally:
        process.end()
    path.write_text(re.sub(r"output\.elasticsearch.*", "", path.read_text()))
    siemtap("run", "--once", "-c", path)
    assert len(ids_in_database(tmp_path)) == taken


def test_replayed_files_are_received_like_other_payloads(tmp_path):
    path = write(tmp_path, f"output.file: {{path: {tmp_path}/out}}")
    sent = pushed_events(24, formats=("json", "slack", "cef"))
    by_form = [b"\n".join(pushed.body for pushed in sent[form::3]) + b"\n" for form in range(3)]
    for name, data in (
        ("a.ndjson", by_form[0]),
        ("b.ndjson", by_form[1]),
        ("c.log", by_form[2]),
        ("d.json", json.dumps([json.loads(pushed.body) for pushed in sent[0::3]]).encode()),
        ("e.txt", b"two lines\nthat are nothing\n"),
    ):
        (tmp_path / name).write_bytes(data)
    done = siemtap(
        "replay",
        "-c",
        path,
        *(tmp_path / name for name in ("a.ndjson", "b.ndjson", "c.log")),
        "--path",
        "ACME/web01",
    )
    assert "24 payloads: 24 events accepted, 0 rejected, 0 duplicates left out" in done.stdout
    assert set(ids_in_files(tmp_path)) == {id for pushed in sent for id in pushed.ids}
    again = siemtap("replay", "-c", path, tmp_path / "d.json", tmp_path / "e.txt")
    assert (
        "2 payloads: 1 events accepted, 0 rejected, 8 duplicates left out" in again.stdout
        and max(ids_in_files(tmp_path).values()) == 1
    )
    last = json.loads((tmp_path / "out/events.ndjson").read_bytes().splitlines()[-1])
    assert (
        last["event"]["kind"] == "pipeline_error"
        and last["event"]["original"] == '"two lines\\nthat are nothing\\n"'
    )
    assert (
        "Choose one with --input"
        in siemtap("replay", "-c", path, tmp_path / "a.ndjson", "--input", "other", code=2).stderr
    )


def test_a_file_of_every_class_and_form_is_delivered_once(tmp_path):
    """No event of it is taken for another, and none comes twice."""
    path = write(tmp_path, f"output.file: {{path: {tmp_path}/out}}")
    lines = [simulator_classes.message(number, NOON - number).text for number in range(10_000)]
    (tmp_path / "lines.log").write_text("\n".join(lines) + "\n")
    done = siemtap("replay", "-c", path, tmp_path / "lines.log")
    assert (
        "10,000 payloads: 10,000 events accepted, 0 rejected, 0 duplicates left out" in done.stdout
    )
    again = siemtap("replay", "-c", path, tmp_path / "lines.log")
    assert "0 events accepted, 0 rejected, 10,000 duplicates left out" in again.stdout
    assert len(ids_in_files(tmp_path)) == 10_000


def test_replayed_lines_with_small_differences_are_all_stored(tmp_path):
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
    assert "8 payloads: 8 events accepted, 0 rejected, 0 duplicates left out" in done.stdout
    again = siemtap("replay", "-c", path, tmp_path / "lines.log")
    assert "0 events accepted, 0 rejected, 8 duplicates left out" in again.stdout and set(
        ids_in_files(tmp_path).values()
    ) == {1}
