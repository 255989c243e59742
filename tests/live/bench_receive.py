"""Cost of receiving: `ci/bench receive`. Sender and receiver are separate processes. The receiver
is the real one, with spool and fsync; its output is not reachable."""

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

from siemtap.edge.receive.spool import Spool

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-secret-of-sixteen-and-more"
COMMAND = [sys.executable, "-m", "siemtap.shipper.cli.main"]
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
    """A `siemtap run` with a webhook and a UDP port. Its folder outlives the process."""

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


def spooled(folder):
    """Return the bodies in the spool, in order of arrival."""
    spool = Spool(Path(folder) / "data/spool/centurylink_ips")
    cursor = {}
    bodies = []
    while True:
        payloads, cursor = spool.read(cursor, 5_000)
        bodies += [payload.body for payload in payloads]
        if not payloads:
            spool.close()
            return bodies


# The sender, run as a process: python bench_receive.py send URL RATE SECONDS FIRST
# It prints "taken" at the first 204, and at the end {"taken": [numbers answered with 204], "times": [seconds], "refused": N, "sent": N}.


async def send(url, rate, seconds, first, connections=64):
    host = "127.0.0.1"
    port = int(url.split(":")[2].split("/")[0])
    path = "/" + url.split("/", 3)[3]
    taken = []
    times = []
    refused = 0
    number = first
    queue = asyncio.Queue()

    async def post_jobs():
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
                    if not taken:
                        print("taken", flush=True)
                    taken.append(number)
                    times.append(time.perf_counter() - due)
                else:
                    refused += 1
            # no retry, like the vendor
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                refused += 1
                if writer:
                    writer.close()
                reader = writer = None

    workers = [asyncio.create_task(post_jobs()) for _ in range(connections)]
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        while number - first < elapsed * rate:
            queue.put_nowait((number, started + (number - first) / rate))
            number += 1
        await asyncio.sleep(0.001)
    for _ in workers:
        queue.put_nowait(None)
    await asyncio.gather(*workers)
    print(json.dumps({"taken": taken, "times": times, "refused": refused, "sent": number - first}))


def sender(url, rate, seconds, first=1):
    """Start a sender, and return when the first payload is taken."""
    process = subprocess.Popen(
        [sys.executable, __file__, "send", url, str(rate), str(seconds), str(first)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "taken\n"
    return process


def percentile(times, part):
    """Return a percentile of times in milliseconds."""
    return sorted(times)[min(len(times) - 1, int(part * len(times)))] * 1000


def webhook(rate=2_000, seconds=60):
    """Return (p50 in ms, p99 in ms, answered with 204, of these missing, highest memory in MiB)."""
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(folder)
        process = psutil.Process(receiver.process.pid)
        memory = []
        sending = sender(receiver.webhook, rate, seconds)
        watching = threading.Thread(
            target=lambda: [
                memory.append(process.memory_info().rss) or time.sleep(0.5)
                for _ in range(2 * seconds)
            ],
            daemon=True,
        )
        watching.start()
        result = json.loads(sending.communicate()[0])
        watching.join()
        receiver.end()
        numbers = {json.loads(body)["driverTime"] for body in spooled(folder)}
        missing = set(result["taken"]) - numbers
        print(
            f"webhook, {rate:,} requests/s for {seconds} s, fsync before the 204:"
            f" {len(result['taken']):,} of {result['sent']:,} taken, {len(missing)} of them missing;"
            f" from when it was due p50 {percentile(result['times'], 0.5):.1f} ms, p99"
            f" {percentile(result['times'], 0.99):.1f} ms (at most 20, aim 10); {max(memory) / 2**20:.0f}"
            f" MiB at most, {memory[len(memory) // 4] / 2**20:.0f} MiB after a quarter"
        )
        return (
            percentile(result["times"], 0.5),
            percentile(result["times"], 0.99),
            len(result["taken"]),
            len(missing),
            max(memory) / 2**20,
        )


def killed(rate=500, kills=20):
    """Kill the receiver with SIGKILL every second, under a sender that never retries. Return
    (answered with 204, of these missing, delivered twice)."""
    with tempfile.TemporaryDirectory() as folder:
        output = f"output.file: {{path: {folder}/out}}"
        first = 1
        taken = []
        for _ in range(kills):
            receiver = Receiver(folder, output=output)
            sending = sender(receiver.webhook, rate, 1.0, first)
            time.sleep(0.9)
            receiver.end(signal.SIGKILL)
            result = json.loads(sending.communicate()[0])
            taken += result["taken"]
            first += result["sent"]
        subprocess.run(
            [*COMMAND, "run", "--once", "-c", f"{folder}/siemtap.yml"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
            check=True,
            stderr=subprocess.DEVNULL,
            timeout=300,
        )
        delivered = [
            json.loads(line)["centurylink_ips"]["driver_time"]
            for file in Path(folder, "out").glob("*.ndjson*")
            for line in file.read_bytes().splitlines()
        ]
        missing = set(taken) - set(delivered)
        twice = len(delivered) - len(set(delivered))
        print(
            f"kill -9 every second, {kills} times: {len(taken):,} answered with 204, {len(missing)}"
            f" of them missing, {twice} twice"
        )
        return len(taken), len(missing), twice


def wait_for_spool(folder, number):
    """Wait until the spool has this many lines, or no more have come for ten seconds."""
    lines, since = -1, time.monotonic()
    while lines < number and time.monotonic() - since < 10:
        time.sleep(0.2)
        before, lines = (
            lines,
            sum(
                path.read_bytes().count(b"CEF:0|")
                for path in Path(folder, "data/spool/centurylink_ips").glob("*.spool")
            ),
        )
        since = time.monotonic() if lines > before else since


def udp(rate=20_000, seconds=10):
    """Return (datagrams sent, datagrams in the spool)."""
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
        wait_for_spool(folder, int(sending.stdout.split()[0]))
        receiver.end()
        sent, took = sending.stdout.split()
        arrived = {body[-8:] for body in spooled(folder)}
        print(
            f"UDP, {int(sent) / float(took):,.0f} datagrams/s for {float(took):.0f} s (at least"
            f" 20,000): {int(sent):,} sent, {int(sent) - len(arrived):,} lost"
        )
        return int(sent), len(arrived)


def run(seconds=60, kills=20):
    webhook(seconds=seconds)
    killed(kills=kills)
    udp()


if __name__ == "__main__":
    asyncio.run(send(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
