"""The HTML of the status page. It loads nothing from a network and needs no script."""

from __future__ import annotations

import html
from collections import Counter
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple
from urllib.parse import quote

from ...core.convert import rfc3339
from ...core.windows import HOUR, Millis

REFRESH = 10  # seconds
BARS = 48
COLOURS = {
    "critical": "--critical",
    "high": "--high",
    "medium": "--medium",
    "low": "--low",
    "unknown": "--unknown",
}
PAGES = (("Status", "/"), ("Events", "/events"), ("Rejected", "/rejected"))
BOTTOM = "</main></body></html>"
NO_EVENTS = '<span class="soft">no events yet</span>'
SERIES = ("--one", "--two", "--three", "--four", "--five", "--six")

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--card:#f6f7f9;--text:#1c2330;--soft:#5b6577;--line:#d9dee7;--good:#137a4a;--bad:#b3261e;--wait:#8a5a00;
--one:#2f6fdb;--two:#0f8f83;--three:#a252c8;--four:#c2571a;--five:#5d6b2f;--six:#7a5c3e;--critical:#a3123a;--high:#d9541e;--medium:#d8a200;--low:#4f86c6;--unknown:#8c95a4}
@media(prefers-color-scheme:dark){:root{--bg:#12161d;--card:#1b212b;--text:#e6eaf1;--soft:#9aa5b8;--line:#2e3746;--good:#4cc38a;--bad:#ff7b72;--wait:#e3b341;
--one:#6ea8fe;--two:#3dc9ba;--three:#c58be6;--four:#f0915a;--five:#a9bd6b;--six:#c4a07a;--critical:#ff5c8a;--high:#ff8a55;--medium:#f2cc60;--low:#79b0ee;--unknown:#7d8798}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--text);font:15px/1.45 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:20px}h1{font-size:20px;margin:0}h2{font-size:15px;margin:0 0 10px}
header{display:flex;gap:12px;align-items:baseline;flex-wrap:wrap;margin-bottom:16px}.soft{color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px}.wide{grid-column:1/-1}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px;min-width:0;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;color:var(--soft);font-weight:500}th,td{padding:4px 10px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.number,th.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}.ok{color:var(--good)}.degraded{color:var(--bad)}.retrying,.starting,.running{color:var(--wait)}
.error{color:var(--bad);overflow-wrap:anywhere}.name{white-space:nowrap}.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 12px}svg{display:block;width:100%;height:auto}
.bar{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:2px 10px;margin-bottom:7px;font-size:14px}.bar span:first-child{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
nav{display:flex;gap:14px;margin-left:auto}a{color:var(--one)}nav b{font-weight:600}
form{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,215px),1fr));gap:10px 14px;align-items:end;font-size:14px}
label{display:grid;gap:3px;color:var(--soft)}fieldset{display:flex;flex-wrap:wrap;gap:4px 12px;border:0;margin:0;padding:0;grid-column:span 2}legend{color:var(--soft);padding:0;margin-bottom:3px}fieldset label{display:flex;gap:4px;align-items:center;color:inherit}
input,select,button{font:inherit;color:inherit;background:var(--bg);border:1px solid var(--line);border-radius:6px;padding:5px 8px;width:100%;height:34px;min-width:0}input[type=checkbox]{width:auto;height:auto;accent-color:var(--one)}
button{background:var(--one);border-color:var(--one);color:var(--bg);font-weight:600;cursor:pointer}#note,#total{margin:0 0 10px}pre{margin:0;overflow-wrap:anywhere;white-space:pre-wrap;font-size:13px}code{font-size:13px}
td.long{overflow-wrap:anywhere;min-width:160px}.critical,.high,.medium,.low{white-space:nowrap}.critical:before,.high:before,.medium:before,.low:before{content:"";display:inline-block;width:9px;height:9px;border-radius:2px;margin-right:6px}
.critical:before{background:var(--critical)}.high:before{background:var(--high)}.medium:before{background:var(--medium)}.low:before{background:var(--low)}
@media(max-width:560px){fieldset{grid-column:auto}}
.bar i{grid-column:1/-1;height:7px;border-radius:4px;background:var(--one)}svg text{fill:var(--soft);font-size:11px}
"""


def render_page(stats: Mapping[str, Any], tally: Any, now: Millis) -> Iterator[str]:
    """Yield the HTML of the status page."""
    state = "ok" if stats["healthy"] else "degraded"
    yield from render_top(
        state,
        "/",
        f'<b id="health" class="{state}">{state}</b><span'
        f' class="soft">{escape(stats["version"])} · up {format_age(stats["uptime_s"])} ·'
        f" {rfc3339(now)[:19]}Z</span>",
        f'<meta http-equiv="refresh" content="{REFRESH}">',
    )
    if not stats["healthy"]:
        yield f'<p class="error" id="reason">{escape(stats["reason"])}</p>'
    yield '<div class="grid">'
    yield from render_inputs(stats["inputs"])
    yield from render_received([row for row in stats["inputs"] if "received" in row])
    yield from render_output(stats["output"])
    yield from render_queues(stats["outputs"])
    yield from render_processes(stats.get("processes", ()))
    start = now - 24 * HOUR
    yield from stacked_chart(
        "by-dataset",
        "Events by dataset, last 24 hours",
        tally.over_time(0, start, now, BARS),
        series(tally.top("dataset", 6)),
    )
    yield from stacked_chart(
        "by-severity",
        "Events by severity, last 24 hours",
        tally.over_time(1, start, now, BARS),
        COLOURS,
    )
    yield from bars("rules", "Top rules", tally.top("rule"))
    by_source = "/events?source=" if stats["output"]["name"] == "sqlite" else ""
    yield from bars("sources", "Top sources", tally.top("source"), by_source)
    yield "</div>"
    yield BOTTOM


def render_top(title: str, address: str, more: str = "", head: str = "") -> Iterator[str]:
    """Yield the top of a page, up to its content.

    `address`: of the page, one of PAGES or a page below it. `more`: HTML beside the name. `head`:
    HTML for the head.
    """
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width">{head}'
    )
    yield f"<title>siemtap: {escape(title)}</title><style>{STYLE}</style></head><body><main>"
    yield f"<header><h1>siemtap</h1>{more}<nav>"
    for name, target in PAGES:
        if target == address:
            yield f'<b aria-current="page">{name}</b>'
        else:
            yield f'<a href="{target}">{name}</a>'
    yield "</nav></header>"


def escape(value: Any) -> str:
    """Return a value as HTML text."""
    return html.escape(str(value))


def format_age(seconds: Any) -> str:
    """Return seconds as a short text, such as 5 min."""
    if seconds is None:
        return "–"
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def render_inputs(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield (
        '<section class="wide"><h2>Inputs</h2><table'
        ' id="inputs"><tr><th>unit</th><th>state</th><th>last success</th><th'
        ' class="number">behind</th><th class="number">events</th><th'
        ' class="number">latest</th><th>error</th></tr>'
    )
    units = [unit for row in rows for unit in row["units"]]
    for unit in sorted(units, key=lambda unit: (unit["state"] == "ok", unit["unit"]))[:200]:
        yield (
            f"<tr><td>{escape(unit['unit'])}</td><td"
            f' class="{unit["state"]}">{unit["state"]}</td><td>{escape((unit["last_success"] or "–")[:19])}</td><td'
            f' class="number">{format_age(unit["cursor_age_s"])}</td><td'
            f' class="number">{unit["events"]:,}</td><td class="number">{unit["late_max_s"]:g}'
            f' s</td><td class="error">{escape(unit["error"])}</td></tr>'
        )
    yield "</table>"
    if len(units) > 200:
        yield f'<p class="soft">and {len(units) - 200} more: see /stats</p>'
    yield "</section>"


def render_received(rows: List[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    names = ("kept", "refused", "too_large", "malformed", "full", "broken_off", "dropped_by_kernel")
    yield (
        '<section class="wide"><h2>Received</h2><table id="received"><tr><th>input</th><th>at</th>'
    )
    yield (
        "".join(
            f'<th class="number">{escape(name.replace("_", " "))}</th>'
            for name in (*names, "waiting bytes")
        )
        + "</tr>"
    )
    for row in rows[:200]:
        counts = row["received"]
        yield (
            f"<tr><td>{escape(row['id'])}</td><td>{escape(', '.join(counts['at']))}</td>"
            + "".join(f'<td class="number">{counts.get(name, 0):,}</td>' for name in names)
        )
        yield (
            f'<td class="number{" degraded" if counts["spool_full"] else ""}">{counts["waiting_bytes"]:,}</td></tr>'
        )
    yield "</table></section>"


def render_output(row: Mapping[str, Any]) -> Iterator[str]:
    yield (
        '<section class="wide"><h2>Output</h2><table id="output"><tr><th>name</th><th'
        ' class="number">accepted</th><th class="number">rejected</th><th'
        ' class="number">retried</th><th class="number">read again</th><th'
        ' class="number">late</th><th class="number">queue</th></tr>'
    )
    yield (
        f"<tr><td>{escape(row['name'])}</td>"
        + "".join(
            f'<td class="number">{row[name]:,}</td>'
            for name in ("accepted", "rejected", "retried", "echoes", "late", "queue")
        )
        + "</tr></table>"
    )
    if row["waiting_rejected"]:
        yield (
            f'<p class="error">{row["waiting_rejected"]:,} rejected: see <a href="/rejected">which'
            " and why</a>, or <code>siemtap rejected list</code></p>"
        )
    if row.get("failure_store"):
        yield (
            f'<p class="error">{row["failure_store"]:,} in the failure store of Elasticsearch, and'
            " in no search of their data streams</p>"
        )
    if row.get("news_of_rejected"):
        yield f'<p class="error" id="rejected">{escape(row["news_of_rejected"])}</p>'
    yield "</section>"


def render_queues(rows: List[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table of what waits for each of several outputs."""
    if len(rows) < 2:
        return
    yield (
        '<section class="wide"><h2>Outputs</h2><table'
        ' id="outputs"><tr><th>name</th><th>type</th><th>state</th><th'
        ' class="number">waiting events</th><th class="number">waiting bytes</th><th'
        ' class="number">oldest</th><th class="number">delivered</th><th>error</th></tr>'
    )
    for row in rows:
        full = ' class="number degraded"' if row["full"] else ' class="number"'
        yield (
            f"<tr><td>{escape(row['name'])}</td><td>{escape(row['type'])}</td><td"
            f' class="{row["state"]}">{row["state"]}</td><td'
            f' class="number">{row["waiting_events"]:,}</td><td{full}>{row["waiting_bytes"]:,}</td><td'
            f' class="number">{format_age(row["oldest_s"])}</td><td'
            f' class="number">{row["delivered"]:,}</td><td'
            f' class="error">{escape(row["error"])}</td></tr>'
        )
    yield "</table></section>"


