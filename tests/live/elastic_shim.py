"""A proxy that makes OpenSearch look like Elasticsearch: it translates media types, adds the product
header, and replaces processors that OpenSearch lacks with one that never runs: a benchmark counts
them."""

import http.server
import json
import re
import threading

import requests
from ingest import UNKNOWN_HERE, adapted

LOOKED_UP = {*UNKNOWN_HERE, "user_agent"}  # not compared: texts that differ between the servers

NEVER = {"drop": {"if": "false"}}
UNKNOWN = re.compile("&?include_unloaded_segments=[a-z]+")  # of a request for statistics
PLAIN = re.compile(r"application/vnd\.elasticsearch\+([a-z-]+)\s*;\s*compatible-with=\d+")


class Shim(http.server.ThreadingHTTPServer):
    def __init__(self, node_url):
        self.node_url = node_url
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.command == "PUT" and self.path.startswith("/_ingest/pipeline/"):
            pipeline = json.loads(body)
            body = json.dumps(
                {
                    **pipeline,
                    "processors": [
                        NEVER if LOOKED_UP & set(step) else adapted(step)
                        for step in pipeline["processors"]
                    ],
                }
            ).encode()
        headers = {
            name: PLAIN.sub(r"application/\1", value)
            for name, value in self.headers.items()
            if name.lower() in ("content-type", "accept")
        }
        path = UNKNOWN.sub("", self.path)
        answer = requests.request(
            self.command, self.server.node_url + path, data=body, headers=headers, timeout=300
        )
        content = answer.content
        if self.path == "/":  # the version that the Elasticsearch client accepts
            info = answer.json()
            content = json.dumps(
                {
                    **info,
                    "version": {**info["version"], "number": "9.1.0", "build_flavor": "default"},
                }
            ).encode()
        self.send_response(answer.status_code)
        for name, value in (
            ("Content-Type", answer.headers.get("Content-Type", "application/json")),
            ("Content-Length", str(len(content))),
            ("X-Elastic-Product", "Elasticsearch"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionResetError:
            self.close_connection = True

    def log_message(self, *arguments):
        pass
