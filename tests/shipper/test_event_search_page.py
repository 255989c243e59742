"""The searches of the status page: what they show, how much they may cost, and who waits."""

import html
import json
import re
import threading
import types
from urllib.parse import quote

import pytest
from outputs.output_stores import event
from processes import wait_for
from shipper.test_page_access import get, port_of

from siemtap.core.model import Unit
from siemtap.edge.store.snapshot import Snapshot
from siemtap.shipper.config.load import parse
from siemtap.shipper.events import search as searching
from siemtap.shipper.process import Shipper
from siemtap.shipper.status import answers, events_page, rejected_page
from siemtap.shipper.status.server import Server

HOSTILE = '"><script>alert(1)</script>\u202e'
INPUT = "{type: apptrana, url: 'http://127.0.0.1:9', client_id: demo, client_secret: demo-secret}"
UNIT = Unit("apptrana", "acme.event")


@pytest.fixture
def shipper(tmp_path, request):
    output = getattr(request, "param", "output.sqlite: {retention: 0s}")
    shipper = Shipper(parse(f"path.data: {tmp_path}\n{output}\ninputs: [{INPUT}]"))
    yield shipper
    shipper.close()


@pytest.fixture
def page(shipper):
    server = Server(shipper, "127.0.0.1", 0)
    yield server
    server.close()


def hostile(number):
    return event(
        number,
        rule={"name": HOSTILE},
        source={"address": HOSTILE},
        message=HOSTILE,
    )


def body(page, path):
    head, _, text = get(port_of(page), path).partition("\r\n\r\n")
    return int(head.split()[1]), text


def shown(text):
    """Return the cells of the table of events."""
    table = text.partition('<table id="events">')[2].partition("</table>")[0]
    rows = re.findall("<tr>(<td.*?)</tr>", table)
    return [re.findall("<td[^>]*>(.*?)</td>", row) for row in rows]


def test_what_attackers_write_is_text_everywhere(shipper, page):
    shipper.delivery.outputs["default"].output.deliver(UNIT, [hostile(1)], None)
    shipper.rejected_events.store(UNIT, [(hostile(2), f"refused: {HOSTILE}")])
    field = quote(HOSTILE)
    paths = [
        f"/events?text={field}",
        *(f"/events?{name}={field}" for name in ("since", "from", "dataset", "input", "source")),
        f"/events?severity={field}&action={field}&before={field}",
        f"/event?id={1:032x}",
        f"/event?id={field}",
        "/rejected",
        f"/rejected/event?id={2:032x}",
        "/",
    ]
    for path in paths:
        _, text = body(page, path)
        assert "</html>" in text and "<script" not in text, path
    cells = shown(body(page, f"/events?text={quote(HOSTILE[:20])}")[1])
    assert [html.unescape(cell) for cell in cells[0][4:]] == [HOSTILE[:-1] + "\\u202e"] * 2


def test_form_keeps_its_values_and_mistakes_are_sentences(shipper, page):
    shipper.delivery.outputs["default"].output.deliver(
        UNIT, [event(number) for number in range(3)], None
    )
    status, text = body(
        page, "/events?from=2026-03-04T09:00&to=2026-03-04T10:00:00.002&action=blocked"
    )
    assert status == 200 and 'value="2026-03-04T09:00"' in text
    assert 'value="2026-03-04T10:00:00.002"' in text and 'value="blocked"' in text
    assert len(shown(text)) == 2
    for query, words in (
        ("since=1h&from=2026-03-04T09:00", "both say where to begin"),
        ("since=often", "is not a duration"),
        ("to=never", "is not a time"),
        ("severity=worst", "is no severity"),
        ("before=nobody", "there is no event with the id"),
    ):
        status, text = body(page, f"/events?{query}")
        assert status == 400 and words in text and "<form" in text, query
    for query in ("a=1&" * 101, f"text={'x' * 1001}"):
        assert body(page, f"/events?{query}")[0] == 400


