"""The ingest pipeline of a dataset, for events that siemtap's own shipper writes."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List

from ..core.rows import Dataset
from .field_types import LONGEST_TERM
from .server import Server

# Makes a vendor's object fit a flattened field: keys without NUL, which it rejects, and short enough
# for a term; and not more levels than it accepts (20).
FLAT = """
String key_of(String name) {
  String key = name.replace(nul(), mark());
  return key.length() <= 256 ? key : key.substring(0, 190) + mark() + key.sha256();
}
String nul() { return new StringBuilder().append((char) 0).toString() }
String mark() { return new StringBuilder().append((char) 65533).toString() }
List pieces(String text, int longest) {
  List result = new ArrayList(); for (int at = 0; at < text.length(); at += longest) { result.add(text.substring(at, at + longest < text.length() ? at + longest : text.length())) }
  return result;
}
def leveled(def value, int level, int length, int longest) {
  if (value instanceof String && level > 1 && value.length() > longest) { return pieces(value, longest) }
  if (!(value instanceof Map || value instanceof List)) { return value }
  if (level > 16 || length > 2000) { return leveled(value.toString(), 2, length, longest) }
  if (value instanceof List) { List result = new ArrayList(); for (def item : value) { result.add(leveled(item, level + 1, length, longest)) } return result }
  Map result = new LinkedHashMap();
  for (def entry : value.entrySet()) { String name = key_of(entry.getKey()); result.put(name, leveled(entry.getValue(), level + 1, length + name.length(), longest)) }
  return result;
}
"""


# Characters of a user agent. The processor tries each of its regular expressions on it: 8,000
# characters take half a minute. Browsers and apps send at most some 300.
LONGEST_USER_AGENT = 512


def lookup_processors(targets: List[str], processors: FrozenSet[str]) -> List[Dict[str, Any]]:
    """Return the processors that add the location, the AS and the user agent, as far as available.

    A vendor's location takes precedence over that of the database.
    """
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
                    "if": (
                        "ctx.user_agent?.original instanceof String &&"
                        f" ctx.user_agent.original.length() <= {LONGEST_USER_AGENT}"
                    ),
                    "field": "user_agent.original",
                    "ignore_missing": True,
                }
            }
        )
    return steps


def flatten_processor(dataset: Dataset) -> Dict[str, Any]:
    """Return the processor that makes a vendor's object fit its field.

    A single invalid key would make the cluster reject the whole event, and so would a text that is
    too long for a term: OpenSearch's flat_object has no `ignore_above`, and Fleet leaves out that of
    a flattened field before 8.19.8 and 9.1.8 (elastic/integrations pull request 16398). Such a text
    is split into a list.
    """
    name = dataset.namespace
    return {
        "script": {
            "tag": "flat",
            "lang": "painless",
            "if": f"ctx['{name}'] instanceof Map",
            "ignore_failure": True,
            "source": f"{FLAT}ctx['{name}'] = leveled(ctx['{name}'], 0, 0, {LONGEST_TERM});",
        }
    }


def pipeline(server: Server, dataset: Dataset) -> Dict[str, Any]:
    """Return the ingest pipeline of a dataset: event.ingested, the lookups, the user's pipelines."""
    targets = dataset.targets()
    steps: List[Dict[str, Any]] = [
        {"set": {"tag": "ingested", "field": "event.ingested", "value": "{{{_ingest.timestamp}}}"}}
    ]
    steps += [
        *lookup_processors(targets, server.processors),
        flatten_processor(dataset),
    ]
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
