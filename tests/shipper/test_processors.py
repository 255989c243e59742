"""`processors`: what they do with events, and what is wrong in the file."""

import copy

import pytest
from stepped_shipper import SteppedShipper

from apptrana import simulator
from siemtap.core.errors import ConfigError
from siemtap.shipper.config.load import parse
from siemtap.shipper.processors.steps import compile_processors, process

EVENT = {
    "@timestamp": "2026-03-04T10:00:00.000Z",
    "event": {"id": "0" * 32, "dataset": "acme.event", "kind": "alert", "severity": 73},
    "source": {"ip": "10.1.2.3", "port": 443},
    "url": {"path": "/admin/login", "query": "ü" * 10},
    "host": {"ip": ["192.0.2.1", "198.51.100.7"]},
    "rule": {"name": "SQL injection"},
    "tags": ["waf"],
    "network": {"bytes": 1.5},
}


def run(*specs, event=EVENT):
    before = copy.deepcopy(event)
    map_batch = process(lambda batch, seen: [batch], specs)
    events = map_batch(event)
    assert event == before, "mapped events share objects: nothing is changed in place"
    return events[0] if events else None


def test_add_fields():
    assert run({"add_fields": {"fields": {"team": "blue"}}})["fields"] == {"team": "blue"}
    assert run({"add_fields": {"target": "", "fields": {"rule": {"ruleset": "x"}}}})["rule"] == {
        "name": "SQL injection",
        "ruleset": "x",
    }
    assert run({"add_fields": {"target": "a.b", "fields": {"c.d": 1}}})["a"] == {
        "b": {"c": {"d": 1}}
    }


def test_add_tags():
    assert run({"add_tags": {"tags": ["pci", "waf"]}})["tags"] == ["waf", "pci"]


def test_drop_fields():
    event = run({"drop_fields": {"fields": ["url.path", "url.query", "no.such", "tags"]}})
    assert "url" not in event and "tags" not in event and event["source"] == EVENT["source"]


def test_rename():
    event = run({"rename": {"fields": [{"from": "url.path", "to": "fields.path"}]}})
    assert event["fields"] == {"path": "/admin/login"} and list(event["url"]) == ["query"]
    pairs = [{"from": "url.path", "to": "fields.path"}, {"from": "url.query", "to": "rule.name"}]
    assert run({"rename": {"fields": pairs}}) == EVENT, "as Filebeat, it is undone"
    kept = run({"rename": {"fields": pairs, "fail_on_error": False}})
    assert kept["fields"] and kept["rule"] == EVENT["rule"]


def test_truncate_fields():
    fields = ["url.query", "url.path", "source.port"]
    event = run({"truncate_fields": {"fields": fields, "max_characters": 6}})
    assert event["url"] == {"path": "/admin", "query": "ü" * 6}
    event = run({"truncate_fields": {"fields": fields, "max_bytes": 5}})
    assert event["url"] == {"path": "/admi", "query": "üü"}


@pytest.mark.parametrize(
    "when, matches",
    [
        ({"equals": {"event.severity": 73}}, True),
        ({"equals": {"event.severity": "73"}}, False),
        ({"equals": {"event.severity": 73, "source.port": 1}}, False),
        ({"contains": {"url.path": "login"}}, True),
        ({"contains": {"tags": "wa"}}, True),
        ({"contains": {"no.such": "x"}}, False),
        ({"network": {"source.ip": "private"}}, True),
        ({"network": {"source.ip": ["192.0.2.0/24", "10.0.0.0/8"]}}, True),
        ({"network": {"host.ip": "198.51.100.0/24"}}, True),
        ({"network": {"source.ip": "public"}}, False),
        ({"network": {"rule.name": "private"}}, False),
        ({"range": {"event.severity": {"gte": 73, "lt": 99}}}, True),
        ({"range": {"event.severity.gt": 73}}, False),
        ({"range": {"rule.name.gt": 73}}, False),
        ({"regexp": {"rule.name": "^SQL"}}, True),
        ({"has_fields": ["source.ip", "url.path"]}, True),
        ({"has_fields": ["source.ip", "no.such"]}, False),
        ({"not": {"has_fields": ["source.ip"]}}, False),
        ({"or": [{"equals": {"source.port": 1}}, {"equals": {"source.port": 443}}]}, True),
        ({"and": [{"equals": {"source.port": 1}}, {"equals": {"source.port": 443}}]}, False),
    ],
)
def test_conditions(when, matches):
    assert (run({"drop_event": {"when": when}}) is None) == matches
    tagged = run({"add_tags": {"tags": ["x"], "when": when}})
    assert ("x" in tagged["tags"]) == matches


def test_an_error_is_never_dropped():
    event = {**EVENT, "event": {**EVENT["event"], "kind": "pipeline_error"}}
    assert run({"drop_event": {"when": {"equals": {"event.severity": 73}}}}, event=event) == event


def test_without_processors_there_is_no_code_in_between():
    def map_batch(batch):
        return []

    assert process(map_batch, ()) is map_batch


def in_file(text, top=""):
    lines = "\n".join(f"    {line}" for line in text.splitlines())
    return f"inputs:\n  - type: centurylink_ips\n{lines}\n{top}"


