"""Elasticsearch, as far as siemtap meets it, where no registry has the real one: strict about media
types, NDJSON, data streams, templates.

What it shares with OpenSearch is held to a real node by tests/live/test_difference.py; the rest is
what Elastic's reference says: the product header, versioned media types, the failure store,
`ignore_malformed`, privileges, the flood stage as 403.
"""

from __future__ import annotations

import fnmatch
import gzip
import ipaddress
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

MEDIA = re.compile(
    r"application/(vnd\.elasticsearch\+)?(json|x-ndjson)(\s*;\s*(compatible-with=[89]|charset=utf-8))?",
    re.I,
)
BUILT_IN = ("logs@mappings", "logs@settings", "ecs@mappings")
TEMPLATE_KEYS = {
    "index_patterns",
    "priority",
    "data_stream",
    "composed_of",
    "template",
    "_meta",
    "ignore_missing_component_templates",
    "version",
    "allow_auto_create",
}
INNER_KEYS = {"settings", "mappings", "aliases", "lifecycle", "data_stream_options"}


class Refusal(Exception):
    def __init__(self, status, kind, reason):
        super().__init__(reason)
        self.status, self.body = (
            status,
            (
                {"error": {"root_cause": [], "type": kind, "reason": reason}, "status": status}
                if kind
                else {}
            ),
        )


