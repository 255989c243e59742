"""The rejected events on the status page: how many for which reason, the latest ones, and what to
do about them."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple
from urllib.parse import urlencode

from ...core.convert import rfc3339
from ...edge.printable import printable
from ...edge.store.snapshot import Snapshot
from ...outputs.validated import MAX_LENGTH, VARYING
from .answers import SECONDS, Answer, Fields, html_answer
from .events_page import answer_json, open_store
from .page import BOTTOM, escape, render_top

ROWS = 50  # of the latest events
REASONS = 30  # that are listed
DIFFERENT = 1_000  # reasons that are counted each; a reason may quote what a sender wrote
OTHERS = "other reasons"
LATEST = """SELECT id, input, dataset, reason, time, looked FROM rejected
            ORDER BY time DESC, id LIMIT ?"""
ACTIONS = (  # command, effect as HTML
    (
        "siemtap rejected list --acknowledge",
        "marks them as reviewed: /health is ok again. They stay stored. <code>siemtap run</code>"
        " may go on.",
    ),
    (
        "siemtap rejected retry",
        "delivers them again, once the cause is gone. Stop <code>siemtap run</code> first.",
    ),
    ("siemtap rejected delete --all", "deletes them, or those whose ids are given. They are lost."),
)


class Reasons(NamedTuple):
    """How many events were rejected by kind of reason: its text without values. `examples`: a
    reason of each kind, as it is. `complete`: all were counted."""

    numbers: Counter[str]
    examples: Dict[str, str]
    unseen: int
    complete: bool


def answer_rejected(shipper: Any, fields: Fields) -> Answer:
    """Return the page of the rejected events."""
    with closing(open_store(shipper)) as snapshot:
        reasons = count_reasons(snapshot, SECONDS)
        latest = snapshot.read(LATEST, [ROWS])
    return html_answer(_render(reasons, latest))


def answer_rejected_event(shipper: Any, fields: Fields) -> Answer:
    """Return the page of one rejected event, by its `id`."""
    return answer_json(shipper, fields, "rejected", "/rejected")


def count_reasons(snapshot: Snapshot, seconds: float) -> Reasons:
    """Count the rejected events by reason, for a limited time."""
    deadline = time.monotonic() + seconds
    numbers: Counter[str] = Counter()
    examples: Dict[str, str] = {}
    unseen = 0
    with closing(snapshot.each("SELECT reason, looked FROM rejected")) as rows:
        for reason, looked in rows:
            reason = str(reason)[:MAX_LENGTH]
            kind = VARYING.sub("", reason)
            if kind not in numbers and len(numbers) >= DIFFERENT:
                kind = reason = OTHERS
            numbers[kind] += 1
            examples.setdefault(kind, reason)
            unseen += not looked
            if time.monotonic() > deadline:
                return Reasons(numbers, examples, unseen, False)
    return Reasons(numbers, examples, unseen, True)


def _render(reasons: Reasons, latest: List[Tuple[Any, ...]]) -> Iterator[str]:
    yield from render_top("rejected", "/rejected")
    total = sum(reasons.numbers.values())
    least = "" if reasons.complete else "at least "
    yield '<div class="grid">'
    if not total:
        yield (
            '<section class="wide"><h2>Rejected events</h2><p id="total">None is stored: the schema'
            " and the output took every event.</p></section>"
        )
    else:
        yield from _render_reasons(reasons, f"{least}{total:,}", f"{least}{reasons.unseen:,}")
        yield from _render_actions()
        yield from _render_latest(latest)
    yield "</div>"
    yield BOTTOM


def _render_reasons(reasons: Reasons, total: str, unseen: str) -> Iterator[str]:
    yield (
        f'<section class="wide"><h2>Rejected events</h2><p id="total">{total} stored, {unseen} of'
        " them not reviewed. The schema or the output refused them; they are not in the output.</p>"
        '<table id="reasons"><tr><th class="number">events</th><th>reason, of one of them</th></tr>'
    )
    listed = reasons.numbers.most_common(REASONS)
    for kind, number in listed:
        yield (
            f'<tr><td class="number">{number:,}</td>'
            f'<td class="long">{escape(printable(reasons.examples[kind]))}</td></tr>'
        )
    yield "</table>"
    if len(reasons.numbers) > len(listed):
        yield f'<p class="soft">and {len(reasons.numbers) - len(listed):,} rarer reasons</p>'
    yield "</section>"


def _render_actions() -> Iterator[str]:
    yield '<section class="wide"><h2>What to do</h2><table id="actions">'
    for command, effect in ACTIONS:
        yield f'<tr><td class="name"><code>{command}</code></td><td>{effect}</td></tr>'
    yield "</table></section>"


def _render_latest(latest: List[Tuple[Any, ...]]) -> Iterator[str]:
    yield (
        '<section class="wide"><h2>Latest</h2><table id="latest"><tr><th>rejected</th>'
        "<th>input</th><th>dataset</th><th>reason</th><th>reviewed</th></tr>"
    )
    for id, input, dataset, reason, moment, looked in latest:
        address = urlencode({"id": id})
        yield (
            f'<tr><td class="name"><a href="/rejected/event?{escape(address)}" title="the whole'
            f' event">{rfc3339(moment)[:19]}Z</a></td><td>{escape(input)}</td>'
            f'<td>{escape(dataset)}</td><td class="long">{escape(printable(reason[:MAX_LENGTH]))}'
            f"</td><td>{'yes' if looked else 'no'}</td></tr>"
        )
    yield "</table></section>"
