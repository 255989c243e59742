"""Detection rules for Elastic Security: their form, and that the events have what they read."""

import json
import re

import pytest
from click.testing import CliRunner

from siemtap.elastic.detection_rules import rules_of
from siemtap.elastic.field_types import types
from siemtap.elastic.server import Server
from siemtap.render import registry
from siemtap.shipper.cli.main import main
from siemtap.testing.cases import all_folders

ES = Server("elasticsearch", (9, 1))
# Kibana's BaseCreateProps and TypeSpecificCreateProps: what must be there, by type.
REQUIRED = {"name", "description", "risk_score", "severity", "rule_id", "type", "query", "language"}
BY_TYPE = {
    "query": ({"index"}, {"kuery"}),
    "eql": ({"index"}, {"eql"}),
    "esql": (set(), {"esql"}),
    "new_terms": ({"index", "new_terms_fields", "history_window_start"}, {"kuery"}),
}
FIELD = re.compile(r"(?<![-\w.])[a-z_]+(?:\.[a-z_]+)+(?![-\w.*])")
SEARCHED = {"keyword", "constant_keyword", "wildcard", "ip", "long", "date"}


def exported(tmp_path, *names):
    done = CliRunner().invoke(main, ["export", "rules", "--into", str(tmp_path), *names])
    assert done.exit_code == 0, done.output
    return {
        path.name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in tmp_path.iterdir()
    }


def test_every_rule_can_be_imported(tmp_path):
    files = exported(tmp_path)
    assert set(files) == {f"{name}-rules.ndjson" for name in registry.installed()}
    ids = [rule["rule_id"] for rules in files.values() for rule in rules]
    assert len(ids) == len(set(ids)) > 15
    for rule in (rule for rules in files.values() for rule in rules):
        required, languages = BY_TYPE[rule["type"]]
        assert rule.keys() >= REQUIRED | required and rule["language"] in languages
        assert rule["severity"] in ("low", "medium", "high", "critical")
        assert rule["enabled"] is False and 0 < rule["risk_score"] <= 100
        assert ("index" in rule) == (rule["type"] != "esql")
        assert "sequence" not in rule["query"] or "timestamp_override" not in rule


@pytest.mark.parametrize("name", registry.installed())
def test_rules_read_fields_of_their_datasets(name):
    plugin = registry.plugin(name)
    for rule in rules_of(plugin):
        text = " ".join([rule["query"], *rule.get("new_terms_fields", ())])
        source = rule.get("index") or re.findall(r"FROM (\S+)", text)
        datasets = [pattern[len("logs-") : -len("-*")] for pattern in source]
        assert datasets
        for dataset in datasets:
            known = types(ES, plugin.dataset(dataset))
            fields = set(FIELD.findall(text.replace(f"logs-{dataset}-*", "")))
            assert fields and fields <= known.keys(), (rule["name"], fields - known.keys())
            assert {known[path]["type"] for path in fields} <= SEARCHED, rule["name"]


def test_some_event_of_the_cases_meets_each_condition():
    """Of each plugin that has the rule: a critical alert, a blocked attack of a known source and another
    one, a failed and a successful login of a known user."""
    met = {name: set() for name in registry.installed()}
    for folder in all_folders():
        path = folder / "expected.json"
        for event in json.loads(path.read_text(encoding="utf-8")) if path.exists() else ():
            name, of = folder.parents[1].name, event["event"]
            is_alert = of["kind"] == "alert"
            if is_alert and of.get("severity", 0) >= 99:
                met[name].add("critical attack")
            if event.get("source", {}).get("ip") and event.get("rule", {}).get("name"):
                met[name].add("blocked" if "denied" in of["type"] else "not blocked")
            if "authentication" in of.get("category", ()) and event.get("user", {}).get("name"):
                met[name].add(of.get("outcome"))
    asked = {
        "critical attack": {"critical attack"},
        "attacks blocked, then one that was not": {"blocked", "not blocked"},
        "failed logins, then a successful one": {"success", "failure"},
    }
    seen = set()
    for name in registry.installed():
        for rule in rules_of(registry.plugin(name)):
            words = rule["name"].partition(": ")[2]
            if words in asked:
                seen.add(words)
                assert met[name] >= asked[words], (rule["name"], met[name])
    assert seen == set(asked)
