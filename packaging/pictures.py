"""Draw plugins/<vendor>/elastic/overview.png: the panels of a vendor's dashboard, with events of
the embedded store.

usage: packaging/build pictures        (requires chromium)
"""

from __future__ import annotations

import html
import json
import shutil
import sqlite3
import subprocess
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Iterator

from siemtap.core.convert import millis_of
from siemtap.core.paths import get
from siemtap.core.windows import DAY, HOUR
from siemtap.edge.clock import SYSTEM
from siemtap.elastic.kibana import client as kibana
from siemtap.render import registry
from siemtap.render.panels import EVENTS, NUMBER, OVER_TIME, SHARE, TOP, Overview, Panel
from siemtap.shipper import demo
from siemtap.shipper.process import Shipper
from siemtap.shipper.stats import severity_name
from siemtap.shipper.status import page

WIDTH = 1400  # of a picture, in pixels
BARS = 48  # of a chart over time
STYLE = (
    page.STYLE
    + "main{max-width:none}.row{display:flex;gap:12px;margin-bottom:12px}.row section{flex:1 1"
    " 0}.big{font-size:32px;font-weight:600}"
    "table{table-layout:fixed;font-size:12px}td{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.bar{font-size:12px}"
)
HEADER = 70  # pixels above the first row
HEIGHTS = {NUMBER: 120, OVER_TIME: 210, SHARE: 205, TOP: 410, EVENTS: 420}  # of a row, in pixels
PER_ROW = {NUMBER: 4, OVER_TIME: 3, SHARE: 4, EVENTS: 1}  # panels of a shape in a row


def make(root: Path) -> int:
    """Draw the overview of every vendor; return the exit status."""
    for events in collect():
        datasets = list(registry.plugin(events[0]["event"]["module"]).datasets)
        for overview, *_ in kibana.vendor_dashboards(datasets):
            target = root / "plugins" / overview.name / "elastic/overview.png"
            page_html = "".join(document(overview, events))
            take_screenshot(page_html, target, page_height(overview))
            print(f"drawn: {target.relative_to(root)}, {len(events):,} events")
    return 0


def collect() -> Iterator[list[dict[str, Any]]]:
    """Yield each vendor's events of a simulated day, collected by the shipper into the embedded
    store."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="siemtap-pictures-")))
        vendors = demo.servers(stack)
        shipper = Shipper(demo.config(vendors, data, 0), once=True, listen=True)
        demo.push(shipper, vendors, SYSTEM.now() - DAY, SYSTEM.now())
        shipper.run()
        with sqlite3.connect(data / "siemtap.db") as db:
            rows = db.execute("SELECT event FROM event ORDER BY time")
            events = [json.loads(text) for (text,) in rows]
    for name in registry.installed():
        yield [event for event in events if event["event"]["module"] == name]


def document(overview: Overview, events: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the HTML page of an overview."""
    yield (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><main><header>'
        f'<h1>{html.escape(overview.title)}</h1><span class="soft">last 24 hours</span></header>'
    )
    for row in rows_of(overview):
        sections = "".join("".join(section(panel, events)) for panel in row)
        yield f'<div class="row">{sections}</div>'
    yield "</main>"


def rows_of(overview: Overview) -> Iterator[list[Panel]]:
    """Yield the panels row by row. A row has one shape."""
    panels = list(overview.panels)
    while panels:
        shape = panels[0].shape
        row = [panel for panel in panels[: PER_ROW.get(shape, 4)] if panel.shape == shape]
        yield row
        panels = panels[len(row) :]


def section(panel: Panel, events: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the HTML of a panel."""
    id = f"p{abs(hash(panel))}"
    counts: Counter[str] = Counter()
    if panel.by:
        counts.update(
            value for event in events if (value := read_value(event, panel.by)) is not None
        )
    if panel.shape == NUMBER:
        number = len(events)
        if panel.measure != "count":
            number = len({read_value(event, panel.of) for event in events} - {None})
        yield f'<section><h2>{panel.title}</h2><div class="big">{number:,}</div></section>'
    elif panel.shape == OVER_TIME:
        colours = page.COLOURS
        if panel.by != "event.severity":
            colours = page.series(counts.most_common(6))
        yield from page.stacked_chart(id, panel.title, over_time(panel, events), colours)
    elif panel.shape == EVENTS:
        yield from _event_table(panel, events)
    else:
        limit = 6 if panel.shape == SHARE else 10
        yield from page.bars(id, panel.title, counts.most_common(limit))


def _event_table(panel: Panel, events: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of the last 12 events, newest first."""
    columns = ("@timestamp", *panel.columns)
    latest = [event for event in events if event["event"]["kind"] != "pipeline_error"][-12:]
    names = "".join(f"<th>{name}</th>" for name in columns)
    yield f"<section><h2>{panel.title}</h2><table><tr>{names}</tr>"
    for event in reversed(latest):
        cells = "".join(
            f"<td>{html.escape(str(read_value(event, name) or ''))}</td>" for name in columns
        )
        yield f"<tr>{cells}</tr>"
    yield "</table></section>"


def over_time(panel: Panel, events: list[dict[str, Any]]) -> list[tuple[int, Counter[str]]]:
    """Return (start, count of each value) for each bar of the last 24 hours."""
    stop = millis_of(events[-1]["@timestamp"])
    start = stop - 24 * HOUR
    width = (stop - start) // BARS
    bars: list[tuple[int, Counter[str]]] = [
        (start + index * width, Counter()) for index in range(BARS)
    ]
    for event in events:
        index = (millis_of(event["@timestamp"]) - start) // width
        value = read_value(event, panel.by)
        if value is not None and 0 <= index < BARS:
            bars[index][1][value] += 1
    return bars


def read_value(event: dict[str, Any], path: str) -> str | None:
    """Return the value at a dotted path as text; severity by its name."""
    value = get(event, path)
    if path == "event.severity" and value is not None:
        return severity_name(value)
    return None if value is None else str(value)


def page_height(overview: Overview) -> int:
    """Return the height of an overview's page, in pixels."""
    return HEADER + sum(HEIGHTS[row[0].shape] for row in rows_of(overview))


def take_screenshot(page_html: str, target: Path, height: int) -> None:
    """Render a page in Chromium, and save the picture."""
    target.parent.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
    with tempfile.TemporaryDirectory(prefix="siemtap-pictures-") as folder:
        (Path(folder) / "page.html").write_text(page_html, encoding="utf-8", errors="replace")
        subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                f"--window-size={WIDTH},{height}",
                f"--screenshot={target}",
                f"file://{folder}/page.html",
            ],
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
