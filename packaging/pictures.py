"""docs/<vendor>-overview.png: the panels of a vendor's dashboard, drawn from the embedded store,
for the README.

usage: packaging/build pictures        (needs chromium)
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
from siemtap.core.windows import DAY, HOUR
from siemtap.edge.clock import SYSTEM
from siemtap.render.panels import EVENTS, NUMBER, OVER_TIME, SHARE, TOP, Overview, Panel
from siemtap.runners import demo, kibana, page, plugins
from siemtap.runners.shipper import Shipper
from siemtap.runners.stats import severity_name

WIDTH = 1400
BARS = 48
STYLE = (
    page.STYLE
    + "main{max-width:none}.row{display:flex;gap:12px;margin-bottom:12px}.row section{flex:1 1"
    " 0}.big{font-size:32px;font-weight:600}"
    "table{table-layout:fixed;font-size:12px}td{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.bar{font-size:12px}"
)
HEIGHTS = {NUMBER: 120, OVER_TIME: 210, SHARE: 205, TOP: 410, EVENTS: 420}
ABREAST = {NUMBER: 4, OVER_TIME: 3, SHARE: 4, EVENTS: 1}


def make(root: Path) -> int:
    for events in collected():
        for shown in kibana.overviews(list(plugins.plugin(events[0]["event"]["module"]).datasets)):
            target = root / "docs" / f"{shown.name}-overview.png"
            shoot("".join(document(shown, events)), target, height(shown))
            print(f"drawn: {target.relative_to(root)}, {len(events):,} events")
    return 0


def collected() -> Iterator[list[dict[str, Any]]]:
    """A simulated day of each vendor, through the whole machine into the embedded store and out
    of it again."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="siemtap-pictures-")))
        vendors = demo.servers(stack)
        shipper = Shipper(demo.config(vendors, data, 0), once=True, listen=True)
        demo.push(shipper, vendors, SYSTEM.now() - DAY, SYSTEM.now())
        shipper.run()
        with sqlite3.connect(data / "siemtap.db") as db:
            events = [
                json.loads(said) for (said,) in db.execute("SELECT event FROM event ORDER BY time")
            ]
    for name in plugins.installed():
        yield [event for event in events if event["event"]["module"] == name]


def document(shown: Overview, events: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><main><header>'
        f'<h1>{html.escape(shown.title)}</h1><span class="soft">last 24 hours</span></header>'
    )
    left = list(shown.panels)
    while left:
        row = [
            panel for panel in left[: ABREAST.get(left[0].shape, 4)] if panel.shape == left[0].shape
        ]
        yield (
            '<div class="row">' + "".join("".join(drawn(panel, events)) for panel in row) + "</div>"
        )
        left = left[len(row) :]
    yield "</main>"


def drawn(panel: Panel, events: list[dict[str, Any]]) -> Iterator[str]:
    id = f"p{abs(hash(panel))}"
    counted = (
        Counter(said for event in events if (said := value(event, panel.by)) is not None)
        if panel.by
        else Counter()
    )
    if panel.shape == NUMBER:
        number = (
            len(events)
            if panel.measure == "count"
            else len({value(event, panel.of) for event in events} - {None})
        )
        yield f'<section><h2>{panel.title}</h2><div class="big">{number:,}</div></section>'
    elif panel.shape == OVER_TIME:
        colours = (
            page.COLOURS if panel.by == "event.severity" else page.series(counted.most_common(6))
        )
        yield from page.picture(id, panel.title, over_time(panel, events), colours)
    elif panel.shape == EVENTS:
        rows = [event for event in events if event["event"]["kind"] != "pipeline_error"][-12:]
        yield (
            f"<section><h2>{panel.title}</h2><table><tr>"
            + "".join(f"<th>{name}</th>" for name in ("@timestamp", *panel.columns))
            + "</tr>"
        )
        for event in reversed(rows):
            yield (
                "<tr>"
                + "".join(
                    f"<td>{html.escape(str(value(event, name) or ''))}</td>"
                    for name in ("@timestamp", *panel.columns)
                )
                + "</tr>"
            )
        yield "</table></section>"
    else:
        yield from page.bars(
            id, panel.title, counted.most_common(6 if panel.shape == SHARE else 10)
        )


def over_time(panel: Panel, events: list[dict[str, Any]]) -> list[tuple[int, Counter[str]]]:
    stop = millis_of(events[-1]["@timestamp"])
    start = stop - 24 * HOUR
    width = (stop - start) // BARS
    slots: list[tuple[int, Counter[str]]] = [
        (start + place * width, Counter()) for place in range(BARS)
    ]
    for event in events:
        place, said = (millis_of(event["@timestamp"]) - start) // width, value(event, panel.by)
        if said is not None and 0 <= place < BARS:
            slots[place][1][said] += 1
    return slots


def value(event: dict[str, Any], path: str) -> str | None:
    found: Any = event
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if path == "event.severity" and found is not None:
        return severity_name(found)
    return None if found is None else str(found)


def height(shown: Overview) -> int:
    """Of the page, in pixels."""
    rows, left = 70, list(shown.panels)
    while left:
        row = [
            panel for panel in left[: ABREAST.get(left[0].shape, 4)] if panel.shape == left[0].shape
        ]
        rows += HEIGHTS[left[0].shape]
        left = left[len(row) :]
    return rows


def shoot(said: str, target: Path, tall: int) -> None:
    target.parent.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
    with tempfile.TemporaryDirectory(prefix="siemtap-pictures-") as folder:
        (Path(folder) / "page.html").write_text(said, encoding="utf-8", errors="replace")
        subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                f"--window-size={WIDTH},{tall}",
                f"--screenshot={target}",
                f"file://{folder}/page.html",
            ],
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
