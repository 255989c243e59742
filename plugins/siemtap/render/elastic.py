"""Mapping table -> what a search cluster must know before events come: component and index
templates, ingest pipelines, lifecycle.

A cluster is described by what it can do (`Server`); everything else is a function of that, the
contract and the dataset.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Tuple

from ..core.mapping import Dataset
from .datasets import schema_of

ISM = "ISM policy"
# above the built-in logs-*-* (100), below an integration package's (200): both can be installed
PRIORITY = 190
IGNORE_ABOVE = 1024
# characters: at four bytes each, what one term may have (32,766 bytes); more would refuse the whole
# event
LONGEST_TERM = 8_191
TEXTS = ("message", "error.message")
FLOATS = ("event.risk_score",)
WILDCARDS = ("url.original", "url.full", "url.path")  # as ECS has them
# of a list of what may be said
KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}
# What the pipeline adds; types as in ECS.
ADDED: Mapping[str, str] = {
    "event.ingested": "date",
    "source.geo.location": "geo_point",
    "source.geo.city_name": "keyword",
    "source.geo.region_name": "keyword",
    "source.geo.region_iso_code": "keyword",
    "source.geo.country_name": "keyword",
    "source.geo.continent_name": "keyword",
    "source.as.number": "long",
    "source.as.organization.name": "keyword",
    "user_agent.name": "keyword",
    "user_agent.version": "keyword",
    "user_agent.device.name": "keyword",
    "user_agent.os.name": "keyword",
    "user_agent.os.version": "keyword",
    "user_agent.os.full": "keyword",
}


class Server(NamedTuple):
    """What a cluster is and can."""

    flavour: str  # elasticsearch, opensearch
    version: Tuple[int, int]
    processors: FrozenSet[str] = frozenset()
    serverless: bool = False

    @property
    def has_ecs(self) -> bool:
        """logs@mappings, logs@settings and ecs@mappings are there."""
        return self.flavour == "elasticsearch" and (self.version >= (8, 13) or self.serverless)

    @property
    def has_lifecycle(self) -> bool:
        return self.flavour == "elasticsearch" and (self.version >= (8, 14) or self.serverless)

    @property
    def has_failure_store(self) -> bool:
        return self.flavour == "elasticsearch" and (
            self.version >= (9, 1) or (8, 19) <= self.version < (9, 0) or self.serverless
        )


class Wish(NamedTuple):
    """How long events are kept, and by what."""

    lifecycle: str = "data_stream"  # data_stream, policy, none
    policy: str = ""  # an ILM policy's name
    retention_days: int = 0  # 0: for ever


class Asset(NamedTuple):
    """One thing in the cluster: where it lies, and what it should be."""

    kind: str
    name: str
    path: str
    body: Dict[str, Any]


def assets(
    server: Server, contract: Dict[str, Any], datasets: List[Dataset], wish: Wish = Wish()
) -> List[Asset]:
    """All of it, in the order in which the cluster takes it."""
    found = []
    if server.flavour == "opensearch" and wish.lifecycle == "data_stream" and wish.retention_days:
        found.append(
            Asset(
                ISM,
                "siemtap",
                "/_plugins/_ism/policies/siemtap",
                ism_policy(datasets, wish.retention_days),
            )
        )
    for dataset in datasets:
        name = f"siemtap-{dataset.name}"
        found += [
            Asset("ingest pipeline", name, f"/_ingest/pipeline/{name}", pipeline(server, dataset)),
            Asset(
                "component template",
                f"{name}-mappings",
                f"/_component_template/{name}-mappings",
                component_template(server, contract, dataset),
            ),
            Asset(
                "index template",
                name,
                f"/_index_template/{name}",
                index_template(server, dataset, wish),
            ),
        ]
    return found


def ism_policy(datasets: List[Dataset], days: int) -> Dict[str, Any]:
    """OpenSearch's data streams have no lifecycle of their own. An index is deleted so long
    after its last event: none goes too early."""
    rollover = {"min_index_age": f"{max(1, min(30, days // 4))}d", "min_primary_shard_size": "50gb"}
    states = [
        {
            "name": "written",
            "actions": [{"rollover": rollover}],
            "transitions": [{"state_name": "over", "conditions": {"min_rollover_age": f"{days}d"}}],
        },
        {"name": "over", "actions": [{"delete": {}}], "transitions": []},
    ]
    patterns = [
        {"index_patterns": [f"logs-{dataset.name}-*" for dataset in datasets], "priority": PRIORITY}
    ]
    return {
        "policy": {
            "description": f"siemtap, {days} days",
            "default_state": "written",
            "states": states,
            "ism_template": patterns,
        }
    }


def component_template(
    server: Server, contract: Dict[str, Any], dataset: Dataset
) -> Dict[str, Any]:
    return {"template": {"mappings": mappings(server, contract, dataset)}, "_meta": _meta(dataset)}


def index_template(server: Server, dataset: Dataset, wish: Wish = Wish()) -> Dict[str, Any]:
    name = f"siemtap-{dataset.name}"
    index: Dict[str, Any] = {"default_pipeline": name}
    template: Dict[str, Any] = {"settings": {"index": index}}
    body: Dict[str, Any] = {
        "index_patterns": [f"logs-{dataset.name}-*"],
        "priority": PRIORITY,
        "data_stream": {},
        "composed_of": [f"{name}-mappings"],
        "template": template,
        "_meta": _meta(dataset),
    }
    if server.has_ecs:
        body["composed_of"] = [
            "logs@mappings",
            "logs@settings",
            "ecs@mappings",
            f"{name}-mappings",
            f"{name}-custom",
        ]
        body["ignore_missing_component_templates"] = [f"{name}-custom"]
    if wish.lifecycle == "data_stream" and server.has_lifecycle:
        if not server.serverless:
            # `logs@settings` names a policy, which would win
            index["lifecycle"] = {"prefer_ilm": "false"}
        template["lifecycle"] = {
            "enabled": True,
            **({"data_retention": f"{wish.retention_days}d"} if wish.retention_days else {}),
        }
    elif wish.lifecycle == "policy" and server.flavour == "elasticsearch":
        index["lifecycle"] = {"name": wish.policy}
    if server.has_failure_store:
        template["data_stream_options"] = {"failure_store": {"enabled": True}}
    return body


def _meta(dataset: Dataset) -> Dict[str, Any]:
    return {"managed_by": "siemtap", "description": f"siemtap {dataset.name}"}


# Types


def mappings(server: Server, contract: Dict[str, Any], dataset: Dataset) -> Dict[str, Any]:
    """Every field that the dataset can set, and those that the pipeline adds, with a type of its
    own; nothing else is indexed."""
    tree: Dict[str, Any] = {}
    for path, spec in types(server, contract, dataset).items():
        *parents, leaf = path.split(".")
        place = tree
        for name in parents:
            place = place.setdefault(name, {"properties": {}})["properties"]
        place[leaf] = spec
    return {"dynamic": "false", "properties": tree}


def types(server: Server, contract: Dict[str, Any], dataset: Dataset) -> Dict[str, Dict[str, Any]]:
    """Path -> field mapping, sorted."""
    schema = schema_of(contract, dataset)
    found = {
        path: _type(server, path, spec) for path, spec in _leaves(schema, schema["definitions"])
    }
    found.update(
        {
            path: {"type": kind} if kind != "keyword" else _keyword()
            for path, kind in ADDED.items()
            if path.startswith(
                (
                    "event.",
                    *(
                        f"{top}."
                        for top in ("source", "user_agent")
                        if any(one.startswith(f"{top}.") for one in found)
                    ),
                )
            )
        }
    )
    constants = {
        "data_stream.type": "logs",
        "data_stream.dataset": dataset.name,
        "event.dataset": dataset.name,
        "event.module": dataset.namespace,
    }
    found.update(
        {path: {"type": "constant_keyword", "value": value} for path, value in constants.items()}
    )
    # Its value is the stream's; OpenSearch wants one in the template.
    found["data_stream.namespace"] = (
        {"type": "constant_keyword"} if server.flavour == "elasticsearch" else _keyword()
    )
    return dict(sorted(found.items()))


def _leaves(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], place: str = ""
) -> Iterator[Tuple[str, Dict[str, Any]]]:
    for name, spec in schema["properties"].items():
        if "$ref" in spec:
            target = spec["$ref"].rpartition("/")[2]
            spec = {**definitions[target], "ref": target}
        # a list of objects: each name has the values of all
        if "properties" in spec.get("items", {}):
            spec = spec["items"]
        if "properties" in spec:
            yield from _leaves(spec, definitions, f"{place}{name}.")
        else:
            yield f"{place}{name}", spec


def lists_of_objects(contract: Dict[str, Any], dataset: Dataset) -> List[str]:
    schema = schema_of(contract, dataset)
    return sorted(_lists(schema, schema["definitions"]))


def _lists(schema: Mapping[str, Any], definitions: Any, place: str = "") -> Iterator[str]:
    for name, spec in schema["properties"].items():
        spec = definitions[spec["$ref"].rpartition("/")[2]] if "$ref" in spec else spec
        if "properties" in spec.get("items", {}):
            yield f"{place}{name}"
        if "properties" in spec:
            yield from _lists(spec, definitions, f"{place}{name}.")


def _type(server: Server, path: str, spec: Mapping[str, Any]) -> Dict[str, Any]:
    if spec.get("type") == "array":
        items = spec.get("items", {})
        spec = {"ref": items["$ref"].rpartition("/")[2]} if "$ref" in items else items
    if path in TEXTS:
        return {"type": "match_only_text"}
    if path in WILDCARDS:
        return {"type": "wildcard", "ignore_above": LONGEST_TERM}
    if path in FLOATS:
        return {"type": "float"}
    # to be read, and not searched
    if path == "event.original" or spec.get("maxLength", 0) > 2 * LONGEST_TERM:
        return {"type": "keyword", "index": False, "doc_values": False}
    if spec.get("ref") == "timestamp":
        return {"type": "date"}
    if spec.get("ref") == "ip":
        return {"type": "ip"}
    if spec.get("ref") == "port":
        return {"type": "long"}
    kind = spec.get("type") or KINDS[type(spec.get("enum", [spec.get("const", "")])[0])]
    simple = {"integer": "long", "number": "double", "boolean": "boolean"}
    if kind in simple:
        return {"type": simple[kind]}
    if kind == "object" or not spec:
        return (
            {"type": "flattened", "ignore_above": LONGEST_TERM}
            if server.flavour == "elasticsearch"
            else {"type": "flat_object"}
        )
    return _keyword(spec.get("maxLength", IGNORE_ABOVE))


def _keyword(longest: int = IGNORE_ABOVE) -> Dict[str, Any]:
    return {"type": "keyword", "ignore_above": min(longest, LONGEST_TERM)}


# The ingest pipeline


def looked_up(targets: List[str], processors: FrozenSet[str]) -> List[Dict[str, Any]]:
    """Where the source is and what the user agent is, as far as there are processors for it. The
    vendor's word wins over a database's."""
    steps: List[Dict[str, Any]] = []
    if "geoip" in processors and "source.ip" in targets:
        steps += [
            {
                "geoip": {
                    "tag": "geo",
                    "field": "source.ip",
                    "target_field": "_siemtap.geo",
                    "ignore_missing": True,
                }
            },
            {
                "script": {
                    "tag": "geo-merge",
                    "if": "ctx._siemtap?.geo != null",
                    "source": (
                        "def geo = ctx._siemtap.geo; if (ctx.source.geo != null) {"
                        " geo.putAll(ctx.source.geo) } ctx.source.geo = geo"
                    ),
                }
            },
            {
                "geoip": {
                    "tag": "asn",
                    "field": "source.ip",
                    "target_field": "source.as",
                    "database_file": "GeoLite2-ASN.mmdb",
                    "properties": ["asn", "organization_name"],
                    "ignore_missing": True,
                }
            },
            {
                "rename": {
                    "tag": "asn-number",
                    "field": "source.as.asn",
                    "target_field": "source.as.number",
                    "ignore_missing": True,
                }
            },
            {
                "rename": {
                    "tag": "asn-name",
                    "field": "source.as.organization_name",
                    "target_field": "source.as.organization.name",
                    "ignore_missing": True,
                }
            },
            {"remove": {"tag": "tidy", "field": "_siemtap", "ignore_missing": True}},
        ]
    if "user_agent" in processors and "user_agent.original" in targets:
        steps.append(
            {
                "user_agent": {
                    "tag": "user-agent",
                    "field": "user_agent.original",
                    "ignore_missing": True,
                }
            }
        )
    return steps


# Below a vendor's object: no key that a flattened field refuses (a NUL) or that makes a term too
# long, no more levels than it takes (20).
FLAT = """
String key_of(String name) {
  String said = name.replace(nul(), mark());
  return said.length() <= 256 ? said : said.substring(0, 190) + mark() + said.sha256();
}
String nul() { return new StringBuilder().append((char) 0).toString() }
String mark() { return new StringBuilder().append((char) 65533).toString() }
List pieces(String text, int longest) {
  List made = new ArrayList(); for (int at = 0; at < text.length(); at += longest) { made.add(text.substring(at, at + longest < text.length() ? at + longest : text.length())) }
  return made;
}
def leveled(def value, int level, int length, int longest) {
  if (value instanceof String && level > 1 && longest > 0 && value.length() > longest) { return pieces(value, longest) }
  if (!(value instanceof Map || value instanceof List)) { return value }
  if (level > 16 || length > 2000) { return leveled(value.toString(), 2, length, longest) }
  if (value instanceof List) { List made = new ArrayList(); for (def one : value) { made.add(leveled(one, level + 1, length, longest)) } return made }
  Map made = new LinkedHashMap();
  for (def one : value.entrySet()) { String name = key_of(one.getKey()); made.put(name, leveled(one.getValue(), level + 1, length + name.length(), longest)) }
  return made;
}
"""


def flat(dataset: Dataset, flavour: str = "elasticsearch") -> Dict[str, Any]:
    """What a vendor nests as he likes, so that an index takes it: a document with one odd key would
    be lost as a whole. OpenSearch's flat_object knows no `ignore_above`, and refuses a document for
    a text that is no term: such a text becomes a list of its pieces."""
    name = dataset.namespace
    longest = LONGEST_TERM if flavour == "opensearch" else 0
    return {
        "script": {
            "tag": "flat",
            "lang": "painless",
            "if": f"ctx['{name}'] instanceof Map",
            "ignore_failure": True,
            "source": f"{FLAT}ctx['{name}'] = leveled(ctx['{name}'], 0, 0, {longest});",
        }
    }


def pipeline(server: Server, dataset: Dataset) -> Dict[str, Any]:
    """When it came in, where the source is, what the user agent is; then the user's own
    pipelines. The vendor's word wins over a database's."""
    targets = dataset.targets()
    steps: List[Dict[str, Any]] = [
        {"set": {"tag": "ingested", "field": "event.ingested", "value": "{{{_ingest.timestamp}}}"}}
    ]
    steps += [*looked_up(targets, server.processors), flat(dataset, server.flavour)]
    if server.has_ecs:
        steps += [
            {"pipeline": {"tag": name, "name": name, "ignore_missing_pipeline": True}}
            for name in ("global@custom", "logs@custom", f"logs-{dataset.name}@custom")
        ]
    failed = [
        {"set": {"field": "event.kind", "value": "pipeline_error"}},
        {
            "append": {
                "field": "error.message",
                "value": (
                    "{{{_ingest.on_failure_processor_type}}} {{{_ingest.on_failure_processor_tag}}}"
                    " of {{{_ingest.pipeline}}}: {{{_ingest.on_failure_message}}}"
                ),
            }
        },
    ]
    return {"description": f"siemtap {dataset.name}", "processors": steps, "on_failure": failed}
