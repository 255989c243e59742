"""The HTTP client of the agent's cel input, between a program and a vendor's simulator.

Beats @00f3c215, x-pack/filebeat/input/cel/input.go, newClient: hashicorp's retryablehttp with
DefaultRetryPolicy and DefaultBackoff. A request without an answer, and one that is answered with 429
or 5xx (but 501), is sent again, up to `max_attempts` times; Retry-After of a 429 or 503 is obeyed.
The program sees the last answer only (retryErrorHandler)."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

LEFT_OUT = {"connection", "content-length", "transfer-encoding", "content-encoding", "host"}


def is_retried(status):
    return status == 429 or (status >= 500 and status != 501)


class Retrying:
    """A server that stands for `server` and sends each request as the client does. `waits`: the
    seconds that it would have waited. It does not wait itself.
    """

    def __init__(self, server, max_attempts=5, wait_min=1.0, wait_max=60.0):
        self.simulated, self.upstream = server.simulated, server.url
        self.max_attempts, self.wait_min, self.wait_max = max_attempts, wait_min, wait_max
        self.waits = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                reply = outer.send(self.command, self.path, dict(self.headers), body)
                if reply is None:
                    self.connection.close()
                    return
                self.send_response(reply.status_code)
                for name, value in reply.headers.items():
                    if name.lower() not in LEFT_OUT:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = self.upstream.replace(
            self.upstream.split("/")[2], f"127.0.0.1:{self.http.server_port}"
        )
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def send(self, method, path, headers, body):
        """Send a request until it is answered, or the attempts are used up; None without an
        answer."""
        base = "/".join(self.upstream.split("/")[:3])
        kept = {name: value for name, value in headers.items() if name.lower() not in LEFT_OUT}
        for attempt in range(self.max_attempts + 1 if self.max_attempts > 1 else 1):
            try:
                reply = requests.request(
                    method, base + path, headers=kept, data=body, timeout=60, allow_redirects=False
                )
            except requests.RequestException:
                reply = None
            if reply is not None and not is_retried(reply.status_code):
                break
            wait = min(self.wait_max, self.wait_min * 2**attempt)
            if reply is not None and reply.status_code in (429, 503):
                wait = float(reply.headers.get("Retry-After", wait))
            self.waits.append(wait)
        return reply

    def close(self):
        self.http.shutdown()
        self.http.server_close()
