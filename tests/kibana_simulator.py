"""Kibana's API for saved objects, strict: what a real one refuses is refused, and what it takes is
looked through, string by string.

No registry has Kibana. What it demands is from Elastic's reference: the header kbn-xsrf, a form
with one NDJSON file, objects whose version is not newer than its own, references that lead
somewhere.
"""

import email
import email.policy
import json
import re

from elastic_simulator import Refusal

NEEDED = {
    "index-pattern": {"title"},
    "search": {"title", "columns", "sort", "kibanaSavedObjectMeta"},
    "dashboard": {
        "title",
        "description",
        "panelsJSON",
        "optionsJSON",
        "kibanaSavedObjectMeta",
        "timeRestore",
        "version",
    },
}
LENS = {
    "lnsMetric": ("metricAccessor",),
    "lnsXY": ("layers",),
    "lnsPie": ("layers",),
    "lnsDatatable": ("columns",),
}


class Kibana:
    HEADERS = {"kbn-name": "kibana", "content-type": "application/json"}

    def __init__(self, version="8.9.0", space="", authorization=None):
        self.version, self.base, self.authorization = (
            version,
            f"/s/{space}" if space else "",
            authorization,
        )
        self.saved, self.imports = {}, 0

    def answer(self, method, path, query, headers, body):
        if self.authorization and headers.get("authorization") != self.authorization:
            raise Refusal(401, "Unauthorized", "[security_exception] unable to authenticate")
        if not path.startswith(f"{self.base}/api/"):
            raise Refusal(404, "Not Found", "Not Found")
        path = path[len(self.base) :]
        if method == "POST" and not headers.get("kbn-xsrf"):
            raise Refusal(400, "Bad Request", "Request must contain a kbn-xsrf header.")
        if (method, path) == ("GET", "/api/status"):
            return 200, {
                "name": "kibana",
                "version": {"number": self.version},
                "status": {"overall": {"level": "available"}},
            }
        if (method, path) == ("POST", "/api/saved_objects/_export"):
            return self.export(json.loads(body))
        if (method, path) == ("POST", "/api/saved_objects/_import"):
            return self.take(query, headers, body)
        raise Refusal(404, "Not Found", "Not Found")

    def export(self, asked):
        missing = [one for one in asked["objects"] if (one["type"], one["id"]) not in self.saved]
        if missing:
            errors = [
                {
                    **one,
                    "error": {
                        "statusCode": 404,
                        "error": "Not Found",
                        "message": f"Saved object [{one['type']}/{one['id']}] not found",
                    },
                }
                for one in missing
            ]
            return 400, {
                "statusCode": 400,
                "error": "Bad Request",
                "message": "Error fetching objects to export",
                "attributes": {"objects": errors},
            }
        return 200, b"\n".join(
            json.dumps(self.saved[one["type"], one["id"]]).encode() for one in asked["objects"]
        )

    def take(self, query, headers, body):
        form = email.message_from_bytes(
            f"Content-Type: {headers['content-type']}\r\n\r\n".encode() + body,
            policy=email.policy.HTTP,
        )
        parts = list(form.iter_parts()) if form.is_multipart() else []
        if (
            len(parts) != 1
            or parts[0].get_param("name", header="content-disposition") != "file"
            or not parts[0].get_filename().endswith(".ndjson")
        ):
            raise Refusal(415, "Unsupported Media Type", "one file of NDJSON is needed")
        self.imports += 1
        objects = [
            json.loads(line) for line in parts[0].get_payload(decode=True).decode().splitlines()
        ]
        fresh = {(one["type"], one["id"]): one for one in objects}
        errors = []
        for one in objects:
            problem = self.problem(one, {*fresh, *self.saved}) or (
                "conflict"
                if (one["type"], one["id"]) in self.saved and query.get("overwrite") != ["true"]
                else ""
            )
            if problem:
                errors.append({"type": one["type"], "id": one["id"], "error": {"type": problem}})
        if errors:
            return 200, {"success": False, "successCount": 0, "errors": errors}
        for one in fresh.values():  # Kibana keeps its own spelling of them
            self.saved[one["type"], one["id"]] = {
                **one,
                "attributes": {**one["attributes"], "fieldAttrs": "{}"},
                "typeMigrationVersion": "10.2.0",
                "managed": False,
            }
        return 200, {"success": True, "successCount": len(objects)}

    def problem(self, one, there):
        """Why an object cannot be taken; "" if it can."""
        if not {
            "type",
            "id",
            "attributes",
            "references",
            "coreMigrationVersion",
            "typeMigrationVersion",
        } >= set(one):
            return "unknown_keys"
        if number(one["typeMigrationVersion"]) > number(self.version) or number(
            one["coreMigrationVersion"]
        ) > number(self.version):
            return "newer_version"
        if not NEEDED[one["type"]] <= set(one["attributes"]):
            return "missing_attributes"
        if any(
            (reference["type"], reference["id"]) not in there for reference in one["references"]
        ):
            return "missing_references"
        return (
            ""
            if named(one) == {reference["name"] for reference in one["references"]}
            else "references_and_their_names_differ"
        )


