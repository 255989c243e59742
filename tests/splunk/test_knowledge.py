"""What a search sees: Splunk's order (JSON's fields, then aliases, then evals that do not see
each other), told again in Python, on the event of every case."""

import json
import os
import re
import statistics

import pytest
from cache import CACHE

from cases import folders, play
from siemtap import contract
from siemtap.outputs.compact import compact
from siemtap.outputs.encode import encode
from siemtap.render import splunk
from siemtap.runners import plugins
from siemtap.runners.names import addon, sourcetype

LIMIT = 10_240  # characters of an event that Splunk extracts fields from by itself
DEFINITIONS = CACHE / "cim-6.4.0/pytest_splunk_addon"
CIM, CONTRACT = contract.read("cim.json"), contract.read("event.schema.json")
SPLUNKS_OWN = {
    "host",
    "index",
    "source",
    "sourcetype",
    "_raw",
    "_time",
    "linecount",
    "punct",
    "splunk_server",
    "timestamp",
    "eventtype",
    "tag",
    "date_hour",
    "date_mday",
    "date_minute",
    "date_month",
    "date_second",
    "date_wday",
    "date_year",
    "date_zone",
}
TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|==|[(),]|[A-Za-z_][\w]*)""")


def extracted(raw):
    """KV_MODE=json: name -> texts. What ends behind the limit is not seen."""
    fields, at, decoder = {}, 1, json.JSONDecoder()
    while raw[at - 1] != "}":
        name, at = decoder.raw_decode(raw, at)
        value, at = decoder.raw_decode(raw, at + 1)
        if at <= LIMIT:
            _spread(name, value, fields)
        at += 1
    return fields


def _spread(name, value, fields):
    if isinstance(value, dict):
        for inner, below in value.items():
            _spread(f"{name}.{inner}", below, fields)
    elif isinstance(value, list):
        for below in value:
            _spread(f"{name}{{}}", below, fields)
    elif value is not None:
        fields.setdefault(name, []).append(
            {True: "true", False: "false"}.get(value, str(value))
            if isinstance(value, bool)
            else str(value)
        )


def searched(raw, props):
    """Every field of an event, as a search sees it."""
    fields = extracted(raw)
    for key, said in props.items():
        if key.startswith("FIELDALIAS-"):
            theirs, ours = re.fullmatch(r'"?([^"]+?)"? ASNEW (\w+)', said).groups()
            if theirs in fields and ours not in fields:
                fields[ours] = fields[theirs]
    made = {
        key[len("EVAL-") :]: Eval(said, fields).value()
        for key, said in props.items()
        if key.startswith("EVAL-")
    }
    fields.update({name: [value] for name, value in made.items() if value is not None})
    return fields


class Eval:
    """coalesce, case, if, match, replace, nullif, isnotnull, len, lower, true(), null(), ==,
    texts, fields: what we write, and not a word more."""

    def __init__(self, said, fields):
        self.tokens, self.fields = TOKEN.findall(said), fields
        assert "".join(self.tokens) == re.sub(
            r'\s+(?=(?:[^"\']|"[^"]*"|\'[^\']*\')*$)', "", said
        ), said

    def take(self, wanted=None):
        token = self.tokens.pop(0)
        assert wanted in (None, token), (wanted, token)
        return token

    def value(self):
        left = self.single()
        if self.tokens[:1] == ["=="]:
            self.take()
            return left == self.single()
        return left

    def single(self):
        token = self.take()
        if token.startswith('"'):
            # Splunk knows these two; a backslash before anything else is one
            return re.sub(r'\\(["\\])', r"\1", token[1:-1])
        if self.tokens[:1] == ["("]:
            return self.function(token)
        return next(iter(self.fields.get(token.strip("'"), [])), None)

    def function(self, name):
        self.take("(")
        values = []
        while self.tokens[0] != ")":
            values.append(self.value())
            if self.tokens[0] == ",":
                self.take()
        self.take(")")
        if name == "coalesce":
            return next((value for value in values if value is not None), None)
        if name == "case":
            return next(
                (value for condition, value in zip(values[::2], values[1::2]) if condition is True),
                None,
            )
        if name == "if":
            return values[1] if values[0] is True else values[2]
        if name == "match":
            return values[0] is not None and re.search(values[1], values[0]) is not None
        if name == "replace":
            return None if values[0] is None else re.sub(values[1], values[2], values[0], count=1)
        if name == "isnotnull":
            return values[0] is not None
        if name == "len":
            return None if values[0] is None else str(len(values[0]))
        if name == "lower":
            return None if values[0] is None else values[0].lower()
        if name == "nullif":
            return None if values[0] == values[1] else values[0]
        return {"true": True, "null": None}[name]


def cases():
    return [
        pytest.param(folder, id=f"{folder.parents[1].name}/{folder.name}") for folder in folders()
    ]


@pytest.mark.parametrize("folder", cases())
def test_every_event_has_the_cim_fields_it_should(folder):
    plugin = plugins.plugin(folder.parents[1].name)
    props = splunk.props(plugin, CONTRACT, CIM)
    for event in play(folder, plugin)[0]:
        dataset = plugin.dataset(event["event"]["dataset"])
        if event["event"].get("kind") == "pipeline_error":
            continue
        rules = CIM["datasets"][dataset.name]
        fields = searched(
            encode(compact(dataset, rules)(event)).decode(), props[sourcetype(dataset.name)]
        )
        for model in rules["models"]:
            for name in CIM["models"][model]["required"]:
                if name in (
                    "action",
                    "category",
                    "dvc",
                    "ids_type",
                    "severity",
                    "signature",
                    "vendor_product",
                    "type",
                ):
                    assert fields.get(name), f"{name} of {model} is missing"
            for name, allowed in CIM["models"][model]["fields"].items():
                assert not allowed or name not in fields or set(fields[name]) <= set(allowed), (
                    name,
                    fields[name],
                )
        for name, rule in rules["fields"].items():
            wanted = expected(event, rule)
            assert (fields.get(name) or [None])[0] == wanted, (name, fields.get(name), wanted)
        assert fields["event.id"] == [event["event"]["id"]] and not SPLUNKS_OWN & set(fields)


# What pytest-splunk-addon calls required and an event cannot always have, and why.
UNSAID = {
    "apptrana.attack": {
        "Web": {
            "bytes": "the vendor has no request's size",
            "bytes_in": "the same",
            "bytes_out": "only where the response has a Content-Length",
            "dest": "where the record has no host name",
            "dest_port": "never said",
            "http_method": "never said",
            "http_user_agent": "where the client sent none, or its headers cannot be read",
            "http_user_agent_length": "the same",
            "src": "where the record has no address",
            "status": "where the record has none, or 0",
            "url_domain": "where the record has no host name",
        },
        "Intrusion_Detection": {},
    },
    "centurylink_ips.event": {"Intrusion_Detection": {}},
    "pingintelligence.attack": {
        "Intrusion_Detection": {},
        "Alerts": {
            "app": "an attack across APIs is on no one of them",
            "dest": "the same",
            "description": "attack.log has none",
            "src": "a token, a cookie, a user may be all that is known",
            "user": "an address may be",
        },
    },
}
# CIM has them, these definitions do not
VALUES = {("ids_type", "application"), ("severity", "unknown")}


def test_what_the_cims_own_tests_ask_for():
    """pytest-splunk-addon's definitions: our tags lead to the models we say, and what is
    required is there, or its absence has a reason."""
    if not DEFINITIONS.is_dir():
        (
            pytest.fail("ci/tools fetches the definitions of pytest-splunk-addon 6.4.0")
            if os.environ.get("CI")
            else pytest.skip("ci/tools fetches the definitions")
        )
    models = {
        path.stem: json.loads(path.read_text())["objects"][0]
        for path in (DEFINITIONS / "data_models").glob("*.json")
    }
    forbidden = {
        field["name"]
        for field in json.loads((DEFINITIONS / "cim_tests/CommonFields.json").read_text())["fields"]
        if "not_allowed" in field["type"] and "props" in field["type"]
    }
    for dataset, rules in CIM["datasets"].items():
        reached = {
            name
            for name, model in models.items()
            if any(set(tags) <= set(rules["tags"]) for tags in model["tags"] or [])
        }
        assert reached == set(rules["models"]), dataset
        assert not forbidden & set(rules["fields"]), dataset
    missing = {dataset: {model: set() for model in said} for dataset, said in UNSAID.items()}
    for folder in folders():
        plugin = plugins.plugin(folder.parents[1].name)
        props = splunk.props(plugin, CONTRACT, CIM)
        for event in play(folder, plugin)[0]:
            name = event["event"]["dataset"]
            if event["event"].get("kind") == "pipeline_error" or name not in UNSAID:
                continue
            rules = CIM["datasets"][name]
            fields = searched(
                encode(compact(plugin.dataset(name), rules)(event)).decode(),
                props[sourcetype(name)],
            )
            for model in rules["models"]:
                for field in models[model]["fields"]:
                    found = fields.get(field["name"])
                    if field["type"] == "required" and not found:
                        missing[name][model].add(field["name"])
                    assert (
                        not found
                        or not field.get("expected_values")
                        or {(field["name"], value) for value in found}
                        <= {(field["name"], value) for value in field["expected_values"]} | VALUES
                    ), (folder.name, field["name"], found)
    odd = {
        (dataset, model): sorted(found ^ set(UNSAID[dataset][model]))
        for dataset, models in missing.items()
        for model, found in models.items()
        if found != set(UNSAID[dataset][model])
    }
    assert not odd, f"missing without a reason, or a reason for what is never missing: {odd}"


@pytest.mark.parametrize(
    "dataset, median, most",
    [
        ("apptrana.attack", 1.1, 1.3),
        ("centurylink_ips.event", 1.15, 1.6),
        ("pingintelligence.attack", 1.32, 1.6),
    ],
)
def test_an_event_is_hardly_larger_than_the_record(dataset, median, most):
    """Splunk's licence counts bytes. Of what an add-on can get: the other formats come by syslog.
    ABS's pointer to a denial of service stands once in the record as it is shown, which is the
    smaller for it; the event is not larger."""
    plugin, sizes = plugins.plugin(dataset.partition(".")[0]), []
    small = compact(plugin.dataset(dataset), CIM["datasets"][dataset])
    for folder in folders():
        if (
            folder.parents[1].name == plugin.name
            and json.loads((folder / "given.json").read_text()).get("channel", "webhook")
            == "webhook"
        ):
            for event in play(folder, plugin, keep_original=True)[0]:
                if (
                    event["event"]["dataset"] == dataset
                    and event["event"].get("kind") != "pipeline_error"
                ):
                    record = event["event"].pop("original").encode()
                    sizes.append(len(encode(small(event))) / len(record))
    assert len(sizes) >= 25 and statistics.median(sizes) <= median and max(sizes) <= most, (
        statistics.median(sizes),
        max(sizes),
    )


def expected(event, rule):
    """What the table of the CIM says of the whole event: the same must come of the compact one."""
    if "is" in rule:
        return rule["is"]
    if "unless" in rule and at(event, rule["from"]) == rule["unless"]:
        return None
    found = next(
        (
            value
            for path in ([rule["from"]] if "from" in rule else rule["first"])
            for value in [at(event, path)]
            if value is not None
        ),
        None,
    )
    if "map" in rule:
        return rule["map"].get(found, rule.get("else"))
    if "length" in rule and found is not None:
        return str(len(found))
    return found if found is not None else rule.get("else")


def at(event, path):
    for name in path.split("."):
        event = event.get(name) if isinstance(event, dict) else None
    event = event[0] if isinstance(event, list) and event else event
    return (
        {True: "true", False: "false"}[event]
        if isinstance(event, bool)
        else None
        if event is None
        else str(event)
    )


@pytest.mark.parametrize("plugin", plugins.installed().values(), ids=lambda plugin: plugin.name)
def test_what_is_tagged_is_in_a_model_and_searched_through_the_macro(plugin):
    types, tags = splunk.eventtypes(plugin, CIM), splunk.tags(plugin, CIM)
    assert {f"eventtype={name}" for name in types} == set(tags)
    assert all(
        said["search"].startswith(f"`{addon(plugin).root}_index` sourcetype=")
        for said in types.values()
    ) and f"{addon(plugin).root}_index" in splunk.macros(plugin)
    tagged = {frozenset(said) for said in tags.values()}
    assert all({"ids", "attack"} <= one for one in tagged)


def test_the_emulator_knows_splunks_order_and_limit():
    raw = json.dumps(
        {"a": {"b": 1, "c": [True, "x"]}, "long": "x" * LIMIT, "late": 1}, separators=(",", ":")
    )
    props = {
        "FIELDALIAS-one": "a.b ASNEW one",
        "EVAL-two": 'coalesce(one, "none")',
        "EVAL-three": 'coalesce(two, late, "neither")',
        "EVAL-four": 'case(\'a.b\'=="2", "x", true(), null())',
    }
    assert searched(raw, props) == {
        "a.b": ["1"],
        "a.c{}": ["true", "x"],
        "one": ["1"],
        "two": ["1"],
        "three": ["neither"],
    }
