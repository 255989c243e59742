"""Mapping table -> Painless: the same event, made by an ingest pipeline where no Python runs.

What a record's rows do is generated here, from the table; what a converter does is told once more by its twin (`TWINS` of the plugin's
`ingest.py`, and LIBRARY below), a Painless function of the same name. A twin takes what the converter takes, settings last, returns a list for
a Split, and throws for what the converter refuses. Every record of every case is sent through both, and compared (`ci/live opensearch`).
"""

from __future__ import annotations

import inspect
import json
from typing import Any, Callable, Dict, Iterator, List, Mapping, Set, Tuple

from ..core.convert import country, instant, integer, ip
from ..core.mapping import ECS_VERSION, Dataset, Field, Given, Join, Split, collects, nest, text

Twins = Mapping[Callable[..., Any], str]

# Python's str.strip() and its JSON, in Painless. `spell` and `digest` are the recipe of core/identity.py.
CORE = r"""
boolean blank(int c) {
  return c == 32 || (c >= 9 && c <= 13) || (c >= 28 && c <= 31) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 8239 || c == 8287 || c == 0x3000;
}
String strip(String s) {
  int a = 0; int b = s.length();
  while (a < b && blank((int) s.charAt(a))) { a++ }
  while (b > a && blank((int) s.charAt(b - 1))) { b-- }
  return s.substring(a, b);
}
boolean ascii_blank(int c) { return c == 32 || (c >= 9 && c <= 13) }
String trimmed(String s) {
  int a = 0; int b = s.length();
  while (a < b && ascii_blank((int) s.charAt(a))) { a++ }
  while (b > a && ascii_blank((int) s.charAt(b - 1))) { b-- }
  return s.substring(a, b);
}
String joined(List words) {
  StringBuilder b = new StringBuilder();
  for (int i = 0; i < words.size(); i++) { if (i > 0) { b.append((char) 10) } b.append(words.get(i)) }
  return b.toString();
}
boolean absent(def v) { return v == null || v == '' || v == '-' }
String quoted(String s) {
  StringBuilder b = new StringBuilder('"');
  for (int i = 0; i < s.length(); i++) {
    String c = s.substring(i, i + 1);
    int code = (int) s.charAt(i);
    if (c == '"') { b.append('\\"') } else if (c == '\\') { b.append('\\\\') }
    else if (code == 10) { b.append('\\n') } else if (code == 13) { b.append('\\r') } else if (code == 9) { b.append('\\t') }
    else if (code == 8) { b.append('\\b') } else if (code == 12) { b.append('\\f') }
    else if (code < 32) { String h = Integer.toHexString(code); b.append('\\u').append('0000'.substring(h.length())).append(h) }
    else { b.append(c) }
  }
  return b.append('"').toString();
}
String canonical(def v) {
  if (v == null) { return 'null' }
  if (v instanceof String) { return quoted(v) }
  if (v instanceof Boolean) { return v ? 'true' : 'false' }
  if (v instanceof Double || v instanceof Float) { return Double.toString((double) v).replace('E', 'e') }
  if (v instanceof Number) { return v.toString() }
  StringBuilder b = new StringBuilder();
  if (v instanceof List) {
    for (def one : v) { b.append(b.length() == 0 ? '[' : ',').append(canonical(one)) }
    return b.length() == 0 ? '[]' : b.append(']').toString();
  }
  List names = new ArrayList(v.keySet()); Collections.sort(names);
  for (def name : names) { b.append(b.length() == 0 ? '{' : ',').append(quoted(name)).append(':').append(canonical(v.get(name))) }
  return b.length() == 0 ? '{}' : b.append('}').toString();
}
String spell(def v) {
  if (v == null) { return '' }
  if (v instanceof String) { return trimmed(v) }
  if ((v instanceof Double || v instanceof Float) && v == Math.rint((double) v)) { return Long.toString((long) v) }
  return canonical(v);
}
void put(Map e, String path, def v) {
  int dot = path.indexOf('.'); Map place = e; String rest = path;
  while (dot >= 0) {
    String name = rest.substring(0, dot); rest = rest.substring(dot + 1); dot = rest.indexOf('.');
    if (!(place.get(name) instanceof Map)) { place.put(name, new HashMap()) }
    place = place.get(name);
  }
  place.put(rest, v);
}
void gather(Map e, String name, def v) {
  Map related = e.computeIfAbsent('related', k -> new HashMap());
  List found = related.computeIfAbsent(name, k -> new ArrayList());
  if (!found.contains(v)) { found.add(v) }
}
"""

