"""siemtap beside rsyslog (omelasticsearch) and syslog-ng (http, as its elasticsearch-http sends) on
the same syslog lines: `ci/bench syslog`, which unpacks both.

A sender in a process of its own writes the lines of Deep Security by TCP; a bulk server that stores
nothing takes the documents. What counts is the CPU of the relay's process from its start to listen
to the last document. The relays pass a line on with the time and the host of its header; siemtap
writes it to its spool with fsync first, then maps, names and validates it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench_peers import cpu_of, peak_memory_of
from cache import CACHE
from campaign import COMMAND, environment
from null_bulk import null_bulk
from search_node import free_port

LONGEST = 300  # seconds of one run
CASE = Path(__file__).parents[2] / "plugins/centurylink_ips/cases/cef_by_syslog/payload.txt"
RSYSLOG = """
global(workDirectory="{folder}")
module(load="imtcp")
module(load="{module}")
template(name="document" type="list" option.jsonf="on") {{
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="message" name="rawmsg" format="jsonf")
}}
main_queue(queue.type="LinkedList" queue.size="400000" queue.dequeueBatchSize="1600")
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omelasticsearch" server="127.0.0.1" serverport="{bulk}" template="document"
  searchIndex="logs" bulkmode="on" action.resumeRetryCount="-1")
"""
SYSLOG_NG = """@version: 3.38
source s {{ network(ip("127.0.0.1") port({port}) log-iw-size(100000) log-msg-size(65536)); }};
destination d {{
  http(
    url("http://127.0.0.1:{bulk}/_bulk") method("POST") headers("Content-Type: application/x-ndjson")
    body("{{\\"create\\":{{\\"_index\\":\\"logs\\"}}}}\\n$(format-json --scope none @timestamp=${{ISODATE}} host=${{HOST}} message=${{MSGHDR}}${{MSG}})")
    body-suffix("\\n") delimiter("\\n") batch-lines(1600) batch-timeout(200) workers(1)
    log-fifo-size(400000)
  );
}};
log {{ source(s); destination(d); flags(flow-control); }};
"""
SIEMTAP = """
path.data: {folder}/data
http.enabled: false
inputs:
- type: centurylink_ips
  syslog: ["tcp://127.0.0.1:{port}"]
output.elasticsearch: {{hosts: ["http://127.0.0.1:{bulk}"], worker: 1, compression_level: 0}}
"""
SENDER = """
import socket, sys
line = open(sys.argv[1], "rb").readline().rstrip()
out = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
number = int(sys.argv[3])
for start in range(0, number, 500):
    out.sendall(b"".join(b"%b n=%08d\\n" % (line, n) for n in range(start, min(start + 500, number))))
"""


def run(lines=50_000, rounds=3):
    """Print what the lines cost in each relay. `lines`: sent in each round."""
    peers = {"siemtap": siemtap, "rsyslog": rsyslog, "syslog-ng": syslog_ng}
    commands = {}
    for name, peer in peers.items():
        problem = peer_problem(name)
        if problem:
            print(f"{name}: not measured, {problem}; see ci/bench", flush=True)
        else:
            commands[name] = peer
    speeds = {name: [] for name in commands}
    for _ in range(rounds):
        for name, peer in commands.items():
            seconds, mebibytes = measured(peer, lines)
            speeds[name].append(lines / seconds)
            print(
                f"{name}, {lines:,} lines by TCP to a null bulk server: {seconds:.2f} s of CPU,"
                f" {lines / seconds:,.0f} events/s per core, {mebibytes} MiB",
                flush=True,
            )
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, median in medians.items():
        if name != "siemtap":
            print(
                f"{name} ({version(name)}) over siemtap, medians of {rounds}:"
                f" {median / medians['siemtap']:.1f} x as many lines per core"
            )


def peer_problem(name):
    """Return why a peer cannot be measured here; "" if it can."""
    if name == "rsyslog":
        if not shutil.which("rsyslogd"):
            return "rsyslogd is not installed"
        return "" if rsyslog_module() else "its module omelasticsearch is not there"
    if name == "syslog-ng":
        return "" if modules("libhttp.so") else "its module http is not there"
    return ""


def version(name):
    """Return the version that a relay prints."""
    command = ["rsyslogd", "-v"] if name == "rsyslog" else [str(program()), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env=libraries())
    return re.search(r"\d+\.\d[\d.]*", done.stdout)[0].rstrip(".")


def rsyslog_module():
    return next((CACHE / "rsyslog-elasticsearch").rglob("omelasticsearch.so"), None)


def program():
    return CACHE / "syslog-ng-http/usr/sbin/syslog-ng"


def modules(name):
    return next((path.parent for path in (CACHE / "syslog-ng-http").rglob(name)), None)


def libraries():
    """Return the environment of an unpacked program."""
    folders = {str(path.parent) for path in (CACHE / "syslog-ng-http").rglob("*.so*")}
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(sorted(folders))}


def rsyslog(folder, port, bulk):
    text = RSYSLOG.format(folder=folder, port=port, bulk=bulk, module=rsyslog_module())
    path = written(folder, "rsyslog.conf", text)
    return ["rsyslogd", "-n", "-f", path, "-i", f"{folder}/pid"], os.environ


def syslog_ng(folder, port, bulk):
    path = written(folder, "syslog-ng.conf", SYSLOG_NG.format(port=port, bulk=bulk))
    places = [f"--{name}={folder}/{name}" for name in ("persist-file", "pidfile", "control")]
    places.append(f"--module-path={modules('libhttp.so')}")
    return [str(program()), "-F", "--no-caps", "-f", path, *places], libraries()


def siemtap(folder, port, bulk):
    path = written(folder, "siemtap.yml", SIEMTAP.format(folder=folder, port=port, bulk=bulk))
    return [*COMMAND, "run", "-c", path], environment()


def written(folder, name, text):
    path = Path(folder, name)
    path.write_text(text)
    return str(path)


def measured(peer, lines):
    """Return (seconds of CPU, MiB at most) of a relay, from when it listens to the last line."""
    with tempfile.TemporaryDirectory() as folder, null_bulk() as sink:
        port = free_port()
        command, variables = peer(folder, port, int(sink.url.rsplit(":", 1)[1]))
        with open(Path(folder, "log"), "w") as log:
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            wait(process, folder, lambda: is_open(port))
            before = cpu_of(process.pid)
            code = [sys.executable, "-c", SENDER, str(CASE), str(port), str(lines)]
            subprocess.run(code, check=True, timeout=LONGEST)
            wait(process, folder, lambda: documents(sink.url) >= lines)
            return cpu_of(process.pid) - before, peak_memory_of(process.pid)
        finally:
            process.kill()
            process.wait()


def wait(process, folder, condition):
    until = time.monotonic() + LONGEST
    while not condition():
        if time.monotonic() > until or process.poll() is not None:
            raise SystemExit(f"not all lines were sent:\n{Path(folder, 'log').read_text()[-2000:]}")
        time.sleep(0.1)


def is_open(port):
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def documents(url):
    """Return how many documents the bulk server has taken."""
    with urllib.request.urlopen(f"{url}/documents", timeout=30) as answer:
        return int(answer.read())
