"""A mapping table as a Painless script: an ingest pipeline makes the same event as Python.

The script is generated from the rows and from converters that declare what they are
(core/declared.py). Any other converter needs a twin: a Painless function of the same name in the
plugin's `elastic/mapping.painless` or in `library.painless`. A twin has the arguments of the
converter, settings last. It returns a list for a Split, and throws where the converter raises.
`ci/live opensearch` compares both for every record of every case.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Set, Tuple

from ..core.compile.paths import Place, place_of, steps_of
from ..core.errors import ConfigError
from ..core.paths import nest
from ..core.rows import (
    Dataset,
    Given,
    fixed_fields,
    identity_parts,
    paths_read,
    settings_read,
)
from .painless_rows import (
    call,
    given_value,
    literal,
    place_literal,
    quoted,
    raw_value,
    statements,
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
    elsewhere: FrozenSet[str] = frozenset(),
    reader: str = "",
) -> str:
    """Return the script that makes an event in `ctx` from `ctx._record` and `ctx._conf`.

    `_conf` has settings by name, which override `defaults`; `until`, the end of the window;
    `also`, path -> value; `empty`, if there was no record. The tag preserve_original_event asks for
    event.original.

    twins: the functions of the plugin. elsewhere: fields that a processor sets. reader: the
    function of `twins` that makes the record from what the agent sent, without `reading_script`.
    """
    there = functions(twins)
    return _whole(dataset, _main(dataset, there, defaults, elsewhere, reader), there)


def reading_script(dataset: Dataset, twins: str, defaults: Mapping[str, Any], reader: str) -> str:
    """Return the script that makes `ctx._record` from what the agent sent there, before `script`.

    A script of its own: both together are longer than a server takes. `reader`: the function of
    `twins` that makes the record. What it cannot read stays as it is. Its record has no number
    beyond 64 bits: no processor passes one on.
    """
    lines = [
        *_conf_of_record(defaults),
        f"try {{ ctx.put('_record', {reader}(ctx._record, conf)) }} catch (Exception wrong) {{ }}",
        "if (conf.get('drop') == true) { ctx.put('_drop', true) }",
        "ctx.put('_conf', conf);",
    ]
    return _whole(dataset, lines, functions(twins))


def collection_error(dataset: Dataset, twins: str, defaults: Mapping[str, Any] = {}) -> str:
    """Return the script for an error of an agent's input: `error.message` without a record.

    The id depends on the message, the time and the agent. The agent may send the document twice,
    but the same error an hour later is another event.
    """
    there = functions(twins)
    return _whole(dataset, _collection_error(dataset, there, defaults), there)


def last_resort(dataset: Dataset) -> str:
    """Return the script for a document whose pipeline failed before there was an event.

    The whole document becomes one hash. The script has no loop, regular expression or function, so
    that it does not fail too.
    """
    return "\n".join(_last_resort(dataset)) + "\n"


def _whole(dataset: Dataset, source_lines: Iterable[str], there: Mapping[str, str]) -> str:
    try:
        main = "\n".join(source_lines)
    except ConfigError as error:
        raise error.at(dataset.name) from None
    lines = "\n".join([*_called_by(main, there), main]).split("\n")
    source = "".join(f"{line.strip()}\n" for line in lines)  # a script has a greatest length
    assert source.isascii() and all(char.isprintable() or char == "\n" for char in source), (
        "a script stands in YAML as it is"
    )
    assert len(source) < LONGEST, (
        f"the script of {dataset.name} has {len(source)} bytes, and a server takes {LONGEST}"
    )
    return source


def tables(values: Mapping[str, Any]) -> str:
    """Return a function for each table of a plugin, so that a parser in Painless and its twin in
    Python have the same one: {"LABELS": {"a": "b"}} becomes the function `LABELS()`."""
    return "".join(
        f"def {name}() {{ return {literal(value)} }}\n" for name, value in values.items()
    )


def functions(twins: str) -> Dict[str, str]:
    """Return name -> source of the functions of the library and of a plugin."""
    matches = [*FUNCTION.finditer(LIBRARY), *FUNCTION.finditer(twins)]
    named = {match[1]: match[0] for match in matches}
    names = [match[1] for match in matches]
    assert len(named) == len(matches), f"twice: {sorted({n for n in names if names.count(n) > 1})}"
    return named


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
    elsewhere: FrozenSet[str],
    reader: str,
) -> Iterator[str]:
    """Functions of one dataset, then what calls them. Whatever throws costs as little as it can:
    a field, else the event becomes an error event."""
    yield from _begun(dataset, there)
    yield from _shown(dataset, there)
    yield from _mapped(dataset, there, elsewhere)
    yield from _unreadable(dataset)
    yield from _conf_of_record(defaults)
    yield "def r = ctx._record; Map e = null;"
    if reader:
        yield f"try {{ r = {reader}(r, conf) }} catch (Exception wrong) {{ r = ctx._record }}"
    yield (
        "if (r instanceof Map) { try { e = event_of(r, conf) } catch (Exception wrong) { e ="
        " null } }"
    )
    yield "if (e == null) { e = unreadable(r, conf) }"
    yield "ctx.remove('_record'); ctx.remove('_conf'); ctx.remove('message');"
    yield from MERGED


# Copies texts: rows of [key, field, field, …].
TEXTS = """void texts(Map e, Map r, Map kept, Map conf, List rows) {
  for (List row : rows) {
    def raw = trimmed_value(r.get(row.get(0)));
    if (raw != null) {
      try {
        String value = text(raw);
        for (int n = 1; n < row.size(); n++) { store(e, row.get(n), value) }
      } catch (Exception wrong) { keep(kept, row.get(0), raw, conf) }
    }
  }
}"""
MERGED = (
    (
        "for (def entry : e.entrySet()) { if (ctx.get(entry.getKey()) instanceof Map &&"
        " entry.getValue() instanceof Map) { ctx.get(entry.getKey()).putAll(entry.getValue()) }"
        " else { ctx.put(entry.getKey(), entry.getValue()) } }"
    ),
)


def _conf(defaults: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Map conf = {literal(dict(defaults))}; if (ctx._conf instanceof Map) {{"
        " conf.putAll(ctx._conf) }"
    )


def _conf_of_record(defaults: Mapping[str, Any]) -> Iterator[str]:
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
    yield "if (ctx._record == '' || !ctx.containsKey('_record')) { conf.put('empty', true) }"


def _begun(dataset: Dataset, there: Mapping[str, str]) -> Iterator[str]:
    yield "Map begun(Map conf) {"
    constants = nest({**fixed_fields(dataset), **dataset.constant})
    yield f"Map e = {literal(constants)}; def given = null;"
    for row in dataset.rows:
        if isinstance(row, Given):
            yield (
                f"try {{ given = {given_value(row, there)}; if (given != null && given != '') {{"
                f" put(e, {quoted(row.target)}, given) }} }} catch (Exception wrong) {{ }}"
            )
    yield (
        "if (conf.get('also') != null) { for (def entry : conf.also.entrySet()) { put(e,"
        " entry.getKey(), entry.getValue()) } }"
    )
    yield "return e;"
    yield "}"


def _shown(dataset: Dataset, there: Mapping[str, str]) -> Iterator[str]:
    """A record as it may be shown; where one field cannot be redacted, its hash."""
    yield "def shown_whole(def r, Map conf) {"
    yield (
        f"try {{ return {call(dataset.redact, ['r'], there)} }} catch (Exception wrong) {{ if"
        " (!(r instanceof Map)) { return cut(r) } }"
    )
    yield "Map made = new LinkedHashMap();"
    yield (
        "for (def entry : r.entrySet()) { def alone = [entry.getKey(): entry.getValue()]; try {"
        f" made.putAll({call(dataset.redact, ['alone'], there)}) }} catch (Exception worse) {{"
        " made.put(entry.getKey(), cut(entry.getValue())) } }"
    )
    yield "return made;"
    yield "}"
    yield "void keep(Map kept, String name, def raw, Map conf) {"
    yield (
        "def alone = [name: raw]; try { kept.put(name,"
        f" {call(dataset.redact, ['alone'], there)}.get(name)) }} catch (Exception wrong) {{"
        " kept.put(name, cut(raw)) }"
    )
    yield "}"


def _mapped(dataset: Dataset, there: Mapping[str, str], elsewhere: FrozenSet[str]) -> Iterator[str]:
    """`event_of` returns null for a record that has no time of the page's: it is unreadable."""
    yield TEXTS
    paths = paths_read(dataset)
    record, nested = place_of(paths), any(len(steps_of(path)) > 1 for path in paths)
    yield "Map event_of(Map r, Map conf) {"
    yield (
        "Map e = begun(conf); String timestamp = null; Map kept = new HashMap(); def raw = null;"
        " def value = null;"
    )
    yield (
        f"try {{ timestamp = {call(dataset.clock, ['r'], there)} }} catch (Exception wrong) {{"
        " return null }"
    )
    yield "e.put('@timestamp', timestamp == null ? conf.get('until') : timestamp);"
    if nested:
        yield "Set refused_paths = new HashSet(); List values = null; List lists = null;"
    yield from statements(
        (row for row in dataset.rows if not isinstance(row, Given) and row.target not in elsewhere),
        there,
    )
    yield from _rest_of_nested(record) if nested else _rest_of_flat(record)
    yield f"if (!kept.isEmpty()) {{ put(e, '{dataset.namespace}.extra', kept) }}"
    values = [
        raw_value(word) if isinstance(word, str) else call(word, ["r"], there)
        for word in identity_parts(dataset)
    ]
    words = ", ".join([quoted(dataset.name), *(f"spell({value})" for value in values)])
    yield f"List words = new ArrayList([{words}]);"
    if callable(dataset.identity):
        yield (
            f"for (def word : {call(dataset.identity, ['r'], there)}) {{ words.add(spell(word)) }}"
        )
    # a record without any of these values identifies itself
    yield "boolean named = false;"
    yield "for (int n = 1; n < words.size(); ++n) { named = named || !words.get(n).equals('') }"
    yield f"if (!named) {{ words = [{quoted(dataset.name)}, canonical(r)] }}"
    yield "put(e, 'event.id', joined(words).sha256().substring(0, 32));"
    yield (
        "if (conf.get('keep_original') == true) { put(e, 'event.original', canonical(shown_whole(r,"
        " conf))) }"
    )
    yield "return e;"
    yield "}"