LIBRARY: Twins = {
    text: r"""
String text(def v) {
  if (v instanceof String) { return v }
  if (v instanceof Number || v instanceof Boolean) { return canonical(v) }
  throw new IllegalArgumentException('not a text');
}""",
    integer: r"""
def integer(def v) {
  if (v instanceof Integer || v instanceof Long) { return (long) v }
  if ((v instanceof Double || v instanceof Float) && v == Math.rint((double) v)) { return (long) v }
  if (v instanceof String) { return Long.parseLong(strip(v)) }
  throw new IllegalArgumentException('not a whole number');
}""",
    country: r"""
String country(def v) {
  if (v instanceof String && v.length() == 2 && v =~ /^[A-Za-z]{2}$/) { return v.toUpperCase() }
  throw new IllegalArgumentException('not a country code');
}""",
    instant: r"""
String instant(def v) {
  if (!(v instanceof String)) { throw new IllegalArgumentException('not a time') }
  def m = /([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,]([0-9]{1,9}))?\s*(Z|[+-][0-9]{2}:?[0-9]{2})?/.matcher(strip(v));
  if (!m.matches()) { throw new IllegalArgumentException('not a time') }
  String zone = m.group(5) == null || m.group(5) == 'Z' ? '+00:00' : m.group(5).contains(':') ? m.group(5) : m.group(5).substring(0, 3) + ':' + m.group(5).substring(3);
  String second = m.group(3) == null ? ':00' : m.group(3);
  String part = ((m.group(4) == null ? '' : m.group(4)) + '000').substring(0, 3);
  ZonedDateTime at = ZonedDateTime.parse(m.group(1) + 'T' + m.group(2) + second + zone).withZoneSameInstant(ZoneId.of('Z'));
  return at.format(DateTimeFormatter.ofPattern('uuuu-MM-dd\'T\'HH:mm:ss')) + '.' + part + 'Z';
}""",
    ip: r"""
String ip(def v) {
  if (!(v instanceof String)) { return null }
  String s = v;
  if (s =~ /^(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$/ && (int) s.charAt(s.length() - 1) != 10) { return s }
  if (!s.contains(':') || s.contains('%') || s.length() > 45) { return null }
  int dot = s.indexOf('.');
  if (dot >= 0) {
    String four = s.substring(s.lastIndexOf(':') + 1);
    if (ip(four) == null || four.contains(':')) { return null }
    String[] o = four.splitOnToken('.');
    int high = Integer.parseInt(o[0]) * 256 + Integer.parseInt(o[1]); int low = Integer.parseInt(o[2]) * 256 + Integer.parseInt(o[3]);
    s = s.substring(0, s.lastIndexOf(':') + 1) + Integer.toHexString(high) + ':' + Integer.toHexString(low);
  }
  int gap = s.indexOf('::');
  if (gap >= 0 && s.indexOf('::', gap + 1) >= 0) { return null }
  List parts = new ArrayList();
  String[] sides = gap >= 0 ? new String[] {s.substring(0, gap), s.substring(gap + 2)} : new String[] {s};
  List first = new ArrayList(); List second = new ArrayList();
  for (int side = 0; side < sides.length; side++) {
    if (sides[side] == '') { continue }
    for (String part : sides[side].splitOnToken(':')) {
      if (!(part =~ /^[0-9A-Fa-f]{1,4}$/)) { return null }
      (side == 0 ? first : second).add(Integer.parseInt(part, 16));
    }
  }
  int missing = 8 - first.size() - second.size();
  if (gap >= 0 ? missing < 1 : missing != 0) { return null }
  parts.addAll(first); for (int i = 0; i < missing; i++) { parts.add(0) } parts.addAll(second);
  int best = -1; int longest = 1;
  for (int i = 0; i < 8; i++) {
    int j = i; while (j < 8 && parts.get(j) == 0) { j++ }
    if (j - i > longest) { best = i; longest = j - i }
  }
  StringBuilder b = new StringBuilder();
  for (int i = 0; i < 8; i++) {
    if (best >= 0 && i == best) { b.append('::'); i += longest - 1; continue }
    if (b.length() > 0 && !b.toString().endsWith(':')) { b.append(':') }
    b.append(Integer.toHexString(parts.get(i)));
  }
  return b.toString();
}""",
}