def number(version):
    return tuple(map(int, version.split(".")))


def source(one):
    meta = one["attributes"].get("kibanaSavedObjectMeta")
    return json.loads(meta["searchSourceJSON"]) if meta else {"filter": []}


def panels(one):
    return json.loads(one["attributes"].get("panelsJSON", "[]"))


def named(one):
    """Every name of a reference that the object's inside asks for."""
    said = source(one)
    names = {filter["meta"]["indexRefName"] for filter in said["filter"]} | (
        {said["indexRefName"]} if "indexRefName" in said else set()
    )
    taken = set()
    for panel in panels(one):
        id, grid = panel["panelIndex"], panel["gridData"]
        if grid["i"] != id or id in {other for other, _ in taken} or grid["x"] + grid["w"] > 48:
            raise Refusal(400, "Bad Request", f"panel {id}: grid")
        taken.add((id, grid["y"]))
        if panel["type"] == "search":
            names.add(f"{id}:{panel['panelRefName']}")
        else:
            names |= {
                f"{id}:{reference['name']}"
                for reference in panel["embeddableConfig"]["attributes"]["references"]
            }
            lens(panel["embeddableConfig"]["attributes"])
    return names


def lens(said):
    """A panel by itself: every column that the picture names is there, in the order that says
    which is asked first."""
    state = said["state"]
    ((layer, inner),) = state["datasourceStates"]["formBased"]["layers"].items()
    drawn = json.dumps(state["visualization"])
    columns = inner["columns"]
    used = {match for match in re.findall(r'"([a-z]+)"', drawn) if match in columns}
    problems = [
        set(inner["columnOrder"]) != set(columns),
        used != set(columns),
        f'"layerId": "{layer}"' not in drawn,
        said["references"][0]["name"] != f"indexpattern-datasource-layer-{layer}",
        not set(LENS[said["visualizationType"]]) <= set(state["visualization"]),
        [columns[id]["isBucketed"] for id in inner["columnOrder"]]
        != sorted((columns[id]["isBucketed"] for id in inner["columnOrder"]), reverse=True),
    ]
    if any(problems):
        raise Refusal(400, "Bad Request", f"{said['title']}: {problems}")


def asked(one):
    """(field, Lens's name for its type, operation) of everything that an object looks at."""
    found = [(filter["meta"]["field"], "string", "filter") for filter in source(one)["filter"]] + [
        (path, None, "column") for path in one["attributes"].get("columns", [])
    ]
    for panel in panels(one):
        if panel["type"] == "lens":
            state = panel["embeddableConfig"]["attributes"]["state"]
            for layer in state["datasourceStates"]["formBased"]["layers"].values():
                for column in layer["columns"].values():
                    found += (
                        [(column["sourceField"], column["dataType"], column["operationType"])]
                        if "sourceField" in column
                        else []
                    )
                    found += [
                        (filter["input"]["query"].partition(":")[0], None, "filter")
                        for filter in column["params"].get("filters", [])
                    ]
            found += (
                [(state["query"]["query"].partition(":")[0], None, "filter")]
                if state["query"]["query"]
                else []
            )
    return found
