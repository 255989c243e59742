"""The status page, /stats, /metrics and /health. Drawn here, as HTML and SVG: it needs no
network and no script to be read."""

from __future__ import annotations

import html
import json
import logging
import threading
import time
from collections import Counter
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Tuple

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ..core.errors import ConfigError
from ..core.mapping import rfc3339
from ..core.windows import HOUR, Millis

REFRESH = 10  # seconds
BARS = 48
COLOURS = {
    "critical": "--critical",
    "high": "--high",
    "medium": "--medium",
    "low": "--low",
    "unknown": "--unknown",
}
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
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}.ok{color:var(--good)}.degraded{color:var(--bad)}.retrying,.starting,.running{color:var(--wait)}
.error{color:var(--bad);overflow-wrap:anywhere}.name{white-space:nowrap}.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 12px}svg{display:block;width:100%;height:auto}
.bar{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:2px 10px;margin-bottom:7px;font-size:14px}.bar span:first-child{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.bar i{grid-column:1/-1;height:7px;border-radius:4px;background:var(--one)}svg text{fill:var(--soft);font-size:11px}
"""


class Page:
    """An ASGI application over what the shipper knows."""

    def __init__(self, shipper: Any) -> None:
        self.shipper = shipper

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        routes: Dict[str, Callable[[], Tuple[int, str, bytes]]] = {
            "/": self.front,
            "/stats": self.stats,
            "/metrics": self.metrics,
            "/health": self.health,
        }
        answer = routes.get(scope["path"])
        if scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, "text/plain", b"GET only\n"
        elif answer is None:
            status, kind, body = 404, "text/plain", b"there are /, /stats, /metrics and /health\n"
        else:
            status, kind, body = answer()
        headers = [
            (b"content-type", f"{kind}; charset=utf-8".encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}
        )

    def stats(self) -> Tuple[int, str, bytes]:
        return 200, "application/json", json.dumps(self.shipper.stats(), indent=1).encode()

    def health(self) -> Tuple[int, str, bytes]:
        healthy, why = self.shipper.health()
        return (
            200 if healthy else 503,
            "application/json",
            json.dumps({"healthy": healthy, "reason": why}).encode(),
        )

    def metrics(self) -> Tuple[int, str, bytes]:
        registry = CollectorRegistry()
        registry.register(_Collector(self.shipper.stats(), self.shipper.tally.top("dataset", 100)))
        return 200, "text/plain; version=0.0.4", generate_latest(registry)

    def front(self) -> Tuple[int, str, bytes]:
        return (
            200,
            "text/html",
            "".join(
                document(self.shipper.stats(), self.shipper.tally, self.shipper.clock.now())
            ).encode("utf-8", "replace"),
        )


class _Collector:
    """The numbers of /stats, for Prometheus."""

    def __init__(self, stats: Mapping[str, Any], datasets: List[Tuple[str, int]]) -> None:
        self.stats, self.datasets = stats, datasets

    def collect(self) -> Iterator[Any]:
        output = self.stats["output"]
        for name, help in (
            ("accepted", "Events the output accepted"),
            ("rejected", "Events refused and kept"),
            ("retried", "Failed attempts"),
            ("echoes", "Events read again and left out"),
            ("late", "Events that came after their time had been read"),
        ):
            yield CounterMetricFamily(f"siemtap_{name}", help, value=output[name])
        yield GaugeMetricFamily(
            "siemtap_healthy", "1: no unit is degraded", value=int(self.stats["healthy"])
        )
        yield GaugeMetricFamily(
            "siemtap_rejected_waiting",
            "Rejected events that wait for a person",
            value=output["waiting_rejected"],
        )
        datasets = CounterMetricFamily("siemtap_events", "Events delivered", labels=["dataset"])
        for dataset, number in self.datasets:
            datasets.add_metric([dataset], number)
        yield datasets
        units = [
            (running["id"], unit) for running in self.stats["inputs"] for unit in running["units"]
        ]
        for name, key, help in (
            ("siemtap_unit_up", "state", "1: the last cycle came to its end"),
            ("siemtap_unit_cursor_age_seconds", "cursor_age_s", "How long ago it is read up to"),
            ("siemtap_unit_events", "events", "Events delivered since the start"),
            ("siemtap_unit_latest_seconds", "late_max_s", "How late the latest late event came"),
            (
                "siemtap_unit_late_p99_seconds",
                "late_p99_s",
                "99 % of the late events came less late",
            ),
            (
                "siemtap_unit_late_p50_seconds",
                "late_p50_s",
                "Half of the late events came less late",
            ),
        ):
            family = GaugeMetricFamily(name, help, labels=["input", "unit"])
            for id, unit in units:
                value = int(unit[key] == "ok") if key == "state" else unit[key]
                if value is not None:
                    family.add_metric([id, unit["unit"]], value)
            yield family
        received = [
            (row["id"], row["received"]) for row in self.stats["inputs"] if "received" in row
        ]
        for name, key, help in (
            ("siemtap_received", "kept", "Payloads received and kept"),
            ("siemtap_received_refused", "refused", "Payloads from networks that are not allowed"),
            (
                "siemtap_received_dropped",
                "dropped_by_kernel",
                "Datagrams that the kernel threw away",
            ),
            ("siemtap_spool_bytes", "waiting_bytes", "Received and not delivered yet"),
            (
                "siemtap_spool_damaged_bytes",
                "spool_damaged",
                "Bytes of the spool that could not be read",
            ),
        ):
            family = GaugeMetricFamily(name, help, labels=["input"])
            for id, said in received:
                family.add_metric([id], said.get(key, 0))
            if received:
                yield family


def document(stats: Mapping[str, Any], tally: Any, now: Millis) -> Iterator[str]:
    state = "ok" if stats["healthy"] else "degraded"
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width"><meta http-equiv="refresh" content="{REFRESH}">'
    )
    yield f"<title>siemtap: {state}</title><style>{STYLE}</style></head><body><main>"
    yield (
        f'<header><h1>siemtap</h1><b id="health" class="{state}">{state}</b><span'
        f' class="soft">{text(stats["version"])} · up {age(stats["uptime_s"])} ·'
        f" {rfc3339(now)[:19]}Z</span></header>"
    )
    if not stats["healthy"]:
        yield f'<p class="error" id="reason">{text(stats["reason"])}</p>'
    yield '<div class="grid">'
    yield from inputs(stats["inputs"])
    yield from received([row for row in stats["inputs"] if "received" in row])
    yield from output(stats["output"])
    start = now - 24 * HOUR
    yield from picture(
        "by-dataset",
        "Events by dataset, last 24 hours",
        tally.over_time(0, start, now, BARS),
        series(tally.top("dataset", 6)),
    )
    yield from picture(
        "by-severity",
        "Events by severity, last 24 hours",
        tally.over_time(1, start, now, BARS),
        COLOURS,
    )
    yield from bars("rules", "Top rules", tally.top("rule"))
    yield from bars("sources", "Top sources", tally.top("source"))
    yield "</div></main></body></html>"


def text(said: Any) -> str:
    return html.escape(str(said))


def age(seconds: Any) -> str:
    if seconds is None:
        return "–"
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def inputs(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield (
        '<section class="wide"><h2>Inputs</h2><table'
        ' id="inputs"><tr><th>unit</th><th>state</th><th>last success</th><th'
        ' class="number">behind</th><th class="number">events</th><th'
        ' class="number">latest</th><th>error</th></tr>'
    )
    units = [unit for row in rows for unit in row["units"]]
    for unit in sorted(units, key=lambda unit: (unit["state"] == "ok", unit["unit"]))[:200]:
        yield (
            f"<tr><td>{text(unit['unit'])}</td><td"
            f' class="{unit["state"]}">{unit["state"]}</td><td>{text((unit["last_success"] or "–")[:19])}</td><td'
            f' class="number">{age(unit["cursor_age_s"])}</td><td'
            f' class="number">{unit["events"]:,}</td><td class="number">{unit["late_max_s"]:g}'
            f' s</td><td class="error">{text(unit["error"])}</td></tr>'
        )
    yield "</table>"
    if len(units) > 200:
        yield f'<p class="soft">and {len(units) - 200} more: see /stats</p>'
    yield "</section>"


def received(rows: List[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    names = ("kept", "refused", "too_large", "malformed", "full", "broken_off", "dropped_by_kernel")
    yield (
        '<section class="wide"><h2>Received</h2><table id="received"><tr><th>input</th><th>at</th>'
    )
    yield (
        "".join(
            f'<th class="number">{text(name.replace("_", " "))}</th>'
            for name in (*names, "waiting bytes")
        )
        + "</tr>"
    )
    for row in rows[:200]:
        said = row["received"]
        yield f"<tr><td>{text(row['id'])}</td><td>{text(', '.join(said['at']))}</td>" + "".join(
            f'<td class="number">{said.get(name, 0):,}</td>' for name in names
        )
        yield (
            f'<td class="number{" degraded" if said["spool_full"] else ""}">{said["waiting_bytes"]:,}</td></tr>'
        )
    yield "</table></section>"


def output(row: Mapping[str, Any]) -> Iterator[str]:
    yield (
        '<section class="wide"><h2>Output</h2><table id="output"><tr><th>name</th><th'
        ' class="number">accepted</th><th class="number">rejected</th><th'
        ' class="number">retried</th><th class="number">read again</th><th'
        ' class="number">late</th><th class="number">queue</th></tr>'
    )
    yield (
        f"<tr><td>{text(row['name'])}</td>"
        + "".join(
            f'<td class="number">{row[name]:,}</td>'
            for name in ("accepted", "rejected", "retried", "echoes", "late", "queue")
        )
        + "</tr></table>"
    )
    if row["waiting_rejected"]:
        yield (
            f'<p class="error">{row["waiting_rejected"]:,} rejected: see <code>siemtap rejected'
            " list</code></p>"
        )
    if row.get("news_of_rejected"):
        yield f'<p class="error" id="rejected">{text(row["news_of_rejected"])}</p>'
    yield "</section>"


def series(top: List[Tuple[str, int]]) -> Dict[str, str]:
    return {name: colour for (name, _), colour in zip(top, SERIES)}


def picture(
    id: str, title: str, slots: List[Tuple[Millis, Counter[str]]], colours: Mapping[str, str]
) -> Iterator[str]:
    """Stacked bars; every bar says its numbers when pointed at."""
    width, height, left = 640, 150, 46
    most = max((sum(counter.values()) for _, counter in slots), default=0) or 1
    step = (width - left) / max(1, len(slots))
    shown = [name for name in colours if any(name in counter for _, counter in slots)]
    yield (
        f'<section id="{id}"><h2>{text(title)}</h2><svg viewBox="0 0 {width} {height + 24}"'
        f' role="img" aria-label="{text(title)}">'
    )
    for share in (0, 0.5, 1):
        y = height - share * (height - 12)
        yield (
            f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/><text'
            f' x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{round(most * share):,}</text>'
        )
    for place, (moment, counter) in enumerate(slots):
        y = float(height)
        for name in shown:
            tall = counter[name] / most * (height - 12)
            if tall:
                y -= tall
                yield (
                    f'<rect x="{left + place * step + 0.5:.1f}" y="{y:.1f}"'
                    f' width="{max(1.0, step - 1):.1f}" height="{tall:.1f}"'
                    f' fill="var({colours[name]})"><title>{rfc3339(moment)[:16]}Z {text(name)}:'
                    f" {counter[name]:,}</title></rect>"
                )
        if place % max(1, len(slots) // 6) == 0 and place < len(slots) - 3:
            yield (
                f'<text x="{left + place * step:.1f}"'
                f' y="{height + 16}">{rfc3339(moment)[11:16]}</text>'
            )
    yield "</svg><div>" + "".join(
        '<span class="name"><span class="key"'
        f' style="background:var({colours[name]})"></span>{text(name)}</span>'
        for name in shown
    )
    yield "</div></section>" if shown else '<span class="soft">nothing yet</span></div></section>'


def bars(id: str, title: str, top: List[Tuple[str, int]]) -> Iterator[str]:
    yield f'<section id="{id}"><h2>{text(title)}</h2>'
    most = max((number for _, number in top), default=1)
    for name, number in top:
        yield (
            '<div class="bar"><span'
            f' title="{text(name)}">{text(name[:200])}</span><span>{number:,}</span><i'
            f' style="width:{max(1.0, 100 * number / most):.1f}%"></i></div>'
        )
    yield "</section>" if top else '<span class="soft">nothing yet</span></section>'


class Server:
    """The page behind a socket; `address` once it listens."""

    def __init__(self, shipper: Any, host: str, port: int) -> None:
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        config = uvicorn.Config(
            Page(shipper),
            host,
            port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=5,
            limit_concurrency=64,
        )
        self.server, self.host, self.port = uvicorn.Server(config), host, port
        self.failed: List[BaseException] = []
        self.thread = threading.Thread(target=self._serve, name="status-page", daemon=True)
        self.thread.start()
        while not self.server.started and not self.failed and self.thread.is_alive():
            time.sleep(0.01)
        if not self.server.started:
            raise ConfigError(
                f"the status page cannot listen on {host}:{port}: the port is taken or not allowed;"
                " set http.port, or http.enabled: false"
            )

    def _serve(self) -> None:
        try:
            self.server.run()
        # uvicorn ends its process when the port is taken; here only the thread ends
        except BaseException as error:
            self.failed.append(error)

    @property
    def address(self) -> str:
        socket = self.server.servers[0].sockets[0].getsockname()
        return f"http://{self.host}:{socket[1]}/"

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(5)
