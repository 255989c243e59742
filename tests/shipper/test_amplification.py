"""Small inputs that expand to much: lines, elements, gzip. A real process stays below 300 MiB,
the input is kept, and valid events after it are stored within seconds."""

import gzip
import json
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from centurylink_ips.simulator import Knobs, Simulator
from processes import Process, page, wait_for

from siemtap.testing.simulation import Answer, Server

pytestmark = pytest.mark.slow

SECRET = "a-secret-of-sixteen-and-more"
MAX_MIB = 300  # resident, at any time
MAX_SECONDS = 20  # until a later event is stored, on two slow cores


def receiver(tmp_path, **more):
    path = tmp_path / "siemtap.yml"
    settings = {
        "listen": "127.0.0.1:0",
        "secret": SECRET,
        "syslog": ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"],
        **more,
    }
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\ninputs:\n  - type: centurylink_ips\n"
        + "".join(f"    {name}: {json.dumps(value)}\n" for name, value in settings.items())
    )
    process = Process(path)
    match = process.until(r"listening at (\S+), (\S+), (\S+)\n")
    return (
        process,
        match[1].replace("<secret>", SECRET),
        match[2],
        match[3],
        process.until(r"status page at (\S+)")[1],
    )


def peak(process):
    """Return the peak of resident memory in MiB."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def post(webhook, body, **headers):
    try:
        return urllib.request.urlopen(
            urllib.request.Request(
                webhook,
                body,
                {name.replace("_", "-"): value for name, value in headers.items()},
                method="POST",
            ),
            timeout=300,
        ).status
    except urllib.error.HTTPError as error:
        return error.code


def query(tmp_path, sql):
    with sqlite3.connect(tmp_path / "data/siemtap.db", timeout=300) as db:
        return db.execute(sql).fetchall()


def pipeline_errors(tmp_path):
    """Return the pipeline_error events in the database."""
    return [
        json.loads(event)["event"]["original"]
        for (event,) in query(
            tmp_path,
            "SELECT event FROM event WHERE json_extract(event, '$.event.kind') = 'pipeline_error'",
        )
    ]


def seconds_until_stored(webhook, tmp_path):
    """Post a valid event, and return the seconds until it is stored."""
    (pushed,) = Simulator(Knobs(rate=1.0, formats=("json",))).pushed(
        1_772_618_400_000, 1_772_618_401_000
    )
    assert post(webhook, pushed.body) == 204
    began = time.monotonic()
    wait_for(
        lambda: query(tmp_path, f"SELECT id FROM event WHERE id = '{pushed.ids[0]}'"), MAX_SECONDS
    )
    return time.monotonic() - began


def check_settled(process, status):
    """Wait until the spool is empty; then check memory and health."""
    wait_for(
        lambda: json.loads(page(status, "stats")[1])["inputs"][0]["received"]["waiting_bytes"] == 0,
        MAX_SECONDS,
    )
    assert peak(process) < MAX_MIB and page(status, "health")[0] == 200


def test_datagrams_with_many_lines(tmp_path):
    process, webhook, udp, _, status = receiver(tmp_path)
    try:
        host, port = udp.partition("://")[2].split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(128):
                sender.sendto(b"<%03d\n" % number + b"<\n" * 30_000, (host, int(port)))
                wait_for(
                    lambda number=number: (
                        json.loads(page(status, "stats")[1])["inputs"][0]["received"].get("kept", 0)
                        > number
                    )
                )
        took = seconds_until_stored(webhook, tmp_path)
        check_settled(process, status)
        stored = pipeline_errors(tmp_path)
        print(
            f"128 datagrams: {peak(process):.0f} MiB, the good one after {took:.1f} s, {len(stored)}"
            " events"
        )
        assert {text for text in stored if len(text) < 10} == {
            "<",
            *(f"<{number:03d}" for number in range(128)),
        }
        assert any(text.count("<") > 29_000 for text in stored), (
            "the text beyond the limit must be kept"
        )
    finally:
        assert process.end() == 0


def test_tcp_stream_with_many_lines(tmp_path):
    process, webhook, _, tcp, status = receiver(tmp_path)
    try:
        host, port = tcp.partition("://")[2].split(":")
        with socket.create_connection((host, int(port))) as sender:
            sender.sendall(b"<\n" * 2_000_000)
        took = seconds_until_stored(webhook, tmp_path)
        check_settled(process, status)
        print(
            f"4 MB of lines over TCP: {peak(process):.0f} MiB, the good one after {took:.1f} s,"
            f" {len(pipeline_errors(tmp_path))} events"
        )
    finally:
        assert process.end() == 0


BODIES = {
    "gzip of eight million lines": lambda: (
        gzip.compress(b"<\n" * 8_000_000, 9),
        {"Content_Encoding": "gzip"},
    ),
    "gzip of four million lines": lambda: (
        gzip.compress(b"<\n" * 4_000_000, 9),
        {"Content_Encoding": "gzip"},
    ),
    "gzip of two million objects": lambda: (
        gzip.compress(b"[" + b"{}," * 2_000_000 + b"0]", 9),
        {"Content_Encoding": "gzip"},
    ),
    "gzip of blanks": lambda: (gzip.compress(b" " * 400_000_000, 9), {"Content_Encoding": "gzip"}),
    "objects": lambda: (b"[" + b"{}," * 330_000 + b"0]", {}),
    "small objects": lambda: (b"[" + b'{"rank":1},' * 90_000 + b"0]", {}),
    "keys": lambda: (b"{" + b",".join(b'"%06d":1' % number for number in range(90_000)) + b"}", {}),
    "nested": lambda: (b"[" * 1_000_000, {}),
    "nested objects": lambda: (b'{"a":' * 200_000, {}),
    "a line of keys": lambda: (b"<134>Mar  4 10:02:13 a CEF:0|a|b|c|d|e|f|" + b"a= " * 300_000, {}),
    "escapes": lambda: (
        b"payload=" + b"%41" * 340_000,
        {"Content_Type": "application/x-www-form-urlencoded"},
    ),
    "Slack's text": lambda: (
        json.dumps(
            {"text": "An IPS Event has been caught by our A on B\n" + "ab\n" * 250_000}
        ).encode(),
        {},
    ),
}


@pytest.mark.parametrize("body", BODIES)
def test_webhook_body_that_expands(tmp_path, body):
    process, webhook, _, _, status = receiver(tmp_path)
    data, headers = BODIES[body]()
    try:
        assert (
            len(data) <= 1024**2 and [post(webhook, data, **headers) for _ in range(4)] == [204] * 4
        )
        took = seconds_until_stored(webhook, tmp_path)
        check_settled(process, status)
        stored = pipeline_errors(tmp_path)
        print(
            f"{body}, {len(data):,} bytes: {peak(process):.0f} MiB, the good one after {took:.1f}"
            f" s, {len(stored)} events"
        )
        assert stored or body == "keys"
    finally:
        assert process.end() == 0


class FixedVendor:
    """A simulated vendor that gives the same answer to every request except the login."""

    def __init__(self, body):
        self.body = body

    def answer(self, request, now):
        if "getAuthToken" in request.url:
            return Answer(
                200,
                {"Content-Type": "application/json"},
                b'{"access_token": "t", "expires_in": 3600}',
            )
        return Answer(
            200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, self.body
        )


ANSWERS = {
    "objects": lambda: gzip.compress(
        b'{"successMessage": "x", "data": [{"attacks": [' + b"{}," * 33_000_000 + b"{}]}]}", 9
    ),
    "blanks": lambda: gzip.compress(b" " * 400_000_000, 9),
    "nested": lambda: gzip.compress(b"[" * 900_000, 9),
    "attacks": lambda: gzip.compress(
        b'{"successMessage": "x", "data": [{"websiteName": "w", "attacks": ['
        + b"{}," * 480_000
        + b"{}]}]}",
        9,
    ),
    "one long text": lambda: gzip.compress(b'{"successMessage": "' + b"x" * 400_000_000 + b'"}', 9),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_vendor_answer_that_expands(tmp_path, answer):
    """Of two inputs, the vendor of one sends such answers; the events of the other are
    delivered."""
    server = Server(FixedVendor(ANSWERS[answer]()))
    process, webhook, _, _, status = receiver(tmp_path)
    try:
        path = tmp_path / "siemtap.yml"
        path.write_text(
            path.read_text()
            + f"  - type: apptrana\n    url: {server.url}\n    client_id: a\n    client_secret: b\n   "
            " lookback: 20m\n"
        )
        process.process.send_signal(1)
        process.until("apptrana.attack: (Retry|Malformed): .*(answer|response|no JSON)")
        took = seconds_until_stored(webhook, tmp_path)
        print(f"{answer}: {peak(process):.0f} MiB, the good one after {took:.1f} s")
        assert peak(process) < MAX_MIB
        unit = next(
            unit
            for input in json.loads(page(status, "stats")[1])["inputs"]
            if input["id"] == "apptrana"
            for unit in input["units"]
            if "attack" in unit["unit"]
        )
        assert unit["state"] in ("retrying", "degraded") and unit["events"] == 0 and unit["error"]
    finally:
        assert process.end() == 0
        server.close()


@pytest.mark.parametrize("number", [9_999, 10_000])
def test_backfill_with_full_answers(tmp_path, number):
    """Windows with 10,000 attacks are halved down to a second: 600 answers for a window, of
    which only those in flight are in memory."""
    attacks = b",".join(
        b'{"attackTime": "2026-03-04T10:02:13.000Z", "requestId": "%d", "requestHeader": "%s"}'
        % (index, b"h" * 700)
        for index in range(number)
    )
    server = Server(
        FixedVendor(
            gzip.compress(
                b'{"successMessage": "x", "data": [{"websiteName": "w", "attacks": ['
                + attacks
                + b"]}]}"
            )
        )
    )
    process, status = start_input(tmp_path, server)
    try:
        wait_for(
            lambda: query(
                tmp_path,
                "SELECT 1 FROM event WHERE json_extract(event, '$.http.request.id') ="
                f" '{number - 1}'",
            ),
            MAX_SECONDS,
        )
        time.sleep(6)  # answers keep arriving
        print(f"{number} attacks in every answer: {peak(process):.0f} MiB")
        assert peak(process) < MAX_MIB and page(status, "health")[0] == 200
    finally:
        process.end()
        server.close()


def test_many_websites(tmp_path):
    server = Server(
        FixedVendor(
            gzip.compress(b"[" + b",".join(b'"s%d"' % number for number in range(900_000)) + b"]")
        )
    )
    process, status = start_input(tmp_path, server, discover_websites="true")
    try:
        process.until("(Retry|Malformed): .*(more than 10,000 websites|in one answer)")
        print(f"900,000 sites: {peak(process):.0f} MiB")
        assert peak(process) < MAX_MIB and page(status, "health")[0] == 503
    finally:
        process.end()
        server.close()


def start_input(tmp_path, server, **more):
    path = tmp_path / "siemtap.yml"
    settings = {
        "url": server.url,
        "client_id": "a",
        "client_secret": "b",
        "lookback": "3h",
        "interval": "1s",
        **more,
    }
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\ninputs:\n  - type: apptrana\n"
        + "".join(f"    {name}: {value}\n" for name, value in settings.items())
    )
    process = Process(path)
    return process, process.until(r"status page at (\S+)")[1]
