"""Splunk's search time, emulated: fields of the JSON, then aliases, then evals, which do not see
each other; then eventtypes and their tags."""

import json
import re
from xml.sax.saxutils import unescape

from siemtap.core.events import EMPTY
from siemtap.core.paths import leaves
from siemtap.edge import schemas
from siemtap.edge.splunk.lines import line_encoder
from siemtap.edge.splunk.serializer import sourcetype
from siemtap.splunk.build import knowledge
from siemtap.splunk.runtime.names import addon
from siemtap.splunk.runtime.pipe import escape_line
from siemtap.testing.cim import ALWAYS, value_of

# limits.conf.spec 10.2.3: `[spath] extraction_cutoff`, line 2708, and `[kv] limit`, line 3535
LIMIT = 5_000  # bytes at the start of an event, from which Splunk extracts fields automatically
MOST_FIELDS = 100
CIM = schemas.read("cim.json")
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
TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|==|[(),./]|\d+|[A-Za-z_][\w]*)""")
# what the search of an eventtype is made of
TERM = re.compile(r'(NOT )?([\w.]+)(?:=| IN )("[^"]*"|\([^)]*\)|\w+|\*)')


def extracted(raw):
    """Return the fields of KV_MODE=json, name -> values, without those that end after the limit, or
    that come after as many fields as Splunk extracts."""
    fields, value_at, decoder = {}, 1, json.JSONDecoder()
    while raw[value_at - 1] != "}":
        name, value_at = decoder.raw_decode(raw, value_at)
        value, value_at = decoder.raw_decode(raw, value_at + 1)
        if len(raw[:value_at].encode()) <= LIMIT:
            for path, leaf in leaves(value, item=lambda index: "{}", path=name):
                if leaf not in EMPTY and (path in fields or len(fields) < MOST_FIELDS):
                    text = json.dumps(leaf) if isinstance(leaf, bool) else str(leaf)
                    fields.setdefault(path, []).append(text)
        value_at += 1
    return fields


def searched(raw, props):
    """Return every search-time field of an event."""
    fields = extracted(raw)
    for key, value in props.items():
        if key.startswith("FIELDALIAS-"):
            source, alias = re.fullmatch(r'"?([^"]+?)"? ASNEW (\w+)', value).groups()
            if source in fields and alias not in fields:
                fields[alias] = fields[source]
    evaluated = {
        key[len("EVAL-") :]: Eval(expression, fields).value()
        for key, expression in props.items()
        if key.startswith("EVAL-")
    }
    fields.update({name: [value] for name, value in evaluated.items() if value is not None})
    return fields


class Eval:
    """An evaluator of the eval expressions that props.conf uses: coalesce, case, if, match,
    replace, nullif, isnotnull, len, lower, in, true(), null(), ==, a dot between texts, / by a number,
    strings, fields."""

    def __init__(self, expression, fields):
        self.tokens, self.fields = TOKEN.findall(expression), fields
        assert "".join(self.tokens) == re.sub(
            r'\s+(?=(?:[^"\']|"[^"]*"|\'[^\']*\')*$)', "", expression
        ), expression

    def take(self, expected=None):
        token = self.tokens.pop(0)
        assert expected in (None, token), (expected, token)
        return token

    def value(self):
        left = self.single()
        while self.tokens[:1] == ["."]:
            self.take()
            right = self.single()
            left = None if left is None or right is None else left + right
        if self.tokens[:1] == ["/"]:
            self.take()
            divisor = int(self.take())
            return None if left is None else f"{float(left) / divisor:.15g}"
        if self.tokens[:1] == ["=="]:
            self.take()
            return left == self.single()
        return left

    def single(self):
        token = self.take()
        if token.startswith('"'):
            # Splunk unescapes these two; before any other character a backslash is kept
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
        if name == "in":
            return values[0] is not None and values[0] in values[1:]
        if name == "isnotnull":
            return values[0] is not None
        if name == "len":
            return None if values[0] is None else str(len(values[0]))
        if name == "lower":
            return None if values[0] is None else values[0].lower()
        if name == "nullif":
            return None if values[0] == values[1] else values[0]
        return {"true": True, "null": None}[name]


def tags_of(fields, plugin, name):
    """Return the tags of an event, by the searches of eventtypes.conf. `name`: its sourcetype."""
    fields = {**fields, "sourcetype": [name]}
    macro, tags = f"`{addon(plugin).root}_index` ", set()

    def holds(term):
        values, words = fields.get(term[2], []), set(re.findall(r"[\w:]+", term[3]))
        return str(bool(term[1]) != (bool(values) if term[3] == "*" else bool(words & {*values})))

    for eventtype, stanza in knowledge.eventtypes(plugin).items():
        assert stanza["search"].startswith(macro), stanza["search"]
        search = TERM.sub(holds, stanza["search"][len(macro) :]).replace(" OR ", "|")
        assert re.fullmatch(r"(True|False|[()| ])+", search), search
        if eval(search.replace(" ", " and ")):
            tags |= set(knowledge.tags(plugin)[f"eventtype={eventtype}"])
    return tags


def line_of(event, dataset):
    """Return an event as Splunk indexes it."""
    return unescape(escape_line(line_encoder(dataset)(event)).decode())


def models_of(tags, models):
    """Return the data models that tags put an event into. `models`: name -> lists of tags."""
    return {name for name, lists in models.items() if any(set(needed) <= tags for needed in lists)}


def check_event(plugin, event):
    """Check the models, the CIM fields and the id of an event at search time."""
    dataset = plugin.dataset(event["event"]["dataset"])
    raw = line_of(event, dataset)
    fields = searched(raw, knowledge.props(plugin)[sourcetype(dataset.name)])
    group = dataset.cim.class_of(event)
    tags = tags_of(fields, plugin, sourcetype(dataset.name))
    assert tags == set(group.tags if group else ())
    models = models_of(tags, {name: [model["tags"]] for name, model in CIM["models"].items()})
    assert models == set(group.models if group else ())
    assert (event["event"].get("kind") == "pipeline_error") <= (not models)
    for model in models:
        for name in ALWAYS & set(CIM["models"][model]["required"]):
            assert fields.get(name), f"{name} of {model} is missing"
        for name, allowed in CIM["models"][model]["fields"].items():
            assert not allowed or set(fields.get(name, [])) <= set(allowed), (name, fields[name])
    if event["event"].get("kind") != "pipeline_error":
        rules = dataset.cim.rules_of(group)
        for name in {name for name, _, _ in dataset.cim.rules()}:
            value = value_of(event, rules[name]) if name in rules else None
            searched_value = (fields.get(name) or [None])[0]
            # where the event is too long, a field may be the start of the value
            is_start = value and searched_value and value.startswith(searched_value)
            assert searched_value == value or ("splunk.shortened" in fields and is_start), (
                name,
                searched_value,
                value,
            )
    assert fields["event.id"] == [event["event"]["id"]] and not SPLUNKS_OWN & set(fields)
    return fields