def test_older_events_follow_without_gap_or_repetition(shipper, page, monkeypatch):
    monkeypatch.setattr(events_page, "ROWS", 4)
    made = [
        {**event(number), "@timestamp": event(number // 3)["@timestamp"]} for number in range(14)
    ]
    shipper.delivery.outputs["default"].output.deliver(UNIT, made, None)
    ids, path = [], "/events?action=blocked"
    while path:
        _, text = body(page, path)
        ids += re.findall('href="/event\\?id=([0-9a-f]+)"', text)
        older = re.search('id="older" href="([^"]+)"', text)
        path = html.unescape(older[1]) if older else ""
    stored = shipper.database.read("SELECT id FROM event ORDER BY time DESC, rowid DESC")
    assert ids == [id for (id,) in stored] and len(ids) == 14


def test_search_that_ends_in_the_middle_goes_on(shipper, page, monkeypatch):
    shipper.delivery.outputs["default"].output.deliver(
        UNIT, [event(number * 1000) for number in range(2_000)], None
    )
    snapshot = Snapshot(shipper.database.path)
    query = events_page.query_of({"text": ("nothing",)}, 0)
    result = events_page.search(snapshot, query, {}, 0.0)
    assert "ended after 0 s; try again" in result.note and not result.older
    ticks = iter([0.0, 0.0, 9.0])
    monkeypatch.setattr(searching, "monotonic", ticks.__next__)
    monkeypatch.setattr(searching, "ROWS_AT_ONCE", 500)
    result = events_page.search(snapshot, query, {"to": ("x",), "text": ("nothing",)}, 1.0)
    assert result.rows == [] and "0 events back to 2026-03-04T10:25:00Z" in result.note
    assert result.older == "text=nothing&to=2026-03-04T10%3A25%3A00.001Z"
    snapshot.close()


def test_page_answers_while_searches_run_and_refuses_too_many(shipper, page, monkeypatch):
    gate = threading.Event()
    running = threading.Semaphore(0)

    def search(*arguments):
        running.release()
        assert gate.wait(60)
        return events_page.Result([], "", "done")

    monkeypatch.setattr(events_page, "search", search)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(body(page, "/events?text=x")))
        for _ in range(answers.WORKERS + answers.WAITING)
    ]
    for thread in threads:
        thread.start()
    for _ in range(answers.WORKERS):
        assert running.acquire(timeout=60)
    wait_for(lambda: page.page.slow.number == len(threads))
    assert body(page, "/events")[0] == 503
    assert body(page, "/health")[0] in (200, 503) and body(page, "/")[0] == 200
    gate.set()
    for thread in threads:
        thread.join(60)
    assert [status for status, _ in results] == [200] * len(threads)
    assert body(page, "/events?text=x")[0] == 200


@pytest.mark.parametrize(
    "shipper", ["output.file: {path: /tmp/siemtap-none/out}", "output.stdout:"], indirect=True
)
def test_other_outputs_say_where_the_events_are(shipper, page):
    status, text = body(page, "/events")
    place = "the NDJSON files of" if shipper.config.output.type == "file" else "printed by"
    assert status == 200 and place in html.unescape(text) and "<form" not in text
    assert body(page, "/event?id=x")[0] == 404 and body(page, "/rejected")[0] == 200


def test_rejected_events_with_reasons_and_commands(shipper, page, monkeypatch):
    assert "None is stored" in body(page, "/rejected")[1]
    monkeypatch.setattr(rejected_page, "DIFFERENT", 3)
    reasons = [f"400 mapper_parsing_exception: [1:{number}] in 'x{number}'" for number in range(5)]
    reasons += ["no such field", "another", "a fourth", "a fifth"]
    shipper.rejected_events.store(
        UNIT, [(event(number), reason) for number, reason in enumerate(reasons)]
    )
    shipper.rejected_events.mark_seen([f"{number:032x}" for number in range(2)])
    status, text = body(page, "/rejected")
    assert status == 200 and "9 stored, 7 of them not reviewed" in text
    table = text.partition('<table id="reasons">')[2].partition("</table>")[0]
    numbers = dict(
        (html.unescape(reason), int(number))
        for number, reason in re.findall(r'number">(\d+)</td><td class="long">(.*?)</td>', table)
    )
    assert numbers == {
        reasons[0]: 5,
        "no such field": 1,
        "another": 1,
        rejected_page.OTHERS: 2,
    }
    for command in ("list --acknowledge", "retry", "delete --all"):
        assert f"<code>siemtap rejected {command}</code>" in text
    latest = re.findall('href="(/rejected/event[^"]+)"', text)
    assert len(latest) == 9
    _, text = body(page, latest[0])
    event_text = re.search('<pre id="event">(.*?)</pre>', text, re.DOTALL)[1]
    assert json.loads(html.unescape(event_text)) == event(0)


def test_counting_of_rejected_events_is_limited_in_time(shipper):
    shipper.rejected_events.store(UNIT, [(event(number), "no") for number in range(50)])
    snapshot = Snapshot(shipper.database.path)
    counted = rejected_page.count_reasons(snapshot, -1.0)
    assert not counted.complete and sum(counted.numbers.values()) == 1
    assert rejected_page.count_reasons(snapshot, 60.0).numbers == {"no": 50}
    snapshot.close()


def test_store_that_was_deleted_is_an_answer(shipper, page):
    shipper.database.path.unlink()
    for path in ("/events", "/event?id=x", "/rejected"):
        status, text = body(page, path)
        assert status == 503 and "was deleted or replaced" in text


def test_searches_end_with_the_server():
    server = Server(types.SimpleNamespace(), "127.0.0.1", 0)
    server.close()
    with pytest.raises(RuntimeError):
        server.page.slow.pool.submit(print)
