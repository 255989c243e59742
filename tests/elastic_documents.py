"""The part of the simulated search cluster that has data streams and documents."""

import fnmatch
import ipaddress
import json
import re

from elastic_refusal import Refusal

from siemtap.core.paths import leaves, same_path
from siemtap.render.schema_walk import walk


class Documents:
    """The data streams of a cluster. `Cluster` has the attributes."""

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
            "errors": any("error" in item for item in items for item in item.values()),
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
        """Return the data stream; create it if a template matches."""
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
            mappings = {"properties": {}, **part.get("mappings", {})}
            rows = walk(mappings)
            kinds.update((row.path, row.schema["type"]) for row in rows if not row.is_object)
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
        for path, value in leaves(document, same_path):
            kind = stream["kinds"].get(path)
            try:
                if kind == "ip":
                    ipaddress.ip_address(value)
                elif kind == "long":
                    int(value)
            except ValueError:
                return path
        return None

    def _refuse_pattern(self, index):
        """OpenSearch's security plugin refuses a pattern that also matches an index which the user
        may not read (opensearch-project/security#3905, do_not_fail_on_forbidden: false)."""
        if "pattern" in self.missing_rights and "*" in index:
            raise Refusal(403, "security_exception", f"no permissions for {index}")

    def refresh(self, method, index, query, body):
        self._refuse_pattern(index)
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
        expected = set(json.loads(body)["query"]["ids"]["values"])
        gone = [
            backing.pop(id)
            for backing in self.streams[index]["backing"]
            for id in list(backing)
            if id in expected
        ]
        return {"deleted": len(gone)}

    def search(self, method, index, query, body):
        search = json.loads(body)
        self._refuse_pattern(index)
        if "read" in self.missing_rights:
            raise Refusal(
                403, "security_exception", "action [indices:data/read/search] is unauthorized"
            )
        if search.get("size", 10) > 10_000:
            raise Refusal(400, "illegal_argument_exception", "Result window is too large")
        rows = []
        for name, stream in self.streams.items():
            if any(fnmatch.fnmatch(name, pattern) for pattern in index.split(",")):
                rows += [
                    (place, id, document, id in stream["ignored"])
                    for place, backing in enumerate(stream["backing"])
                    for id, document in backing.items()
                    if _fits(search.get("query", {"match_all": {}}), id, document)
                ]
        rows.sort(key=lambda row: (row[2]["@timestamp"], row[1], row[0]))
        after = search.get("search_after")
        rows = [row for row in rows if not after or [row[2]["@timestamp"], row[1], row[0]] > after][
            : search.get("size", 10)
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


def _fits(query, id, document):
    if "ids" in query:
        return id in query["ids"]["values"]
    if "match_all" in query:
        return True
    for part in query["bool"]["filter"]:
        ((kind, condition),) = part.items()
        ((path, expected),) = condition.items()
        value = dict(leaves(document, same_path)).get(path)
        if (kind == "range" and not expected["gte"] <= value < expected["lt"]) or (
            kind == "term" and value != expected
        ):
            return False
    return True