@pytest.mark.parametrize(
    "text, error",
    [
        ("- add_field: {}", "line 4: inputs[0].processors[0].add_field is not known; did you mean"),
        ("- drop_event:", "line 4: inputs[0].processors[0].drop_event needs `when`"),
        ("- drop_event: {when: {equal: {a: 1}}}", "when.equal is not known"),
        ("- drop_event: {when: {regexp: {a: '('}}}", "regexp.a is not a regular expression"),
        ("- drop_event: {when: {network: {a: lan}}}", 'is "lan"; use a network such as 192.0.2.0'),
        ("- drop_event: {when: {range: {a.ge: 1}}}", "needs a comparison: gte, gt, lte, lt"),
        ("- drop_fields: {fields: [event.id]}", "cannot change event.id"),
        ("- drop_fields: {fields: [event]}", "cannot change event:"),
        ("- rename: {fields: [{from: '@timestamp', to: fields.a}]}", "cannot change @timestamp"),
        (
            "- rename: {fields: [{from: url.path, to: event.dataset}]}",
            "cannot change event.dataset",
        ),
        ("- rename: {fields: [{from: rule.name, to: my.rule}]}", "is no field of these events"),
        ("- add_fields: {target: '', fields: {event: {id: x}}}", "cannot change event.id"),
        ("- truncate_fields: {fields: [url.path]}", "needs `max_characters` or `max_bytes`"),
        ("- add_tags: {tags: pci}", "must be a list of names"),
        ("- add_tags: {tags: [a]}\n  drop_fields: {fields: [a]}", "has several processors"),
    ],
)
def test_mistakes_name_their_line_and_what_is_allowed(text, error):
    with pytest.raises(ConfigError) as caught:
        parse(in_file(f"processors:\n{text}"))
    assert error in str(caught.value)


def test_those_of_the_input_come_before_those_of_the_file():
    top = "processors:\n  - add_tags: {tags: [b]}"
    config = parse(in_file("processors:\n  - add_tags: {tags: [a]}", top))
    assert config.inputs[0].processors == (
        {"add_tags": {"tags": ["a"]}},
        {"add_tags": {"tags": ["b"]}},
    )
    with pytest.raises(ConfigError, match=r"line 5: processors\[0\]\.nope is not known"):
        parse(in_file("", "processors:\n  - nope: {}").replace("    \n", ""))


def test_the_schema_check_follows(tmp_path):
    specs = [
        {"drop_event": {"when": {"equals": {"event.action": "logged"}}}},
        {"add_fields": {"fields": {"team": "blue"}}},
        {"rename": {"fields": [{"from": "source.ip", "to": "rule.name"}], "fail_on_error": True}},
        {"add_tags": {"tags": ["seen"]}},
    ]
    simulated = simulator.Simulator(simulator.Knobs(rate=3.0))
    stepped = SteppedShipper(tmp_path, simulated, "apptrana", lookback="20m", processors=specs)
    stepped.start().run_turns(2)
    events = stepped.events()
    stepped.stop()
    assert events and all(
        event["tags"] == ["seen"]
        and event["fields"] == {"team": "blue"}
        and event["event"].get("action") != "logged"
        for event in events
    )


def test_drop_of_the_input_comes_first(tmp_path):
    """It compares what the mapping gave, not what a processor makes of it."""
    spec = {"add_fields": {"target": "event", "fields": {"action": "changed"}}}
    simulated = simulator.Simulator(simulator.Knobs(rate=3.0))
    stepped = SteppedShipper(
        tmp_path,
        simulated,
        "apptrana",
        lookback="20m",
        processors=[spec],
        drop={"action": ["logged", "changed"]},
    )
    stepped.start().run_turns(2)
    events = stepped.events()
    stepped.stop()
    assert events and {event["event"]["action"] for event in events} == {"changed"}


def test_compile_without_a_file():
    with pytest.raises(ConfigError, match="^processors is not known"):
        compile_processors([{"nope": {}}])


@pytest.mark.parametrize(
    "dotted, nested",
    [
        ({"when.equals.tags": "a"}, {"when": {"equals": {"tags": "a"}}}),
        ({"when.equals": {"a.b": 1}}, {"when": {"equals": {"a.b": 1}}}),
        ({"when.not.contains.a.b": "c"}, {"when": {"not": {"contains": {"a.b": "c"}}}}),
        ({"when": {"range.a.b.gte": 1}}, {"when": {"range": {"a.b": {"gte": 1}}}}),
        (
            {"when.equals.a.b": 1, "when.not.equals": {"c": 2}},
            {"when": {"equals": {"a.b": 1}, "not": {"equals": {"c": 2}}}},
        ),
    ],
)
def test_keys_with_dots_are_nested_sections(dotted, nested):
    events = [
        {"event": {}, **each}
        for each in ({}, {"tags": "a"}, {"a": {"b": 1}}, {"a": {"b": "cd"}, "c": 2})
    ]
    results = []
    for condition in (dotted, nested):
        (step,) = compile_processors([{"drop_event": condition}])
        results.append([step(event) for event in events])
    assert results[0] == results[1] and None in results[0] != [None] * len(events)
    name = next(iter(dotted))
    (step,) = compile_processors([{f"drop_event.{name}": dotted[name]}])
    assert None in [step(event) for event in events]


def test_mistakes_below_keys_with_dots_name_their_line():
    text = (
        "inputs:\n  - type: apptrana\n    client_id: a\n    client_secret: b\nprocessors:\n"
        "  - add_tags:\n      tags: [a]\n      %s\n"
    )
    with pytest.raises(ConfigError, match="line 8: .*add_tags.when.not.contians.tags is not known"):
        parse(text % "when.not.contians.tags: x")
    with pytest.raises(ConfigError, match="line 6: .*add_tags sets when twice"):
        parse(text % "when.equals.tags: x\n      when: {equals.tags: y}")
