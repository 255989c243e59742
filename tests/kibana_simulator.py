"""A strict simulator of Kibana's API for saved objects. It parses the JSON strings inside objects,
too.

No package registry has Kibana. The rules follow Elastic's reference: the header kbn-xsrf, a form
with one NDJSON file, objects whose version is not newer than Kibana's, references to existing
objects. Those of a dashboard's attributes, controls, links and drill-downs follow Kibana's source,
which each rule names."""

import email
import email.policy
import io
import json
import re
import zipfile

from elastic_refusal import Refusal
from kibana_navigation import controls, drilldowns, links
from ruamel.yaml import YAML

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
# dashboard/server/dashboard_saved_object/schema/v1/v1.ts: dashboardAttributesSchema forbids others.
DASHBOARD = {
    "title",
    "description",
    "kibanaSavedObjectMeta",
    "timeRestore",
    "timeFrom",
    "timeTo",
    "refreshInterval",
    "controlGroupInput",
    "panelsJSON",
    "optionsJSON",
    "hits",
    "version",
}
LENS = {
    "lnsMetric": ("metricAccessor",),
    "lnsXY": ("layers",),
    "lnsPie": ("layers",),
    "lnsDatatable": ("columns",),
}


class Kibana:
    HEADERS = {"kbn-name": "kibana", "content-type": "application/json"}

    def __init__(self, version="8.11.0", space="", authorization=None):
        self.version, self.base, self.authorization = (
            version,
            f"/s/{space}" if space else "",
            authorization,
        )
        self.saved, self.imports = {}, 0
        # name -> version; uploads that come too soon; data streams that no package owns
        self.packages, self.too_soon, self.live = {}, 0, []

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
        if path == "/api/fleet/epm/packages" and method == "POST":
            return self.install(headers, body)
        if path.startswith("/api/fleet/epm/packages/") and method == "GET":
            return self.package(path.rpartition("/")[2])
        raise Refusal(404, "Not Found", "Not Found")

    def package(self, name):
        """fleet/server/routes/epm/handlers.ts: getInfoHandler. A package that is neither installed
        nor in the registry is unknown."""
        if name not in self.packages:
            raise problem_of(404, f"[{name}] package not installed or found in registry")
        installed = {"version": self.packages[name], "install_source": "upload", "name": name}
        return 200, {
            "item": {
                "name": name,
                "version": self.packages[name],
                "status": "installed",
                "installationInfo": installed,
            }
        }

    def install(self, headers, body):
        """fleet/server/routes/epm/index.ts: the types and 100 MB; services/epm/packages/install.ts:
        ten seconds between uploads; archive/parse.ts: one folder, name-version;
        validate_package_upload.ts: no live data stream that nobody owns."""
        if headers["content-type"] not in ("application/zip", "application/gzip"):
            raise problem_of(415, "Unsupported Media Type")
        if self.too_soon:
            self.too_soon -= 1
            raise problem_of(429, "Too many requests. Please wait 10s before uploading again.")
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            (top,) = {name.partition("/")[0] for name in archive.namelist()}
            manifest = YAML(typ="safe").load(archive.read(f"{top}/manifest.yml"))
        name = manifest["name"]
        if top != f"{name}-{manifest['version']}":
            raise problem_of(400, f"Name {name} and version do not match top-level directory {top}")
        for stream in self.live:
            if stream.startswith(f"logs-{name}.") and name not in self.packages:
                raise problem_of(
                    400,
                    f'A matching live data stream "{stream}" already exists for dataset'
                    f' "{stream.split("-")[1]}" and must be migrated or removed before uploading a'
                    " new package.",
                )
        self.packages[name] = manifest["version"]
        return 200, {"items": [], "_meta": {"install_source": "upload", "name": name}}

    def export(self, request):
        missing = [
            item for item in request["objects"] if (item["type"], item["id"]) not in self.saved
        ]
        if missing:
            errors = [
                {
                    **item,
                    "error": {
                        "statusCode": 404,
                        "error": "Not Found",
                        "message": f"Saved object [{item['type']}/{item['id']}] not found",
                    },
                }
                for item in missing
            ]
            return 400, {
                "statusCode": 400,
                "error": "Bad Request",
                "message": "Error fetching objects to export",
                "attributes": {"objects": errors},
            }
        return 200, b"\n".join(
            json.dumps(self.saved[item["type"], item["id"]]).encode() for item in request["objects"]
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
        fresh = {
            (saved_object["type"], saved_object["id"]): saved_object for saved_object in objects
        }
        errors = []
        for saved_object in objects:
            problem = self.problem(saved_object, {*fresh, *self.saved}) or (
                "conflict"
                if (saved_object["type"], saved_object["id"]) in self.saved
                and query.get("overwrite") != ["true"]
                else ""
            )
            if problem:
                errors.append(
                    {
                        "type": saved_object["type"],
                        "id": saved_object["id"],
                        "error": {"type": problem},
                    }
                )
        if errors:
            return 200, {"success": False, "successCount": 0, "errors": errors}
        for saved_object in fresh.values():  # Kibana stores them in its own notation
            self.saved[saved_object["type"], saved_object["id"]] = {
                **saved_object,
                "attributes": {**saved_object["attributes"], "fieldAttrs": "{}"},
                "typeMigrationVersion": "10.2.0",
                "managed": False,
            }
        return 200, {"success": True, "successCount": len(objects)}

    def problem(self, saved_object, known):
        """Return why an object is rejected, or ""."""
        if not {
            "type",
            "id",
            "attributes",
            "references",
            "coreMigrationVersion",
            "typeMigrationVersion",
        } >= set(saved_object):
            return "unknown_keys"
        if number(saved_object["typeMigrationVersion"]) > number(self.version) or number(
            saved_object["coreMigrationVersion"]
        ) > number(self.version):
            return "newer_version"
        if not NEEDED[saved_object["type"]] <= set(saved_object["attributes"]):
            return "missing_attributes"
        if saved_object["type"] == "dashboard" and not set(saved_object["attributes"]) <= DASHBOARD:
            return "unknown_attributes"
        if any(
            (reference["type"], reference["id"]) not in known
            for reference in saved_object["references"]
        ):
            return "missing_references"
        return (
            ""
            if references_of(saved_object)
            == {reference["name"] for reference in saved_object["references"]}
            else "references_and_their_names_differ"
        )


def problem_of(status, message):
    """Return an error as Fleet answers it."""
    refusal = Refusal(status, "", message)
    refusal.body = {"statusCode": status, "error": "Error", "message": message}
    return refusal


def number(version):
    return tuple(map(int, version.split(".")))


def source(saved_object):
    meta = saved_object["attributes"].get("kibanaSavedObjectMeta")
    return json.loads(meta["searchSourceJSON"]) if meta else {"filter": []}


def panels(saved_object):
    return json.loads(saved_object["attributes"].get("panelsJSON", "[]"))


def references_of(saved_object):
    """Return the names of all references that an object uses."""
    search_source = source(saved_object)
    names = {filter["meta"]["indexRefName"] for filter in search_source["filter"]} | (
        {search_source["indexRefName"]} if "indexRefName" in search_source else set()
    )
    taken = set()
    for panel in panels(saved_object):
        id, grid = panel["panelIndex"], panel["gridData"]
        if grid["i"] != id or id in {other for other, _ in taken} or grid["x"] + grid["w"] > 48:
            raise Refusal(400, "Bad Request", f"panel {id}: grid")
        taken.add((id, grid["y"]))
        names |= {f"{id}:{name}" for name in drilldowns(panel)}
        if panel["type"] == "search":
            names.add(f"{id}:{panel['panelRefName']}")
        elif panel["type"] == "links":
            names |= {f"{id}:{name}" for name in links(panel["embeddableConfig"]["attributes"])}
        else:
            names |= {
                f"{id}:{reference['name']}"
                for reference in panel["embeddableConfig"]["attributes"]["references"]
            }
            lens(panel["embeddableConfig"]["attributes"])
    return names | {f"controlGroup_{name}" for name in controls(saved_object)}


def lens(attributes):
    """Check a panel: every column that the visualization names exists, and buckets come before
    metrics."""
    state = attributes["state"]
    ((layer, inner),) = state["datasourceStates"]["formBased"]["layers"].items()
    drawn = json.dumps(state["visualization"])
    columns = inner["columns"]
    used = {match for match in re.findall(r'"([a-z]+)"', drawn) if match in columns}
    problems = [
        set(inner["columnOrder"]) != set(columns),
        used != set(columns),
        f'"layerId": "{layer}"' not in drawn,
        attributes["references"][0]["name"] != f"indexpattern-datasource-layer-{layer}",
        not set(LENS[attributes["visualizationType"]]) <= set(state["visualization"]),
        [columns[id]["isBucketed"] for id in inner["columnOrder"]]
        != sorted((columns[id]["isBucketed"] for id in inner["columnOrder"]), reverse=True),
    ]
    if any(problems):
        raise Refusal(400, "Bad Request", f"{attributes['title']}: {problems}")


def used_fields(saved_object):
    """Return (field, Lens's name for its type, operation) of every field that an object uses."""
    fields = [
        (filter["meta"]["field"], "string", "filter") for filter in source(saved_object)["filter"]
    ] + [(path, None, "column") for path in saved_object["attributes"].get("columns", [])]
    group = saved_object["attributes"].get("controlGroupInput", {"panelsJSON": "{}"})
    for control in json.loads(group["panelsJSON"]).values():
        fields.append((control["explicitInput"]["fieldName"], "string", "control"))
    for panel in panels(saved_object):
        if panel["type"] == "lens":
            state = panel["embeddableConfig"]["attributes"]["state"]
            for layer in state["datasourceStates"]["formBased"]["layers"].values():
                for column in layer["columns"].values():
                    fields += (
                        [(column["sourceField"], column["dataType"], column["operationType"])]
                        if "sourceField" in column
                        else []
                    )
                    fields += [
                        (filter["input"]["query"].partition(":")[0], None, "filter")
                        for filter in column["params"].get("filters", [])
                    ]
            fields += (
                [(state["query"]["query"].partition(":")[0], None, "filter")]
                if state["query"]["query"]
                else []
            )
    return fields
