"""Mapping table -> Painless: the same event, made by an ingest pipeline where no Python runs.

What a record's rows do is generated here, from the table; what a converter does is told once more
by its twin, a Painless function of the same name, in the plugin's `elastic/mapping.painless` or in
`library.painless`. A twin takes what the converter takes, settings last, returns a list for a
Split, and throws for what the converter refuses. Every record of every case is sent through both,
and compared (`ci/live opensearch`).
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Mapping, Set, Tuple

from ..core.mapping import (
    Dataset,
    Field,
    Given,
    Join,
    Split,
    as_sent,
    collects,
    fixed,
    named_by,
    nest,
)

LIBRARY = (Path(__file__).parent / "library.painless").read_text(encoding="utf-8")
FUNCTION = re.compile(
    r"^[A-Za-z]\w*(?:\[\])? (\w+)\([^()]*\) \{(?:.*\}|(?:\n.*)*?\n\})$", re.MULTILINE
)
CALL = re.compile(r"\b(\w+)\(")
LONGEST = 65_535  # bytes of a script, as Elasticsearch is set up


def script(
    dataset: Dataset,
    twins: str,
    defaults: Mapping[str, Any] = {},
    reader: str = "",
    elsewhere: FrozenSet[str] = frozenset(),
) -> str:
    """`ctx._record` and `ctx._conf` -> the event in `ctx`. `_conf`: settings by name, over
    `defaults`; `until` (the end of the record's window); `also` (path -> value). The tag
    preserve_original_event asks for the original, as Elastic's pages do.

    `twins`: the functions of the plugin. `reader`: the one of them that makes the record of what
    the agent sent, as (sent, conf). `elsewhere`: fields of ours that a processor makes."""
    there = functions(twins)
    return _whole(dataset, "\n".join(_main(dataset, there, defaults, reader, elsewhere)), there)


def collection_error(dataset: Dataset, twins: str, defaults: Mapping[str, Any] = {}) -> str:
    """Return the script for what an agent's input says of itself: a document with `error.message`
    and no record, from a program that was refused or that failed.

    Its id is of its words and of when and where it was said: the agent may send it twice, and the
    same error an hour later is another."""
    there = functions(twins)
    return _whole(dataset, "\n".join(_collection_error(dataset, there, defaults)), there)


def last_resort(dataset: Dataset) -> str:
    """Return the script for a document whose pipeline failed before there was an event: all of it
    in one hash. No loop of ours, no regular expression, no function: it must not fail as well."""
    return "\n".join(_last_resort(dataset)) + "\n"


def _whole(dataset: Dataset, main: str, there: Mapping[str, str]) -> str:
    source = "\n".join([*_called_by(main, there), main]) + "\n"
    assert source.isascii() and all(char.isprintable() or char == "\n" for char in source), (
        "a script stands in YAML as it is"
    )
    assert len(source) < LONGEST, (
        f"the script of {dataset.name} has {len(source)} bytes, and a server takes {LONGEST}"
    )
    return source


def functions(twins: str) -> Dict[str, str]:
    """Name -> source, of the library and of a plugin."""
    ours, theirs = (
        {found[1]: found[0] for found in FUNCTION.finditer(source)} for source in (LIBRARY, twins)
    )
    assert not ours.keys() & theirs.keys(), f"twice: {sorted(ours.keys() & theirs.keys())}"
    return {**ours, **theirs}


def _called_by(main: str, there: Mapping[str, str]) -> List[str]:
    wanted: Set[str] = set()
    waiting = [main]
    while waiting:
        fresh = {name for name in CALL.findall(waiting.pop()) if name in there} - wanted
        wanted |= fresh
        waiting += [there[name] for name in fresh]
    return [source for name, source in there.items() if name in wanted]


def _main(
    dataset: Dataset,
    there: Mapping[str, str],
    defaults: Mapping[str, Any],
    reader: str,
    elsewhere: FrozenSet[str],
) -> Iterator[str]:
    """Functions of one dataset, then what calls them. Whatever throws costs as little as it can:
    a field, else the event becomes one that says so."""
    yield from _begun(dataset, there)
    yield from _shown(dataset, there)
    yield from _mapped(dataset, there, elsewhere)
    yield from _unreadable(dataset)
    yield from _conf(defaults)
    yield (
        "if (ctx.tags != null && ctx.tags.contains('preserve_original_event')) {"
        " conf.put('keep_original', true) }"
    )
    yield "def until = conf.get('until') == null ? ctx['@timestamp'] : conf.get('until');"
    yield (
        "if (until != null) { try { conf.put('until', instant(until.toString())) } catch (Exception"
        " wrong) { conf.put('until', ctx['@timestamp']) } }"
    )
    yield "def r = ctx._record; Map e = null;"
    yield "if (r == '' || !ctx.containsKey('_record')) { conf.put('empty', true) }"
    if reader:
        yield f"try {{ r = {reader}(r, conf) }} catch (Exception wrong) {{ r = ctx._record }}"
    yield (
        "if (r instanceof Map) { try { e = event_of(r, conf) } catch (Exception wrong) { e ="
        " null } }"
    )
    yield "if (e == null) { e = unreadable(r, conf) }"
    yield "if (conf.get('drop') == true) { ctx.put('_drop', true) }"
    yield "ctx.remove('_record'); ctx.remove('_conf'); ctx.remove('message');"
    yield from MERGED


MERGED = (
    (
        "for (def one : e.entrySet()) { if (ctx.get(one.getKey()) instanceof Map && one.getValue()"
        " instanceof Map) { ctx.get(one.getKey()).putAll(one.getValue()) } else {"
        " ctx.put(one.getKey(), one.getValue()) } }"
    ),
)


def _conf(defaults: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Map conf = {literal(dict(defaults))}; if (ctx._conf instanceof Map) {{"
        " conf.putAll(ctx._conf) }"
    )


def _begun(dataset: Dataset, there: Mapping[str, str]) -> Iterator[str]:
    yield "Map begun(Map conf) {"
    yield f"Map e = {literal(nest({**fixed(dataset), **dataset.constant}))}; def given = null;"
    for row in dataset.rows:
        if isinstance(row, Given):
            yield (
                f"try {{ given = {_given(row, there)}; if (given != null && given != '') {{ put(e,"
                f" {_quoted(row.ours)}, given) }} }} catch (Exception wrong) {{ }}"
            )
    yield (
        "if (conf.get('also') != null) { for (def one : conf.also.entrySet()) { put(e,"
        " one.getKey(), one.getValue()) } }"
    )
    yield "return e;"
    yield "}"


def _shown(dataset: Dataset, there: Mapping[str, str]) -> Iterator[str]:
    """A record as it may be shown; where one field cannot be redacted, its hash."""
    yield "def shown_whole(def r, Map conf) {"
    yield (
        f"try {{ return {_called(dataset.redact, ['r'], there)} }} catch (Exception wrong) {{ if"
        " (!(r instanceof Map)) { return cut(r) } }"
    )
    yield "Map made = new LinkedHashMap();"
    yield (
        "for (def one : r.entrySet()) { def alone = [one.getKey(): one.getValue()]; try {"
        f" made.putAll({_called(dataset.redact, ['alone'], there)}) }} catch (Exception worse) {{"
        " made.put(one.getKey(), cut(one.getValue())) } }"
    )
    yield "return made;"
    yield "}"
    yield "void keep(Map kept, String name, def said, Map conf) {"
    yield (
        "def alone = [name: said]; try { kept.put(name,"
        f" {_called(dataset.redact, ['alone'], there)}.get(name)) }} catch (Exception wrong) {{"
        " kept.put(name, cut(said)) }"
    )
    yield "}"


def _mapped(dataset: Dataset, there: Mapping[str, str], elsewhere: FrozenSet[str]) -> Iterator[str]:
    """None for a record that has no time of the page's: it is unreadable."""
    known = _names(dataset)
    yield "Map event_of(Map r, Map conf) {"
    yield (
        "Map e = begun(conf); String timestamp = null; Map kept = new HashMap(); def said = null;"
        " def value = null;"
    )
    yield (
        f"try {{ timestamp = {_called(dataset.clock, ['r'], there)} }} catch (Exception wrong) {{"
        " return null }"
    )
    yield "e.put('@timestamp', timestamp == null ? conf.get('until') : timestamp);"
    for row in dataset.rows:
        if not isinstance(row, Given) and row.ours not in elsewhere:
            yield from _row(row, dataset, there)
    yield f"Set known = new HashSet({json.dumps(known)});"
    yield (
        "if (!known.containsAll(r.keySet())) { for (def one : shown_whole(r, conf).entrySet()) { if"
        " (!known.contains(one.getKey())) { kept.put(one.getKey(), one.getValue()) } } }"
    )
    yield f"if (!kept.isEmpty()) {{ put(e, '{dataset.namespace}.extra', kept) }}"
    values = [
        f"r.get({_quoted(word)})" if isinstance(word, str) else _called(word, ["r"], there)
        for word in named_by(dataset)
    ]
    words = ", ".join([_quoted(dataset.name), *(f"spell({value})" for value in values)])
    yield f"List words = new ArrayList([{words}]);"
    if callable(dataset.identity):
        yield (
            f"for (def word : {_called(dataset.identity, ['r'], there)}) {{"
            " words.add(spell(word)) }"
        )
    yield "put(e, 'event.id', joined(words).sha256().substring(0, 32));"
    yield (
        "if (conf.get('keep_original') == true) { put(e, 'event.original', canonical(shown_whole(r,"
        " conf))) }"
    )
    yield "return e;"
    yield "}"


def _unreadable(dataset: Dataset) -> Iterator[str]:
    """Whatever is empty is told apart by its time."""
    yield "Map unreadable(def r, Map conf) {"
    yield "Map e = begun(conf); e.event.remove('kind'); e.event.remove('type');"
    yield "if (conf.get('until') != null) { e.put('@timestamp', conf.get('until')) }"
    yield (
        f"put(e, 'event.id', joined([{_quoted(dataset.name)}, spell(conf.get('empty') == true ?"
        " conf.get('until') : canonical(r))]).sha256().substring(0, 32)); put(e, 'event.kind',"
        " 'pipeline_error');"
    )
    yield "put(e, 'event.original', canonical(shown_whole(r, conf)));"
    yield (
        f"put(e, 'error.message', 'a record of {dataset.name} does not have the shape of the"
        " vendor\\'s page');"
    )
    yield "return e;"
    yield "}"


def _collection_error(
    dataset: Dataset, there: Mapping[str, str], defaults: Mapping[str, Any]
) -> Iterator[str]:
    yield from _begun(dataset, there)
    yield from _conf(defaults)
    yield (
        "Map e = begun(conf); e.event.remove('kind'); e.event.remove('type'); put(e, 'event.kind',"
        " 'pipeline_error');"
    )
    yield (
        "def error = ctx.error; List messages = error.message instanceof List ? error.message :"
        " [error.message]; List shown = new ArrayList();"
    )
    yield (
        "for (def one : messages) { if (one != null) {"
        " shown.add(without_secrets(one.toString())) } }"
    )
    yield (
        "List words = ["
        + _quoted(dataset.name)
        + ", 'collection error', ctx['@timestamp'], ctx.agent?.id, error.code, joined(messages)];"
    )
    yield "put(e, 'event.id', joined(words).sha256().substring(0, 32));"
    yield "Map told = new HashMap(); told.put('message', shown.size() == 1 ? shown.get(0) : shown);"
    yield (
        "for (String name : ['code', 'id', 'type']) { if (error.get(name) != null) { told.put(name,"
        " without_secrets(error.get(name).toString())) } }"
    )
    yield "ctx.put('error', told); ctx.remove('_conf');"
    yield from MERGED


def _last_resort(dataset: Dataset) -> Iterator[str]:
    yield "if (!(ctx.event instanceof Map)) { ctx.put('event', new HashMap()) }"
    yield "if (!(ctx.error instanceof Map)) { ctx.remove('error') }"
    yield "if (ctx.event.get('id') == null) {"
    yield (
        "  def sent = ctx.get('_record') != null ? ctx.get('_record') : ctx.get('message'); String"
        " words = sent == null || sent == '' ? '' + ctx['@timestamp'] : sent.toString();"
    )
    yield "  ctx.remove('_record'); ctx.remove('message');"
    constants = {
        path: value
        for path, value in {**fixed(dataset), **dataset.constant}.items()
        if path not in ("event.kind", "event.type")
    }
    yield f"  Map e = {literal(nest(constants))};"
    yield f"  e.event.put('id', ({_quoted(dataset.name)} + ' ' + words).sha256().substring(0, 32));"
    yield (
        "  e.event.put('original', '{\"characters\":' + words.length() + ',\"sha256\":\"' +"
        " words.sha256() + '\"}');"
    )
    yield from (f"  {line}" for line in MERGED)
    yield "}"


def _row(row: Any, dataset: Dataset, there: Mapping[str, str]) -> Iterator[str]:
    if isinstance(row, Join):
        said = [f"r.get({_quoted(name)})" for name in row.theirs]
        yield (
            f"try {{ value = {_called(row.convert, said, there)}; {_stored(row.ours, 'value')} }}"
            " catch (Exception refused) { }"
        )
        return
    assert isinstance(row, (Field, Split))
    ours = (row.ours,) if isinstance(row.ours, str) else row.ours
    stores = " ".join(
        _stored(path, f"value.get({place})" if isinstance(row, Split) else "value")
        for place, path in enumerate(ours)
    )
    yield f"said = trimmed_value(r.get({_quoted(row.theirs)}));"
    yield (
        f"if (said != null) {{ try {{ value = {_called(row.convert, ['said'], there)}; {stores} }}"
        f" catch (Exception wrong) {{ keep(kept, {_quoted(row.theirs)}, said, conf) }} }}"
    )


def _stored(path: str, value: str) -> str:
    return (
        f"if ({value} != null) {{ gather(e, {_quoted(path.partition('.')[2])}, {value}) }}"
        if collects(path)
        else f"if ({value} != null) {{ put(e, {_quoted(path)}, {value}) }}"
    )


def _given(row: Given, there: Mapping[str, str]) -> str:
    said = f"conf.get({_quoted(row.setting)})"
    return (
        said
        if row.convert is Given._field_defaults["convert"]
        else _called(row.convert, [said], there)
    )


def _called(function: Callable[..., Any], said: List[str], there: Mapping[str, str]) -> str:
    if function is as_sent:
        return said[0]
    name = function.__name__
    if name not in there:
        raise KeyError(f"{function.__module__}.{name} has no twin in Painless")
    settings = [
        f"conf.get({_quoted(setting)})"
        for setting, of in inspect.signature(function).parameters.items()
        if of.kind is of.KEYWORD_ONLY
    ]
    return f"{name}({', '.join([*said, *settings])})"


def _names(dataset: Dataset) -> List[str]:
    theirs: Set[str] = set(dataset.quiet) | {
        word for word in named_by(dataset) if isinstance(word, str)
    }
    for row in dataset.rows:
        if not isinstance(row, Given):
            theirs |= {row.theirs} if isinstance(row.theirs, str) else set(row.theirs)
    return sorted(theirs)


def literal(value: Any) -> str:
    """A map or list that may be changed."""
    if isinstance(value, dict):
        return (
            "new HashMap(["
            + ", ".join(f"{_quoted(name)}: {literal(one)}" for name, one in value.items())
            + "])"
            if value
            else "new HashMap()"
        )
    if isinstance(value, (list, tuple)):
        return "new ArrayList([" + ", ".join(map(literal, value)) + "])"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(said: str) -> str:
    return "'" + said.replace("\\", "\\\\").replace("'", "\\'") + "'"


def settings_of(dataset: Dataset) -> Tuple[str, ...]:
    """The settings that its converters ask for: an agent sends them with each record."""
    rows = [row.convert for row in dataset.rows if not isinstance(row, Given)]
    wanted = [
        name
        for convert in (*rows, dataset.redact, dataset.clock)
        for name, of in inspect.signature(convert).parameters.items()
        if of.kind is of.KEYWORD_ONLY
    ]
    return tuple(
        dict.fromkeys(
            [
                *(row.setting for row in dataset.rows if isinstance(row, Given)),
                *wanted,
                "keep_original",
            ]
        )
    )
