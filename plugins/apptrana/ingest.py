"""What Elastic's package needs beside the manifest and the mapping: how an agent asks, and the converters of mapping.py once more, in Painless."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

from siemtap.render.package import Program

from . import mapping as of

PROGRAMS = {
    "apptrana.attack": Program(
        cel=(Path(__file__).parent / "elastic/attack.cel").read_text(encoding="utf-8"),
        account=("url", "client_id", "client_secret", "auth", "account"),
        own=("interval", "lookback", "lag", "overlap", "window", "event_type", "alerts"),
        state={"url": "{{url}}", "client_id": "{{client_id}}", "client_secret": "{{client_secret}}", "auth": "{{auth}}", "lag": "{{lag}}", "overlap": "{{overlap}}", "window": "{{window}}",
               "lookback": "{{initial_interval}}", "event_type": "{{event_type}}"},
        conf={"account": "{{account}}", "alerts": "{{alerts}}"}, without={"auth": ("code",)}, sample="a_blocked_attack"),
}

TWINS: Dict[Callable[..., Any], str] = {
    of.attacker: r"""
List attacker(def v) {
  String a = ip(v);
  return [a, text(v), a, a];
}""",
    of.attacker_geo: r"""
List attacker_geo(def v) {
  try { return [country(v), null] } catch (IllegalArgumentException wrong) { return [null, text(v)] }
}""",
    of.kind_of: r"""
String kind_of(def alerts) {
  return alerts == 'all' ? 'alert' : 'event';
}""",
    of.severity: r"""
List severity(def v, Map levels) {
  def level = integer(v);
  return [levels == null ? null : levels.get(level.toString()), level];
}""",
    of.verdict: r"""
List verdict(def v, def alerts) {
  if (v == 'Block') { return ['blocked', ['denied'], 'failure', v, alerts == 'blocked' ? 'alert' : null] }
  if (v == 'Log') { return ['logged', ['info'], 'success', v, null] }
  return [text(v).toLowerCase(), ['info'], 'unknown', text(v), null];
}""",
    of.uri: r"""
List uri(def v) {
  String s = text(v); int mark = s.indexOf('?');
  String path = mark < 0 ? s : s.substring(0, mark); String query = mark < 0 ? '' : s.substring(mark + 1);
  return [v, path == '' ? null : path, query == '' ? null : query];
}""",
    of.tls_version: r"""
List tls_version(def v) {
  def m = /([A-Za-z]+)v([0-9]+(?:\.[0-9]+)?)/.matcher(text(v));
  return m.matches() ? [m.group(2), m.group(1).toLowerCase(), null] : [null, null, v];
}""",
    of.full_url: r"""
String full_url(def tls, def host, def v) {
  if (!(v instanceof String) || !(tls instanceof String) || !(host instanceof String) || absent(strip(host)) || tls_version(strip(tls)).get(0) == null) { return null }
  String s = strip(v);
  return s.startsWith('/') ? 'https://' + strip(host) + s : null;
}""",
    of.payload: rf"""
List payload(def v) {{
  String s = text(v);
  if (s.codePointCount(0, s.length()) <= {of.ATTACK_DATA_AT_MOST}) {{ return [s, null] }}
  return [s.substring(0, s.offsetByCodePoints(0, {of.ATTACK_DATA_AT_MOST})), true];
}}""",
    of.rule_id: r"""
List rule_id(def v) {
  String id = text(v);
  return [id, id, 'rule ' + id, 'rule ' + id];
}""",
    of.status_code: r"""
def status_code(def v) {
  def n = integer(v);
  return n == 0 ? null : n;
}""",
    of.request_protocol: r"""
List request_protocol(def v) {
  def m = /([A-Za-z]+)\/([0-9]+(?:\.[0-9]+)?)/.matcher(text(v));
  if (!m.matches()) { throw new IllegalArgumentException('not a protocol and its version') }
  return [m.group(2), m.group(1).toLowerCase()];
}""",
    # `at`: where it reads, and how deep it is; a name that stands there twice comes twice
    of.headers: r"""
