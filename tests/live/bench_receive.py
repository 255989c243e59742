"""What receiving costs: `ci/bench receive`. The sender is a process of its own; the receiver is
the real one, spool and fsync and all, its output away."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from siemtap.edge.spool import Spool

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-secret-of-sixteen-and-more"
COMMAND = [sys.executable, "-m", "siemtap.runners.cli"]
BODY = json.dumps(
    {
        "packetSize": 148,
        "rank": 50,
        "driverTime": 0,
        "startTime": "2026-03-04T10:02:13.000Z",
        "action": "Reset",
        "data": "QUJD" * 60,
        "destinationIP": "192.0.2.23",
        "destinationPort": "80",
        "direction": "Incoming",
        "hostName": "VA1ACMEWEB01",
        "protocol": "TCP",
        "reason": "1000128 - Example Traversal Filter",
        "sourceIP": "203.0.113.45",
        "sourcePort": "48478",
        "severity": "High",
    }
)


class Receiver:
    """`siemtap run` with a webhook and a UDP port, in a folder that lives on over its death."""

    def __init__(
        self, folder, port=0, output='output.elasticsearch: {hosts: ["http://127.0.0.1:9"]}'
    ):
        path = Path(folder) / "siemtap.yml"
        path.write_text(
            f"path.data: {folder}/data\nhttp.port: 0\nlogging.level: info\n{output}\ninputs:\n  -"
            f" type: centurylink_ips\n    listen: 127.0.0.1:{port}\n    secret: {SECRET}\n   "
            ' syslog: ["udp://127.0.0.1:0"]\n'
        )
        self.process = subprocess.Popen(
            [*COMMAND, "run", "-c", str(path)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        )
        for line in self.process.stderr:
            if "listening at" in line:
                self.webhook, self.udp = (
                    line.split("listening at ")[1].strip().replace("<secret>", SECRET).split(", ")
                )
                break
        self.reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        self.reader.start()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(40)
        self.reader.join()
        self.process.stderr.close()


def held(folder):
    """Bodies in the spool, by the number each bears."""
    spool = Spool(Path(folder) / "data/spool/centurylink_ips")
    cursor, found = {}, []
    while True:
        some, cursor = spool.read(cursor, 5_000)
        found += [one.body for one in some]
        if not some:
            spool.close()
            return found


# The sender, run as a process: python bench_receive.py send URL RATE SECONDS FIRST -> {"taken":
# [...], "times": [...]} on standard output


async def send(url, rate, seconds, first, connections=64):
    host, port, path = "127.0.0.1", int(url.split(":")[2].split("/")[0]), "/" + url.split("/", 3)[3]
    taken, times, refused, number = [], [], 0, first
    queue = asyncio.Queue()

    async def one():
        nonlocal refused
        reader = writer = None
        while (job := await queue.get()) is not None:
            number, due = job
            body = BODY.replace('"driverTime": 0', f'"driverTime": {number}').encode()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(host, port)
                writer.write(
                    b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
                    % (path.encode(), len(body), body)
                )
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                if b" 204" in head[:20]:
                    taken.append(number)
                    times.append(time.perf_counter() - due)
                else:
                    refused += 1
            # it tries once, as the vendor does
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                refused += 1
                if writer:
                    writer.close()
                reader = writer = None

    workers = [asyncio.create_task(one()) for _ in range(connections)]
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        while number - first < elapsed * rate:
            queue.put_nowait((number, began + (number - first) / rate))
            number += 1
        await asyncio.sleep(0.001)
    for _ in workers:
        queue.put_nowait(None)
    await asyncio.gather(*workers)
    print(json.dumps({"taken": taken, "times": times, "refused": refused, "sent": number - first}))


def sender(url, rate, seconds, first=1):
    return subprocess.Popen(
        [sys.executable, __file__, "send", url, str(rate), str(seconds), str(first)],
        stdout=subprocess.PIPE,
        text=True,
    )


def share(times, part):
    return sorted(times)[min(len(times) - 1, int(part * len(times)))] * 1000


def webhook(rate=2_000, seconds=60):
    """(p50, p99 in ms, how many were taken, how many of them are missing, MiB at most)"""
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(folder)
        watched, most = psutil.Process(receiver.process.pid), []
        sending = sender(receiver.webhook, rate, seconds)
        watching = threading.Thread(
            target=lambda: [
                most.append(watched.memory_info().rss) or time.sleep(0.5)
                for _ in range(2 * seconds)
            ],
            daemon=True,
        )
        watching.start()
        said = json.loads(sending.communicate()[0])
        watching.join()
        receiver.end()
        numbers = {json.loads(body)["driverTime"] for body in held(folder)}
        missing = set(said["taken"]) - numbers
        print(
            f"webhook, {rate:,} requests/s for {seconds} s, fsync before the 204:"
            f" {len(said['taken']):,} of {said['sent']:,} taken, {len(missing)} of them missing;"
            f" from when it was due p50 {share(said['times'], 0.5):.1f} ms, p99"
            f" {share(said['times'], 0.99):.1f} ms (at most 20, aim 10); {max(most) / 2**20:.0f}"
            f" MiB at most, {most[len(most) // 4] / 2**20:.0f} MiB after a quarter"
        )
        return (
            share(said["times"], 0.5),
            share(said["times"], 0.99),
            len(said["taken"]),
            len(missing),
            max(most) / 2**20,
        )


def killed(rate=500, kills=20):
    """`kill -9` every second; a sender that notes each 204 and never tries twice. (taken,
    missing, twice)"""
    with tempfile.TemporaryDirectory() as folder:
        output, first, taken = f"output.file: {{path: {folder}/out}}", 1, []
        for _ in range(kills):
            receiver = Receiver(folder, output=output)
            sending = sender(receiver.webhook, rate, 1.0, first)
            time.sleep(0.9)
            receiver.end(signal.SIGKILL)
            said = json.loads(sending.communicate()[0])
            taken += said["taken"]
            first += said["sent"]
        subprocess.run(
            [*COMMAND, "run", "--once", "-c", f"{folder}/siemtap.yml"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
            check=True,
            stderr=subprocess.DEVNULL,
            timeout=300,
        )
        found = [
            json.loads(line)["centurylink_ips"]["driver_time"]
            for file in Path(folder, "out").glob("*.ndjson*")
            for line in file.read_bytes().splitlines()
        ]
        missing, twice = set(taken) - set(found), len(found) - len(set(found))
        print(
            f"kill -9 every second, {kills} times: {len(taken):,} answered with 204, {len(missing)}"
            f" of them missing, {twice} twice"
        )
        return len(taken), len(missing), twice


def udp(rate=20_000, seconds=10):
    """(sent, in the spool, dropped by the kernel)"""
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(folder)
        code = (
            "import socket, sys, time\nhost, port, rate, seconds = '127.0.0.1', *map(int,"
            " sys.argv[1:])\nline = b'<134>Mar  4 10:02:13 dsm01 CEF:0|Trend Micro|Deep Security"
            " Agent|20|1000128|n|8|' + b'x' * 300 + b' n=%08d'\nout, began, number ="
            " socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.perf_counter(), 0\nwhile"
            " (elapsed := time.perf_counter() - began) < seconds:\n    while number < elapsed *"
            " rate:\n        out.sendto(line % number, (host, port)); number += 1\n   "
            " time.sleep(0.0005)\nprint(number, time.perf_counter() - began)"
        )
        sending = subprocess.run(
            [sys.executable, "-c", code, receiver.udp.rsplit(":", 1)[1], str(rate), str(seconds)],
            capture_output=True,
            text=True,
            check=True,
        )
        time.sleep(1.5)
        receiver.end()
        sent, took = sending.stdout.split()
        found = {body[-8:] for body in held(folder)}
        print(
            f"UDP, {int(sent) / float(took):,.0f} datagrams/s for {float(took):.0f} s (at least"
            f" 20,000): {int(sent):,} sent, {int(sent) - len(found):,} lost"
        )
        return int(sent), len(found)


def all_of_it():
    webhook()
    killed()
    udp()


if __name__ == "__main__":
    asyncio.run(send(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