def _rest_of_flat(record: Place) -> Iterator[str]:
    yield f"Set known = new HashSet({json.dumps(sorted(record.names))});"
    yield (
        "if (!known.containsAll(r.keySet())) { for (def entry : shown_whole(r, conf).entrySet()) {"
        " if (!known.contains(entry.getKey())) { kept.put(entry.getKey(), entry.getValue()) } } }"
    )


def _rest_of_nested(record: Place) -> Iterator[str]:
    yield f"Map places = {place_literal(record)};"
    yield "if (!refused_paths.isEmpty() || unread(r, places, refused_paths, '', false) != null) {"
    yield "def rest = unread(shown_whole(r, conf), places, refused_paths, '', false);"
    yield "if (rest != null) { rest.putAll(kept); kept = rest }"
    yield "}"


def _unreadable(dataset: Dataset) -> Iterator[str]:
    """The id of an empty record is of its time."""
    yield "Map unreadable(def r, Map conf) {"
    yield "Map e = begun(conf); e.event.remove('kind'); e.event.remove('type');"
    yield "if (conf.get('until') != null) { e.put('@timestamp', conf.get('until')) }"
    yield (
        f"put(e, 'event.id', joined([{quoted(dataset.name)}, spell(conf.get('empty') == true ?"
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
        "for (def message : messages) { if (message != null) {"
        " shown.add(without_secrets(message.toString())) } }"
    )
    yield (
        "List words = ["
        + quoted(dataset.name)
        + ", 'collection error', ctx['@timestamp'], ctx.agent?.id, error.code, joined(messages)];"
    )
    yield "put(e, 'event.id', joined(words).sha256().substring(0, 32));"
    yield "Map visible = new HashMap();"
    yield "visible.put('message', shown.size() == 1 ? shown.get(0) : shown);"
    yield (
        "for (String name : ['code', 'id', 'type']) { if (error.get(name) != null) {"
        " visible.put(name, without_secrets(error.get(name).toString())) } }"
    )
    yield "ctx.put('error', visible); ctx.remove('_conf');"
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
        for path, value in {**fixed_fields(dataset), **dataset.constant}.items()
        if path not in ("event.kind", "event.type")
    }
    yield f"  Map e = {literal(nest(constants))};"
    yield f"  e.event.put('id', ({quoted(dataset.name)} + ' ' + words).sha256().substring(0, 32));"
    yield (
        "  e.event.put('original', '{\"characters\":' + words.length() + ',\"sha256\":\"' +"
        " words.sha256() + '\"}');"
    )
    yield from (f"  {line}" for line in MERGED)
    yield "}"


def settings_of(dataset: Dataset) -> Tuple[str, ...]:
    """Return the settings that a dataset's converters need; an agent sends them with a record."""
    of_rows = [row.convert for row in dataset.rows if not isinstance(row, Given)]
    converters = (*of_rows, dataset.redact, dataset.clock)
    wanted = [name for convert in converters for name in settings_read(convert)]
    given = [row.setting for row in dataset.rows if isinstance(row, Given)]
    return tuple(dict.fromkeys([*given, *wanted, "keep_original"]))