def script(dataset: Dataset, twins: Twins, defaults: Mapping[str, Any] = {}) -> str:
    """`ctx._record` and `ctx._conf` -> the event in `ctx`. `_conf`: settings by name, over `defaults`; `until` (the end of the record's window); `also`
    (path -> value). The tag preserve_original_event asks for the original, as Elastic's pages do."""
    functions = {**LIBRARY, **twins}
    source = "\n".join([CORE.strip(), *(source.strip() for source in functions.values()), *_main(dataset, functions, defaults)]) + "\n"
    assert source.isascii() and all(char.isprintable() or char == "\n" for char in source), "a script stands in YAML as it is"
    return source


def _main(dataset: Dataset, functions: Twins, defaults: Mapping[str, Any]) -> Iterator[str]:
    known = _names(dataset)
    yield f"Map conf = {_literal(dict(defaults))}; if (ctx._conf != null) {{ conf.putAll(ctx._conf) }}"
    yield "if (ctx.tags != null && ctx.tags.contains('preserve_original_event')) { conf.put('keep_original', true) }"
    yield "def r = ctx._record;"
    yield f"Map e = {_literal(nest({**fixed(dataset), **dataset.constant}))};"
    for row in dataset.rows:
        if isinstance(row, Given):
            yield f"if (!absent(conf.get({_quoted(row.setting)}))) {{ put(e, {_quoted(row.ours)}, {_given(row, functions)}) }}"
    yield "if (conf.get('also') != null) { for (def one : conf.also.entrySet()) { put(e, one.getKey(), one.getValue()) } }"
    yield "String timestamp = null; boolean readable = r instanceof Map;"
    yield f"if (readable) {{ try {{ timestamp = {_called(dataset.clock, ['r'], functions)} }} catch (Exception wrong) {{ readable = false }} }}"
    yield "if (!readable) {"
    yield "  e.event.remove('kind'); e.event.remove('type');"
    yield "  e.put('@timestamp', conf.get('until'));"
    yield f"  put(e, 'event.id', joined([{_quoted(dataset.name)}, spell(canonical(r))]).sha256().substring(0, 32)); put(e, 'event.kind', 'pipeline_error');"
    yield f"  put(e, 'event.original', canonical({_called(dataset.redact, ['r'], functions)}));"
    yield f"  put(e, 'error.message', 'a record of {dataset.name} does not have the shape of the vendor\\'s page');"
    yield "} else {"
    yield "Map kept = new HashMap(); def said = null; def value = null;"
    yield "e.put('@timestamp', timestamp == null ? conf.get('until') : timestamp);"
    for row in dataset.rows:
        if not isinstance(row, Given):
            yield from _row(row, dataset, functions)
    yield f"Set known = new HashSet({json.dumps(known)});"
    yield f"for (def one : {_called(dataset.redact, ['r'], functions)}.entrySet()) {{ if (!known.contains(one.getKey())) {{ kept.put(one.getKey(), one.getValue()) }} }}"
    yield f"if (!kept.isEmpty()) {{ put(e, '{dataset.namespace}.extra', kept) }}"
    words = ", ".join([_quoted(dataset.name), *(f"spell({f'r.get({_quoted(word)})' if isinstance(word, str) else _called(word, ['r'], functions)})" for word in dataset.identity)])
    yield f"put(e, 'event.id', joined([{words}]).sha256().substring(0, 32));"
    yield f"if (conf.get('keep_original') == true) {{ put(e, 'event.original', canonical({_called(dataset.redact, ['r'], functions)})) }}"
    yield "}"
    yield "ctx.remove('_record'); ctx.remove('_conf');"
    yield "for (def one : e.entrySet()) { if (ctx.get(one.getKey()) instanceof Map && one.getValue() instanceof Map) { ctx.get(one.getKey()).putAll(one.getValue()) } else { ctx.put(one.getKey(), one.getValue()) } }"