boolean json_blank(int c) { return c == 32 || c == 9 || c == 10 || c == 13 }
void blanks(String s, int[] at) { while (at[0] < s.length() && json_blank((int) s.charAt(at[0]))) { at[0]++ } }
String json_string(String s, int[] at) {
  if (at[0] >= s.length() || s.substring(at[0], at[0] + 1) != '"') { throw new IllegalArgumentException('no string') }
  StringBuilder b = new StringBuilder(); at[0]++;
  while (true) {
    if (at[0] >= s.length()) { throw new IllegalArgumentException('no end') }
    String c = s.substring(at[0], at[0] + 1); at[0]++;
    if (c == '"') { return b.toString() }
    if (c != '\\') { b.append(c); continue }
    String escaped = s.substring(at[0], at[0] + 1); at[0]++;
    if (escaped == 'u') {
      String hex = s.substring(at[0], at[0] + 4);
      if (!(hex =~ /^[0-9A-Fa-f]{4}$/)) { throw new IllegalArgumentException('no escape') }
      b.append((char) Integer.parseInt(hex, 16)); at[0] += 4;
    } else {
      int which = '"\\/bfnrt'.indexOf(escaped);
      if (which < 0) { throw new IllegalArgumentException('no escape') }
      int[] meant = new int[] {34, 92, 47, 8, 12, 10, 13, 9};
      b.append((char) meant[which]);
    }
  }
}
def json_value(String s, int[] at) {
  blanks(s, at);
  if (at[0] >= s.length()) { throw new IllegalArgumentException('no value') }
  String c = s.substring(at[0], at[0] + 1);
  if (c == '"') { return json_string(s, at) }
  if (c == '{' || c == '[') {
    String end = c == '{' ? '}' : ']'; Map found = new HashMap(); List items = new ArrayList();
    at[0]++; at[1]++; blanks(s, at);
    if (at[1] > 500) { throw new IllegalArgumentException('too deep') }
    if (at[0] < s.length() && s.substring(at[0], at[0] + 1) == end) { at[0]++; at[1]--; return c == '{' ? found : items }
    while (true) {
      if (c == '{') {
        blanks(s, at); String name = json_string(s, at); blanks(s, at);
        if (at[0] >= s.length() || s.substring(at[0], at[0] + 1) != ':') { throw new IllegalArgumentException('no colon') }
        at[0]++; found.put(name, json_value(s, at));
      } else { items.add(json_value(s, at)) }
      blanks(s, at);
      if (at[0] >= s.length()) { throw new IllegalArgumentException('no end') }
      String next = s.substring(at[0], at[0] + 1); at[0]++;
      if (next == end) { at[1]--; return c == '{' ? found : items }
      if (next != ',') { throw new IllegalArgumentException('no comma') }
    }
  }
  def word = /(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/.matcher(s.substring(at[0]));
  if (!word.lookingAt()) { throw new IllegalArgumentException('no value') }
  String said = word.group(); at[0] += said.length();
  if (said == 'true') { return true }
  if (said == 'false') { return false }
  if (said == 'null') { return null }
  if (said.contains('.') || said.contains('e') || said.contains('E')) { return Double.parseDouble(said) }
  return Long.parseLong(said);
}
List header_pairs(String said) {
  List found = new ArrayList(); String s = '{' + said + '}'; int[] at = new int[] {1, 0};
  try {
    blanks(s, at);
    if (s.substring(at[0], at[0] + 1) == '}') { return at[0] + 1 == s.length() ? found : null }
    while (true) {
      blanks(s, at); String name = json_string(s, at); blanks(s, at);
      if (s.substring(at[0], at[0] + 1) != ':') { return null }
      at[0]++; found.add([name, json_value(s, at)]); blanks(s, at);
      String next = s.substring(at[0], at[0] + 1); at[0]++;
      if (next == '}') { return at[0] == s.length() ? found : null }
      if (next != ',') { return null }
    }
  } catch (Exception wrong) { return null }
}
String unpaired(String said, List secret) {
  if (secret == null || secret.isEmpty()) { return said }
  String lower = said.toLowerCase(); int cut = -1; int after = 0;
  for (String name : secret) {
    int at = lower.indexOf(name);
    while (at >= 0) {
      int end = at + name.length();
      boolean alone = (at == 0 || !(lower.substring(at - 1, at) =~ /[a-z0-9_]/)) && (end == lower.length() || !(lower.substring(end, end + 1) =~ /[a-z0-9_]/));
      def m = /\s*\\*"?\s*[:=]/.matcher(said.substring(end));
      if (alone && m.lookingAt() && (cut < 0 || end + m.end() < cut)) { cut = end + m.end() }
      at = lower.indexOf(name, at + 1);
    }
  }
  return cut < 0 ? said : said.substring(0, cut) + ' REDACTED';
}
Map headers(String said, List secret) {
  List found = header_pairs(said);
  if (found == null) {
    found = new ArrayList();
    def m = /"([^"]+)"\s*:\s*"(.*?)"\s*(?:,|$)/s.matcher(said);
    while (m.find()) { found.add([m.group(1), unpaired(m.group(2), secret)]) }
  }
  Map present = new LinkedHashMap();
  for (def pair : found) {
    String value = strip(pair.get(1) instanceof String ? pair.get(1) : canonical(pair.get(1)));
    if (!absent(value)) { present.put(strip(pair.get(0).toLowerCase()), value) }
  }
  if (secret != null) { for (String name : secret) { if (present.containsKey(name)) { present.put(name, 'REDACTED') } } }
  return present;
}""",
    of.mime_type: r"""
