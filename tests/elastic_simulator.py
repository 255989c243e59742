"""A simulator of the Elasticsearch APIs that siemtap uses, because no package registry has
Elasticsearch. It is strict about media types, NDJSON, data streams and templates.

tests/live/test_difference.py compares the parts that OpenSearch has as well with a real node.
The others follow Elastic's reference: the product header, versioned media types, the failure
store, `ignore_malformed`, privileges, the flood stage as 403."""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from elastic_documents import Documents
from elastic_refusal import Refusal
from elastic_templates import Templates

MEDIA = re.compile(
    r"application/(vnd\.elasticsearch\+)?(json|x-ndjson)(\s*;\s*(compatible-with=[89]|charset=utf-8))?",
    re.I,
)
BUILT_IN = ("logs@mappings", "logs@settings", "ecs@mappings")


class Cluster(Templates, Documents):
    HEADERS = {
        "X-elastic-product": "Elasticsearch",
        "content-type": "application/vnd.elasticsearch+json;compatible-with=8",
    }

    def __init__(
        self,
        version="9.1.4",
        api_key=None,
        privileges=None,
        limit=100 * 1024**2,
        processors=(
            "set",
            "script",
            "rename",
            "remove",
            "append",
            "pipeline",
            "user_agent",
            "geoip",
        ),
        serverless=False,
        distribution=None,
        without_ism=False,
    ):
        self.version, self.api_key, self.limit, self.processors, self.serverless = (
            version,
            api_key,
            limit,
            processors,
            serverless,
        )
        self.missing_rights = set(privileges or ())
        self.components = {name: {"template": {}} for name in BUILT_IN}
        self.templates, self.pipelines, self.streams, self.failed = {}, {}, {}, {}
        self.distribution, self.without_ism, self.ism_policies = distribution, without_ism, {}
        # this many requests get 429; every write is rejected by the flood stage
        self.busy, self.blocked = 0, False
        self.lock = threading.RLock()

    def answer(self, method, path, query, headers, body):
        if self.api_key and headers.get("authorization") != f"ApiKey {self.api_key}":
            raise Refusal(
                401, "security_exception", "unable to authenticate with provided credentials"
            )
        for name in ("accept", "content-type"):
            accepted_type = headers.get(name)
            if (
                accepted_type
                and not all(
                    MEDIA.fullmatch(part.strip())
                    for part in accepted_type.split(",")
                    if "*/*" not in part
                )
                and (name == "accept" or body)
            ):
                raise Refusal(
                    406 if name == "content-type" else 400,
                    "media_type_header_exception",
                    f"Invalid media-type value on headers [{name}]",
                )
        # http.max_initial_line_length, 4 KiB by default; the query is a part of the line
        if len(path) + len(urlencode(query, doseq=True)) + 16 > 4096:
            raise Refusal(
                400,
                "too_long_http_line_exception",
                "An HTTP line is larger than 4096 bytes.",
            )
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if len(body) > self.limit:
            raise Refusal(413, "content_too_long_exception", "entity content is too long")
        for pattern, verb in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in verb[0]:
                with self.lock:
                    return 200, getattr(self, verb[1])(
                        method, *map(unquote, match.groups()), query=query, body=body
                    )
        raise Refusal(
            400,
            "illegal_argument_exception",
            f"no handler found for uri [{path}] and method [{method}]",
        )


ROUTES = [
    (r"/", (("GET", "HEAD"), "root")),
    (r"/_nodes/ingest", (("GET",), "nodes")),
    (r"/_security/user/_has_privileges", (("POST",), "privileges")),
    (r"/_ingest/pipeline/([^/]+)", (("GET", "PUT"), "pipeline")),
    (r"/_component_template/([^/]+)", (("GET", "PUT"), "component")),
    (r"/_index_template/([^/]+)", (("GET", "HEAD", "PUT"), "template")),
    (r"/_plugins/_ism/policies/([^/]+)", (("GET", "PUT"), "ism")),
    (r"/_bulk", (("POST", "PUT"), "bulk")),
    (r"/([^/]+)/_refresh", (("POST", "GET"), "refresh")),
    (r"/([^/]+)/_search", (("POST", "GET"), "search")),
    (r"/([^/]+)/_rollover", (("POST",), "rollover")),
    (r"/([^/]+)/_create/([^/]+)", (("PUT", "POST"), "create")),
    (r"/([^/]+)/_delete_by_query", (("POST",), "delete_by_query")),
]


class Server:
    def __init__(self, cluster):
        self.cluster, self.cut = cluster, 0  # this many answers are truncated

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(handler):
                split = urlsplit(handler.path)
                body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
                try:
                    status, answer_body = cluster.answer(
                        handler.command,
                        split.path,
                        parse_qs(split.query),
                        {name.lower(): value for name, value in handler.headers.items()},
                        body,
                    )
                except Refusal as refusal:
                    status, answer_body = refusal.status, refusal.body
                text = (
                    answer_body
                    if isinstance(answer_body, bytes)
                    else json.dumps(answer_body).encode()
                )
                handler.send_response(status)
                for name, value in cluster.HEADERS.items():
                    handler.send_header(name, value)
                handler.send_header("content-length", str(len(text)))
                handler.end_headers()
                if self.cut and split.path == "/_bulk":
                    self.cut -= 1
                    handler.wfile.write(text[: len(text) // 2])
                    handler.close_connection = True
                elif handler.command != "HEAD":
                    handler.wfile.write(text)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = respond

            def log_message(handler, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