class Cluster:
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
        # so many requests get 429; every write meets the flood stage
        self.busy, self.blocked = 0, False
        self.lock = threading.RLock()

    # Requests

    def answer(self, method, path, query, headers, body):
        if self.api_key and headers.get("authorization") != f"ApiKey {self.api_key}":
            raise Refusal(
                401, "security_exception", "unable to authenticate with provided credentials"
            )
        for name in ("accept", "content-type"):
            said = headers.get(name)
            if (
                said
                and not all(
                    MEDIA.fullmatch(part.strip()) for part in said.split(",") if "*/*" not in part
                )
                and (name == "accept" or body)
            ):
                raise Refusal(
                    406 if name == "content-type" else 400,
                    "media_type_header_exception",
                    f"Invalid media-type value on headers [{name}]",
                )
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if len(body) > self.limit:
            raise Refusal(413, "content_too_long_exception", "entity content is too long")
        for pattern, verb in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method in verb[0]:
                with self.lock:
                    return 200, getattr(self, verb[1])(
                        method, *map(unquote, found.groups()), query=query, body=body
                    )
        raise Refusal(
            400,
            "illegal_argument_exception",
            f"no handler found for uri [{path}] and method [{method}]",
        )

    def root(self, method, query, body):
        return {
            "name": "es",
            "cluster_name": "es",
            "version": {
                "number": self.version,
                "build_flavor": "serverless" if self.serverless else "default",
                **({"distribution": self.distribution} if self.distribution else {}),
            },
            "tagline": "You Know, for Search",
        }

    def nodes(self, method, query, body):
        return {
            "nodes": {
                "one": {"ingest": {"processors": [{"type": name} for name in self.processors]}}
            }
        }

    def privileges(self, method, query, body):
        asked = json.loads(body)
        cluster = {name: name not in self.missing_rights for name in asked["cluster"]}
        index = {
            name: {right: right not in self.missing_rights for right in part["privileges"]}
            for part in asked["index"]
            for name in part["names"]
        }
        return {
            "has_all_requested": (
                all(cluster.values()) and all(all(rights.values()) for rights in index.values())
            ),
            "cluster": cluster,
            "index": index,
        }

    def pipeline(self, method, name, query, body):
        if method == "PUT":
            said = json.loads(body)
            for step in said["processors"]:
                kind = next(iter(step))
                if kind not in self.processors:
                    raise Refusal(
                        400, "parse_exception", f"No processor type exists with name [{kind}]"
                    )
            self.pipelines[name] = said
            return {"acknowledged": True}
        return self._named(self.pipelines, name, lambda found: found)

    def component(self, method, name, query, body):
        if method == "PUT":
            said = json.loads(body)
            self._check_inner(said["template"])
            self.components[name] = said
            return {"acknowledged": True}
        return self._named(
            self.components,
            name,
            lambda found: {
                "component_templates": [
                    {"name": name, "component_template": found[name]} for name in found
                ]
            },
        )

    def template(self, method, name, query, body):
        if method == "PUT":
            said = json.loads(body)
            if set(said) - TEMPLATE_KEYS:
                raise Refusal(
                    400,
                    "x_content_parse_exception",
                    f"[index_template] unknown field {sorted(set(said) - TEMPLATE_KEYS)}",
                )
            self._check_inner(said.get("template", {}))
            lacking = (
                set(said.get("composed_of", ()))
                - set(self.components)
                - set(said.get("ignore_missing_component_templates", ()))
            )
            if lacking:
                raise Refusal(
                    400,
                    "invalid_index_template_exception",
                    f"index_template [{name}] invalid, cause [index template [{name}] specifies"
                    f" component templates {sorted(lacking)} that do not exist]",
                )
            for other, there in self.templates.items():
                if (
                    other != name
                    and there["priority"] == said["priority"]
                    and set(there["index_patterns"]) & set(said["index_patterns"])
                ):
                    raise Refusal(
                        400,
                        "illegal_argument_exception",
                        f"index template [{name}] has index patterns matching patterns from"
                        f" existing templates [{other}] with the same priority",
                    )
            index = said.get("template", {}).get("settings", {}).get("index", {})
            self.templates[name] = {
                **said,
                "template": {**said.get("template", {}), "settings": {"index": _texts(index)}},
                "data_stream": {"hidden": False, "allow_custom_routing": False},
            }
            return {"acknowledged": True}
        return self._named(
            self.templates,
            name,
            lambda found: {
                "index_templates": [{"name": name, "index_template": found[name]} for name in found]
            },
        )

    def _check_inner(self, said):
        if set(said) - INNER_KEYS:
            raise Refusal(
                400,
                "x_content_parse_exception",
                f"[template] unknown field {sorted(set(said) - INNER_KEYS)}",
            )
        major, minor = map(int, self.version.split(".")[:2])
        if "data_stream_options" in said and not (
            (8, 19) <= (major, minor) < (9, 0) or (major, minor) >= (9, 1)
        ):
            raise Refusal(
                400, "x_content_parse_exception", "[template] unknown field [data_stream_options]"
            )

    def ism(self, method, name, query, body):
        """OpenSearch's: a policy that is there is only written with the number of what was read."""
        if not self.ism_policies and self.without_ism:
            raise Refusal(400, "illegal_argument_exception", "no handler found for uri")
        there = self.ism_policies.get(name)
        if method == "GET":
            if not there:
                raise Refusal(404, "status_exception", "Policy not found")
            return there
        number = there["_seq_no"] if there else None
        if query.get("if_seq_no", [None])[0] != (str(number) if there else None):
            raise Refusal(409, "version_conflict_engine_exception", f"[{name}]: version conflict")
        said = json.loads(body)["policy"]
        for state in said["states"]:
            for action in state["actions"]:
                action["retry"] = {"count": 3, "backoff": "exponential", "delay": "1m"}
        self.ism_policies[name] = {
            "_id": name,
            "_version": 1,
            "_seq_no": (number or 0) + 7,
            "_primary_term": 1,
            "policy": {"policy_id": name, "schema_version": 21, **said},
        }
        return self.ism_policies[name]

    def _named(self, store, name, shape):
        found = {key: value for key, value in store.items() if fnmatch.fnmatch(key, name)}
        if not found and store is self.pipelines:
            raise Refusal(404, "", "")
        if not found:
            raise Refusal(404, "resource_not_found_exception", f"[{name}] not found")
        return shape(found)

    # Documents

    def bulk(self, method, query, body):
        if self.busy:
            self.busy -= 1
            raise Refusal(
                429,
                "es_rejected_execution_exception",
                "rejected execution of coordinating operation",
            )
        if not body:
            raise Refusal(400, "parse_exception", "request body is required")
        if not body.endswith(b"\n"):
            raise Refusal(
                400,
                "illegal_argument_exception",
                "The bulk request must be terminated by a newline [\\n]",
            )
        lines = body.split(b"\n")[:-1]
        items = []
        while lines:
            try:
                ((verb, meta),) = json.loads(lines.pop(0)).items()
                assert verb in ("create", "index", "delete", "update")
            except (ValueError, AssertionError):
                raise Refusal(
                    400, "illegal_argument_exception", "Malformed action/metadata line [1]"
                ) from None
            items.append({verb: self._write(verb, meta, lines.pop(0))})
        return {
            "took": 1,
            "errors": any("error" in item for one in items for item in one.values()),
            "items": items,
        }

    def _write(self, verb, meta, line):
        index, id = meta["_index"], meta.get("_id")

        def refuse(status, kind, reason, cause=None):
            return {
                "_index": index,
                "_id": id,
                "status": status,
                "error": {
                    "type": kind,
                    "reason": reason,
                    **({"caused_by": {"type": cause, "reason": cause}} if cause else {}),
                },
            }

        if self.blocked:
            return refuse(
                403,
                "cluster_block_exception",
                f"index [{index}] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage"
                " watermark, index has read-only-allow-delete block];",
            )
        stream = self.stream_of(index)
        if stream is None:
            return refuse(
                404,
                "index_not_found_exception",
                f"no such index [{index}] and auto_create is not allowed",
            )
        if verb != "create":
            return refuse(
                400,
                "illegal_argument_exception",
                "only write ops with an op_type of create are allowed in data streams",
            )
        try:
            document = json.loads(line)
            if not isinstance(document, dict):
                raise ValueError
        except ValueError:
            return refuse(400, "document_parsing_exception", "failed to parse")
        if "@timestamp" not in document:
            return refuse(
                400,
                "document_parsing_exception",
                "failed to parse",
                "data stream timestamp field [@timestamp] is missing",
            )
        if id in stream["backing"][-1]:
            return refuse(
                409,
                "version_conflict_engine_exception",
                f"[{id}]: version conflict, document already exists (current version [1])",
            )
        wrong = self._wrong(stream, document)
        if wrong and stream["failure_store"] and not stream["ignores"]:
            self.failed.setdefault(index, []).append(document)
            return {
                "_index": f".fs-{index}-000001",
                "_id": None,
                "status": 201,
                "result": "created",
                "failure_store": "used",
            }
        if wrong and not stream["ignores"]:
            return refuse(400, "document_parsing_exception", f"failed to parse field [{wrong}]")
        stream["backing"][-1][id] = document
        if wrong:
            stream["ignored"].add(id)
        return {
            "_index": f".ds-{index}-{len(stream['backing']):06d}",
            "_id": id,
            "status": 201,
            "result": "created",
        }

    def stream_of(self, name):
        """The data stream, made if a template wants it."""
        if name in self.streams or not re.fullmatch(r"logs-[^A-Z*]+-[^A-Z*-]+", name):
            return self.streams.get(name)
        fit = sorted(
            (
                there
                for there in self.templates.values()
                if any(fnmatch.fnmatch(name, pattern) for pattern in there["index_patterns"])
            ),
            key=lambda there: there["priority"],
        )
        template = (
            fit[-1]
            if fit
            else {"composed_of": ["logs@mappings", "logs@settings", "ecs@mappings"], "template": {}}
        )
        kinds = {}
        for part in [
            *(
                self.components.get(name, {}).get("template", {})
                for name in template["composed_of"]
            ),
            template["template"],
        ]:
            kinds.update(_kinds(part.get("mappings", {}).get("properties", {})))
        ignores = (
            str(
                template["template"]
                .get("settings", {})
                .get("index", {})
                .get("mapping", {})
                .get("ignore_malformed", "logs@settings" in template["composed_of"])
            ).lower()
            == "true"
        )
        self.streams[name] = {
            "backing": [{}],
            "kinds": kinds,
            "ignored": set(),
            "ignores": ignores,
            "failure_store": (
                template["template"]
                .get("data_stream_options", {})
                .get("failure_store", {})
                .get("enabled", False)
            ),
        }
        return self.streams[name]

    def _wrong(self, stream, document):
        for path, value in _flat(document):
            kind = stream["kinds"].get(path)
            try:
                if kind == "ip":
                    ipaddress.ip_address(value)
                elif kind == "long":
                    int(value)
            except ValueError:
                return path
        return None

    def refresh(self, method, index, query, body):
        return {"_shards": {"failed": 0}}

    def rollover(self, method, index, query, body):
        self.streams[index]["backing"].append({})
        return {"acknowledged": True, "rolled_over": True}

    def create(self, method, index, id, query, body):
        made = self._write("create", {"_index": index, "_id": id}, body)
        if "error" in made:
            raise Refusal(made["status"], made["error"]["type"], made["error"]["reason"])
        return made

    def delete_by_query(self, method, index, query, body):
        wanted = set(json.loads(body)["query"]["ids"]["values"])
        gone = [
            backing.pop(id)
            for backing in self.streams[index]["backing"]
            for id in list(backing)
            if id in wanted
        ]
        return {"deleted": len(gone)}

    def search(self, method, index, query, body):
        said = json.loads(body)
        if "read" in self.missing_rights:
            raise Refusal(
                403, "security_exception", "action [indices:data/read/search] is unauthorized"
            )
        if said.get("size", 10) > 10_000:
            raise Refusal(400, "illegal_argument_exception", "Result window is too large")
        rows = []
        for name, stream in self.streams.items():
            if any(fnmatch.fnmatch(name, pattern) for pattern in index.split(",")):
                rows += [
                    (place, id, document, id in stream["ignored"])
                    for place, backing in enumerate(stream["backing"])
                    for id, document in backing.items()
                    if _fits(said["query"], id, document)
                ]
        rows.sort(key=lambda row: (row[2]["@timestamp"], row[1], row[0]))
        after = said.get("search_after")
        rows = [row for row in rows if not after or [row[2]["@timestamp"], row[1], row[0]] > after][
            : said.get("size", 10)
        ]
        return {
            "took": 1,
            "timed_out": False,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "hits": {
                "hits": [
                    {
                        "_id": id,
                        "_source": document,
                        "sort": [document["@timestamp"], id, place],
                        **({"_ignored": ["?"]} if ignored else {}),
                    }
                    for place, id, document, ignored in rows
                ]
            },
        }