String raw_headers(String said, List secret) {
  if ((said.replace(' ', '').replace(',', '').replace('{', '').replace('}', '')) == '' || /"([^"]+)"\s*:\s*"(.*?)"\s*(?:,|$)/s.matcher(said).find()) { return null }
  return unpaired(said, secret);
}
String mime_type(def v) {
  if (v == null || v == '') { return null }
  int end = v.indexOf(';'); String kind = strip(end < 0 ? v : v.substring(0, end)).toLowerCase();
  return kind == '' ? null : kind;
}""",
    of.request_headers: r"""
List request_headers(def v, List secret) {
  if (!(v instanceof String)) { throw new IllegalArgumentException('no headers') }
  Map found = headers(v, secret);
  if (found.isEmpty()) { return [null, raw_headers(v, secret), null, null, null] }
  return [found, null, found.get('user-agent'), found.get('referer'), mime_type(found.get('content-type'))];
}""",
    of.response_headers: r"""
List response_headers(def v, List secret) {
  if (!(v instanceof String)) { throw new IllegalArgumentException('no headers') }
  Map found = headers(v, secret);
  if (found.isEmpty()) { return [null, raw_headers(v, secret), null, null] }
  def length = found.get('content-length');
  return [found, null, length != null && length =~ /^[0-9]{1,15}$/ ? Long.parseLong(length) : null, mime_type(found.get('content-type'))];
}""",
    of.redact: r"""
String header_text(Map found) {
  StringBuilder b = new StringBuilder();
  for (def one : found.entrySet()) { if (b.length() > 0) { b.append(', ') } b.append(quoted(one.getKey())).append(': ').append(quoted(one.getValue())) }
  return b.toString();
}
def shown(String name, def v, List secret) {
  if (secret != null && secret.contains(name.toLowerCase())) { return 'REDACTED' }
  if ((name == 'requestHeader' || name == 'responseHeader') && !absent(v)) {
    Map found = v instanceof String ? headers(v, secret) : new HashMap();
    return found.isEmpty() ? unpaired(v instanceof String || v instanceof Number || v instanceof Boolean ? text(v) : canonical(v), secret) : header_text(found);
  }
  return v;
}
def redact(def r, List secret) {
  if (r instanceof String || r instanceof List) { return unpaired(r instanceof String ? r : canonical(r), secret) }
  if (!(r instanceof Map)) { return r }
  Map made = new LinkedHashMap();
  for (def one : r.entrySet()) { made.put(one.getKey(), shown(one.getKey(), one.getValue(), secret)) }
  return made;
}""",
    of.request_id: r"""
def request_id(Map r) {
  def v = r.get('requestId');
  if (v instanceof String) { return absent(strip(v)) ? r : v }
  return v instanceof Boolean || (v instanceof Number && !(v instanceof Double || v instanceof Float)) ? v : r;
}""",
    of.attack_time: r"""
String attack_time(Map r) {
  if (!r.containsKey('attackTime')) { throw new IllegalArgumentException('no time') }
  return instant(r.get('attackTime'));
}""",
}
