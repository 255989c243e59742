"""siemtap beside Filebeat on the same pages: `SIEMTAP_FILEBEAT=…/filebeat ci/bench peers`.

A server in a process of its own has the pages, another is a bulk server that stores nothing. Both
shippers read all pages over HTTP and send every event, in turn, three rounds; what counts is the
CPU of the shipper's process, its start included. Filebeat (7.17.29, input httpjson) splits a page
and parses each record; siemtap maps, names and validates it as well.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bench_records import records
from campaign import start
from search_node import free_port

VARIABLE = "SIEMTAP_FILEBEAT"
PAGES, RECORDS_A_PAGE = 60, 1_000
EVENTS = PAGES * RECORDS_A_PAGE
ROUNDS = 3
LONGEST = 300  # seconds of one run
AT_LEAST = {0: 1.2, 1: 1.5}  # gzip level -> siemtap's events a second over Filebeat's
FILEBEAT = """
filebeat.inputs:
- type: httpjson
  config_version: 2
  interval: 1h
  request.url: {pages}/attacks?page=0
  response.split:
    target: body.data
    keep_parent: false
    split:
      target: body.attacks
      keep_parent: false
  response.pagination:
  - set:
      target: url.value
      value: '[[.last_response.body.next]]'
      fail_on_template_error: true
processors:
- decode_json_fields: {{fields: [message], target: json}}
output.elasticsearch:
  hosts: ["{bulk}"]
  worker: 1
  bulk_max_size: 1600
  compression_level: {level}
  allow_older_versions: true
setup.template.enabled: false
setup.ilm.enabled: false
queue.mem: {{events: 4096, flush.min_events: 1600}}
http: {{enabled: true, port: {port}}}
"""
SIEMTAP = """
path.data: {folder}/data
inputs:
- type: apptrana
  url: {pages}/wafportal/rest
  client_id: x
  client_secret: y
  lookback: {minutes}m
  window: 5m
  concurrency: 4
output.elasticsearch: {{hosts: ["{bulk}"], worker: 1, compression_level: {level}}}
http.port: {port}
"""


def run(rounds=ROUNDS):
    filebeat = os.environ.get(VARIABLE, "")
    if not os.access(filebeat, os.X_OK):
        raise SystemExit(
            f"{VARIABLE} is {filebeat or 'not set'}: set it to the path of a Filebeat 7.17.29 that"
            " can be executed; this benchmark builds none"
        )
    peers = {"filebeat": filebeat_run(filebeat), "siemtap": siemtap_run}
    ratios = {}
    for level in AT_LEAST:
        speeds = {name: [] for name in peers}
        for _ in range(rounds):
            for name, peer in peers.items():
                seconds, mebibytes = peer(level)
                speeds[name].append(EVENTS / seconds)
                print(
                    f"{name:9s} gzip {level}: {EVENTS:,} events, {seconds:5.2f} s of CPU,"
                    f" {EVENTS / seconds:7,.0f} events/s per core, {mebibytes} MiB",
                    flush=True,
                )
        ratios[level] = statistics.median(speeds["siemtap"]) / statistics.median(speeds["filebeat"])
    for level, ratio in ratios.items():
        print(
            f"siemtap over Filebeat, gzip {level}, medians: {ratio:.2f} x (at least"
            f" {AT_LEAST[level]} x, aim 3 x)"
        )


def filebeat_run(filebeat):
    def measured(level):
        with servers() as (pages, bulk), tempfile.TemporaryDirectory() as folder:
            port = free_port()
            config = Path(folder, "filebeat.yml")
            config.write_text(FILEBEAT.format(pages=pages, bulk=bulk, level=level, port=port))
            command = [filebeat, "-c", str(config), "-e", "--strict.perms=false"]
            command += ["--path.data", f"{folder}/data", "--path.logs", f"{folder}/logs"]
            with open(Path(folder, "log"), "w") as log:
                process = subprocess.Popen(
                    command,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env={**os.environ, "GOMAXPROCS": "1"},
                )
                return cost_of(process, port, "libbeat.output.events.acked", Path(folder, "log"))

    return measured


def siemtap_run(level):
    with servers() as (pages, bulk), tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = Path(folder, "siemtap.yml")
        config.write_text(
            SIEMTAP.format(
                folder=folder, pages=pages, bulk=bulk, level=level, port=port, minutes=PAGES * 5
            )
        )
        with open(Path(folder, "log"), "w") as log:
            process = start("run", "-c", str(config), stdout=subprocess.DEVNULL, stderr=log)
            return cost_of(process, port, "output.accepted", Path(folder, "log"))


def cost_of(process, port, counter, log):
    """Wait until a shipper's own counter has all events; return (seconds of its CPU, MiB)."""
    try:
        until = time.monotonic() + LONGEST
        while counted(port, counter) < EVENTS:
            if time.monotonic() > until or process.poll() is not None:
                raise SystemExit(f"not all events were sent:\n{log.read_text()[-2_000:]}")
            time.sleep(0.25)
        return cpu_of(process.pid), peak_memory_of(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def counted(port, counter):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=10) as answer:
            value = json.load(answer)
        for name in counter.split("."):
            value = value[name]
        return value
    except (OSError, KeyError, ValueError):  # it is not up yet
        return 0


def cpu_of(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


@contextmanager
def servers():
    """Start the server of the pages and the bulk server; yield their URLs."""
    programs = [Path(__file__), Path(__file__).with_name("null_bulk.py")]
    processes = [
        subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
        for program in programs
    ]
    try:
        yield tuple(process.stdout.readline().strip() for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def serve():
    """Serve the pages: by number to Filebeat, as the answers to getAttackInfo to siemtap. Each new
    window gets the next page."""
    attacks = records(EVENTS)
    pages, windows = [], {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *values):
            pass

        def answer(self, body):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            self.answer(pages[int(query.get("page", ["0"])[0])])

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.endswith("getAuthToken"):
                self.answer(b'{"access_token":"t","token_type":"Bearer","expires_in":86400}')
                return
            window = int(json.loads(body)["startTime"])
            number = windows.setdefault(window, len(windows))
            nothing = b'{"successMessage":"Success","data":[]}'
            self.answer(pages[number] if number < PAGES else nothing)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    for number in range(PAGES):
        part = attacks[number * RECORDS_A_PAGE : (number + 1) * RECORDS_A_PAGE]
        website = part[0]["websiteName"]
        attacks_of_it = [
            {name: value for name, value in record.items() if name != "websiteName"}
            for record in part
        ]
        page = {
            "successMessage": "Success",
            "data": [{"websiteName": website, "attacks": attacks_of_it}],
        }
        if number + 1 < PAGES:
            page["next"] = f"{url}/attacks?page={number + 1}"
        pages.append(json.dumps(page).encode())
    print(url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
