"""A bulk server that answers 201 to every document and stores none, to measure the shipper without
the cost of a cluster; and an HTTP Event Collector that answers 200, and acknowledges at once.

usage: python tests/live/null_bulk.py

Prints its URL; GET /slow?seconds=N makes every bulk request take that long, GET /documents says how
many documents were taken. `null_bulk` runs it as a process of its own.
"""

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import zlib
from typing import NamedTuple

HEAD = (
    b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type:"
    b" application/vnd.elasticsearch+json;compatible-with=8\r\ncontent-length: %d\r\n\r\n"
)
slow = 0.0
taken = []  # the documents of each bulk request
numbers = itertools.count()  # of requests to be acknowledged


def serve(peer):
    global slow
    stream = peer.makefile("rb")
    while line := stream.readline():
        headers = {}
        while (header := stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get(b"content-length", 0)))
        answer = b"{}"
        if b"/_bulk" in line:
            time.sleep(slow)
            if headers.get(b"content-encoding") == b"gzip":
                body = zlib.decompress(body, 31)
            documents = body.count(b"\n") // 2
            taken.append(documents)
            answer = (
                b'{"errors":false,"items":['
                + b",".join([b'{"create":{"status":201}}'] * documents)
                + b"]}"
            )
        elif b"/services/collector/event" in line:
            time.sleep(slow)
            answer = b'{"text":"Success","code":0}'
            if b"x-splunk-request-channel" in headers:
                answer = b'{"text":"Success","code":0,"ackId":%d}' % next(numbers)
        elif b"/services/collector/ack" in line:
            ids = json.loads(body)["acks"]
            answer = json.dumps({"acks": {str(id): True for id in ids}}).encode()
        elif b"/documents" in line:
            answer = b"%d" % sum(taken)
        elif b"/slow?seconds=" in line:
            slow = float(line.split(b"seconds=")[1].split()[0])
        elif b"_search" in line:
            answer = (
                b'{"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},'
                b'"hits":{"hits":[]}}'
            )
        elif b"_refresh" in line:
            answer = b'{"_shards":{"failed":0}}'
        peer.sendall(HEAD % len(answer) + answer)


class Sink(NamedTuple):
    """The server, as a process."""

    url: str
    pid: int


@contextlib.contextmanager
def null_bulk():
    """Run the server; yield a Sink."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        yield Sink(process.stdout.readline().strip(), process.pid)
    finally:
        process.kill()
        process.communicate()


def main():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