def series(top: List[Tuple[str, int]]) -> Dict[str, str]:
    """Return value -> colour, for as many values as there are colours."""
    return {name: colour for (name, _), colour in zip(top, SERIES)}


def render_processes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of processes; nothing if there is one."""
    if not rows:
        return
    yield (
        '<section><h2>Processes</h2><table id="processes"><tr><th>process</th><th>state</th><th'
        ' class="number">PID</th><th class="number">restarts</th><th>error</th></tr>'
    )
    for row in rows:
        yield (
            f'<tr><td class="name">{escape(row["name"])}</td><td class="{row["state"]}">'
            f'{row["state"]}</td><td class="number">{row["pid"] or "–"}</td><td class="number">'
            f'{row["restarts"]:,}</td><td class="error">{escape(row["error"])}</td></tr>'
        )
    yield "</table></section>"


def stacked_chart(
    id: str, title: str, slots: List[Tuple[Millis, Counter[str]]], colours: Mapping[str, str]
) -> Iterator[str]:
    """Yield a chart of stacked bars. Each bar has its number as a tooltip."""
    width = 640
    height = 150
    left = 46
    most = max((sum(counter.values()) for _, counter in slots), default=0) or 1
    step = (width - left) / max(1, len(slots))
    names = [name for name in colours if any(name in counter for _, counter in slots)]
    yield (
        f'<section id="{id}"><h2>{escape(title)}</h2><svg viewBox="0 0 {width} {height + 24}"'
        f' role="img" aria-label="{escape(title)}">'
    )
    for share in (0, 0.5, 1):
        y = height - share * (height - 12)
        yield (
            f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/><text'
            f' x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{round(most * share):,}</text>'
        )
    for index, (moment, counter) in enumerate(slots):
        y = float(height)
        for name in names:
            bar = counter[name] / most * (height - 12)
            if bar:
                y -= bar
                yield (
                    f'<rect x="{left + index * step + 0.5:.1f}" y="{y:.1f}"'
                    f' width="{max(1.0, step - 1):.1f}" height="{bar:.1f}"'
                    f' fill="var({colours[name]})"><title>{rfc3339(moment)[:16]}Z {escape(name)}:'
                    f" {counter[name]:,}</title></rect>"
                )
        if index % max(1, len(slots) // 6) == 0 and index < len(slots) - 3:
            yield (
                f'<text x="{left + index * step:.1f}"'
                f' y="{height + 16}">{rfc3339(moment)[11:16]}</text>'
            )
    yield "</svg><div>" + "".join(
        '<span class="name"><span class="key"'
        f' style="background:var({colours[name]})"></span>{escape(name)}</span>'
        for name in names
    )
    if not names:
        yield NO_EVENTS
    yield "</div></section>"


def bars(id: str, title: str, top: List[Tuple[str, int]], search: str = "") -> Iterator[str]:
    """Yield a list of horizontal bars. `search`: the address of a search, before the value."""
    yield f'<section id="{id}"><h2>{escape(title)}</h2>'
    most = max((number for _, number in top), default=1)
    for name, number in top:
        shown = escape(name[:200])
        if search:
            shown = f'<a href="{search}{quote(name, errors="replace")}">{shown}</a>'
        yield (
            '<div class="bar"><span'
            f' title="{escape(name)}">{shown}</span><span>{number:,}</span><i'
            f' style="width:{max(1.0, 100 * number / most):.1f}%"></i></div>'
        )
    if not top:
        yield NO_EVENTS
    yield "</section>"
