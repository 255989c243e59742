"""Little that is sent and much that is in it: lines, elements, gzip. A real process stays below 300
MiB, what was sent is kept, and good messages behind it come out within seconds."""

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

from siemtap.runners.simulate import Answer, Server

SECRET = "a-secret-of-sixteen-and-more"
MOST = 300  # MiB resident, at any time
SOON = 20  # seconds for what is behind, on two slow cores


def receiver(tmp_path, **more):
    path = tmp_path / "siemtap.yml"
    said = {
        "listen": "127.0.0.1:0",
        "secret": SECRET,
        "syslog": ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"],
        **more,
    }
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\ninputs:\n  - type: centurylink_ips\n"
        + "".join(f"    {name}: {json.dumps(value)}\n" for name, value in said.items())
    )
    process = Process(path)
    found = process.until(r"listening at (\S+), (\S+), (\S+)\n")
    return (
        process,
        found[1].replace("<secret>", SECRET),
        found[2],
        found[3],
        process.until(r"status page at (\S+)")[1],
    )


def peak(process):
    """MiB that were ever resident."""
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
            timeout=30,
        ).status
    except urllib.error.HTTPError as error:
        return error.code


def query(tmp_path, sql):
    with sqlite3.connect(tmp_path / "data/siemtap.db", timeout=30) as db:
        return db.execute(sql).fetchall()


def errors(tmp_path):
    """What is kept of what nobody could read."""
    return [
        json.loads(event)["event"]["original"]
        for (event,) in query(
            tmp_path,
            "SELECT event FROM event WHERE json_extract(event, '$.event.kind') = 'pipeline_error'",
        )
    ]


def good(webhook, tmp_path):
    """One event more, and how long it takes to be there."""
    (thing,) = Simulator(Knobs(rate=1.0, formats=("json",))).pushed(
        1_772_618_400_000, 1_772_618_401_000
    )
    assert post(webhook, thing.body) == 204
    began = time.monotonic()
    wait_for(lambda: query(tmp_path, f"SELECT id FROM event WHERE id = '{thing.ids[0]}'"), SOON)
    return time.monotonic() - began


def settled(process, status):
    wait_for(
        lambda: json.loads(page(status, "stats")[1])["inputs"][0]["received"]["waiting_bytes"] == 0,
        SOON,
    )
    assert peak(process) < MOST and page(status, "health")[0] == 200


def test_datagrams_of_very_many_lines(tmp_path):
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
        took = good(webhook, tmp_path)
        settled(process, status)
        kept = errors(tmp_path)
        print(
            f"128 datagrams: {peak(process):.0f} MiB, the good one after {took:.1f} s, {len(kept)}"
            " events"
        )
        assert {json.loads(text) for text in kept if len(text) < 10} == {
            "<",
            *(f"<{number:03d}" for number in range(128)),
        }
        assert any(json.loads(text).count("<") > 29_000 for text in kept), (
            "what is beyond the lines is a text"
        )
    finally:
        assert process.end() == 0


def test_a_stream_of_very_many_lines(tmp_path):
    process, webhook, _, tcp, status = receiver(tmp_path)
    try:
        host, port = tcp.partition("://")[2].split(":")
        with socket.create_connection((host, int(port))) as sender:
            sender.sendall(b"<\n" * 2_000_000)
        took = good(webhook, tmp_path)
        settled(process, status)
        print(
            f"4 MB of lines over TCP: {peak(process):.0f} MiB, the good one after {took:.1f} s,"
            f" {len(errors(tmp_path))} events"
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
def test_a_body_of_very_much(tmp_path, body):
    process, webhook, _, _, status = receiver(tmp_path)
    said, headers = BODIES[body]()
    try:
        assert (
            len(said) <= 1024**2 and [post(webhook, said, **headers) for _ in range(4)] == [204] * 4
        )
        took = good(webhook, tmp_path)
        settled(process, status)
        kept = errors(tmp_path)
        print(
            f"{body}, {len(said):,} bytes: {peak(process):.0f} MiB, the good one after {took:.1f}"
            f" s, {len(kept)} events"
        )
        assert kept or body == "keys"
    finally:
        assert process.end() == 0


class Vendor:
    """Says the same to whatever question, but for the token."""

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
def test_an_answer_of_very_much(tmp_path, answer):
    """Two inputs: one vendor is mad, and the other's events come."""
    mad = Server(Vendor(ANSWERS[answer]()))
    process, webhook, _, _, status = receiver(tmp_path)
    try:
        path = tmp_path / "siemtap.yml"
        path.write_text(
            path.read_text()
            + f"  - type: apptrana\n    url: {mad.url}\n    client_id: a\n    client_secret: b\n   "
            " lookback: 20m\n"
        )
        process.process.send_signal(1)
        process.until("apptrana.attack: (Retry|Malformed): .*(answer|no JSON)")
        took = good(webhook, tmp_path)
        print(f"{answer}: {peak(process):.0f} MiB, the good one after {took:.1f} s")
        assert peak(process) < MOST
        unit = next(
            unit
            for of in json.loads(page(status, "stats")[1])["inputs"]
            if of["id"] == "apptrana"
            for unit in of["units"]
            if "attack" in unit["unit"]
        )
        assert unit["state"] in ("retrying", "degraded") and unit["events"] == 0 and unit["error"]
    finally:
        assert process.end() == 0
        mad.close()


@pytest.mark.parametrize("number", [9_999, 10_000])
def test_every_answer_is_full(tmp_path, number):
    """10,000 attacks are halved down to a second: 600 answers a window, of which only those in
    flight are in memory."""
    attacks = b",".join(
        b'{"attackTime": "2026-03-04T10:02:13.000Z", "requestId": "%d", "requestHeader": "%s"}'
        % (one, b"h" * 700)
        for one in range(number)
    )
    mad = Server(
        Vendor(
            gzip.compress(
                b'{"successMessage": "x", "data": [{"websiteName": "w", "attacks": ['
                + attacks
                + b"]}]}"
            )
        )
    )
    process, status = puller(tmp_path, mad)
    try:
        wait_for(
            lambda: query(
                tmp_path,
                "SELECT 1 FROM event WHERE json_extract(event, '$.http.request.id') ="
                f" '{number - 1}'",
            ),
            SOON,
        )
        time.sleep(6)  # answers go on coming
        print(f"{number} attacks in every answer: {peak(process):.0f} MiB")
        assert peak(process) < MOST and page(status, "health")[0] == 200
    finally:
        process.end()
        mad.close()


def test_very_many_sites(tmp_path):
    mad = Server(
        Vendor(gzip.compress(b"[" + b",".join(b'"s%d"' % one for one in range(900_000)) + b"]"))
    )
    process, status = puller(tmp_path, mad, discover_websites="true")
    try:
        process.until("(Retry|Malformed): .*(more than 10,000 sites|in one answer)")
        print(f"900,000 sites: {peak(process):.0f} MiB")
        assert peak(process) < MOST and page(status, "health")[0] == 503
    finally:
        process.end()
        mad.close()


def puller(tmp_path, server, **more):
    path = tmp_path / "siemtap.yml"
    given = {
        "url": server.url,
        "client_id": "a",
        "client_secret": "b",
        "lookback": "3h",
        "interval": "1s",
        **more,
    }
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\ninputs:\n  - type: apptrana\n"
        + "".join(f"    {name}: {value}\n" for name, value in given.items())
    )
    process = Process(path)
    return process, process.until(r"status page at (\S+)")[1]