def fixed(dataset: Dataset) -> Dict[str, Any]:
    """What the package's own fields say too, so that `siemtap` and an agent write alike."""
    return {"ecs.version": ECS_VERSION, "data_stream.type": "logs", "data_stream.dataset": dataset.name, "event.dataset": dataset.name, "event.module": dataset.namespace}


def _row(row: Any, dataset: Dataset, functions: Twins) -> Iterator[str]:
    if isinstance(row, Join):
        said = [f"r.get({_quoted(name)})" for name in row.theirs]
        yield f"try {{ value = {_called(row.convert, said, functions)}; {_stored(row.ours, 'value')} }} catch (Exception refused) {{ }}"
        return
    assert isinstance(row, (Field, Split))
    ours = (row.ours,) if isinstance(row.ours, str) else row.ours
    stores = " ".join(_stored(path, f"value.get({place})" if isinstance(row, Split) else "value") for place, path in enumerate(ours))
    yield f"said = r.get({_quoted(row.theirs)}); if (said instanceof String) {{ said = strip(said); if (absent(said)) {{ said = null }} }}"
    shown = f"{_called(dataset.redact, [f'[{_quoted(row.theirs)}: said]'], functions)}.get({_quoted(row.theirs)})"
    yield f"if (said != null) {{ try {{ value = {_called(row.convert, ['said'], functions)}; {stores} }} catch (Exception wrong) {{ kept.put({_quoted(row.theirs)}, {shown}) }} }}"


def _stored(path: str, value: str) -> str:
    return f"if ({value} != null) {{ gather(e, {_quoted(path.partition('.')[2])}, {value}) }}" if collects(path) else f"if ({value} != null) {{ put(e, {_quoted(path)}, {value}) }}"


def _given(row: Given, functions: Twins) -> str:
    said = f"conf.get({_quoted(row.setting)})"
    return said if row.convert is Given._field_defaults["convert"] else _called(row.convert, [said], functions)


def _called(function: Callable[..., Any], said: List[str], functions: Twins) -> str:
    """`as_sent` and the like, which hand on what they get, need no twin."""
    if function not in functions:
        if function.__name__ == "as_sent":
            return said[0]
        raise KeyError(f"{function.__module__}.{function.__name__} has no twin in Painless")
    settings = [f"conf.get({_quoted(name)})" for name, of in inspect.signature(function).parameters.items() if of.kind is of.KEYWORD_ONLY]
    return f"{_name(functions[function])}({', '.join([*said, *settings])})"


def _name(source: str) -> str:
    """Of the last function of a twin: what stands before it are its helpers."""
    heads: List[str] = [line.partition("(")[0].split()[-1] for line in source.strip().splitlines() if line[:1].isalpha() and "(" in line and line.rstrip().endswith("{")]
    return heads[-1]


def _names(dataset: Dataset) -> List[str]:
    theirs: Set[str] = set(dataset.quiet) | {word for word in dataset.identity if isinstance(word, str)}
    for row in dataset.rows:
        if not isinstance(row, Given):
            theirs |= {row.theirs} if isinstance(row.theirs, str) else set(row.theirs)
    return sorted(theirs)


def _literal(value: Any) -> str:
    """A map or list that may be changed."""
    if isinstance(value, dict):
        return "new HashMap([" + ", ".join(f"{_quoted(name)}: {_literal(one)}" for name, one in value.items()) + "])" if value else "new HashMap()"
    if isinstance(value, (list, tuple)):
        return "new ArrayList([" + ", ".join(map(_literal, value)) + "])"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(said: str) -> str:
    return "'" + said.replace("\\", "\\\\").replace("'", "\\'") + "'"


def settings_of(dataset: Dataset) -> Tuple[str, ...]:
    """The settings that its converters ask for: an agent sends them with each record."""
    rows = [row.convert for row in dataset.rows if not isinstance(row, Given)]
    wanted = [name for convert in (*rows, dataset.redact, dataset.clock) for name, of in inspect.signature(convert).parameters.items() if of.kind is of.KEYWORD_ONLY]
    return tuple(dict.fromkeys([*(row.setting for row in dataset.rows if isinstance(row, Given)), *wanted, "keep_original"]))