ROUTES = [
    (r"/", (("GET", "HEAD"), "root")),
    (r"/_nodes/ingest", (("GET",), "nodes")),
    (r"/_security/user/_has_privileges", (("POST",), "privileges")),
    (r"/_ingest/pipeline/([^/]+)", (("GET", "PUT"), "pipeline")),
    (r"/_component_template/([^/]+)", (("GET", "PUT"), "component")),
    (r"/_index_template/([^/]+)", (("GET", "PUT"), "template")),
    (r"/_plugins/_ism/policies/([^/]+)", (("GET", "PUT"), "ism")),
    (r"/_bulk", (("POST", "PUT"), "bulk")),
    (r"/([^/]+)/_refresh", (("POST", "GET"), "refresh")),
    (r"/([^/]+)/_search", (("POST", "GET"), "search")),
    (r"/([^/]+)/_rollover", (("POST",), "rollover")),
    (r"/([^/]+)/_create/([^/]+)", (("PUT", "POST"), "create")),
    (r"/([^/]+)/_delete_by_query", (("POST",), "delete_by_query")),
]


def _fits(query, id, document):
    if "ids" in query:
        return id in query["ids"]["values"]
    if "match_all" in query:
        return True
    for part in query["bool"]["filter"]:
        ((kind, said),) = part.items()
        ((path, wanted),) = said.items()
        value = dict(_flat(document)).get(path)
        if (kind == "range" and not wanted["gte"] <= value < wanted["lt"]) or (
            kind == "term" and value != wanted
        ):
            return False
    return True


def _flat(value, path=""):
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _flat(below, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for below in value:
            yield from _flat(below, path)
    else:
        yield path, value


def _kinds(properties, path=""):
    for name, spec in properties.items():
        yield from (
            _kinds(spec["properties"], f"{path}{name}.")
            if "properties" in spec
            else [(f"{path}{name}", spec["type"])]
        )


def _texts(value):
    return (
        {name: _texts(below) for name, below in value.items()}
        if isinstance(value, dict)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


class Server:
    def __init__(self, cluster):
        self.cluster, self.cut = cluster, 0  # so many answers are cut off in the middle

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(handler):
                split = urlsplit(handler.path)
                body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
                try:
                    status, said = cluster.answer(
                        handler.command,
                        split.path,
                        parse_qs(split.query),
                        {name.lower(): value for name, value in handler.headers.items()},
                        body,
                    )
                except Refusal as refusal:
                    status, said = refusal.status, refusal.body
                text = said if isinstance(said, bytes) else json.dumps(said).encode()
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

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one

            def log_message(handler, *words):
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
