"""Feeds of pages: links that end, cursors that do not; what expires or comes back."""

from dataclasses import dataclass, field, replace
from typing import Any, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siemtap.core.convert import rfc3339
from siemtap.core.errors import ConfigError, Malformed, Retry
from siemtap.core.identity import identify
from siemtap.core.manifest import duration, fill_in, url
from siemtap.core.model import Plugin
from siemtap.core.rows import Dataset, Field
from siemtap.core.windows import HOUR, MINUTE, SECOND
from siemtap.edge.client import walk
from siemtap.edge.client.messages import next_url
from siemtap.edge.client.pages import LinkExpired, Page, Pages
from siemtap.testing.simulation import Fault
from siemtap.testing.vendor import CommonKnobs, Route, SimulatedVendor
from siemtap.testing.world import NOON, Crash, Fuse, Marks, Memory, Time, World

LATE = 100 * SECOND  # at most; less than the overlap


@dataclass(frozen=True)
class Settings:
    url: str = url("URL", help="Where the API is.")
    interval: int = duration("Interval", "60s", help="How often.")
    lag: int = duration("Lag", "10s", help="How old.")
    overlap: int = duration("Overlap", "120s", help="How far back.")
    lookback: int = duration("Lookback", "30m", help="How far back at first.")


FILLED = fill_in(Settings, {"url": "https://api.example.com"})
EVENT = Dataset(
    "acme.event",
    clock=lambda record: rfc3339(record["time"]),
    identity=("id",),
    rows=(Field("id", "acme.id"), Field("time", "acme.time", int)),
)


@dataclass
class Knobs(CommonKnobs):
    sizes: Tuple[int, ...] = (3,)  # of the pages, in turn
    late: Tuple[int, ...] = (0,)  # milliseconds until an event can be read, in turn
    lives: float = 0.0  # milliseconds of the links of a query, or of a cursor; 0: for ever
    newest_first: bool = False
    endless: bool = False
    absolute: bool = False  # links are URLs, or relative
    status: int = 410  # of an expired link


@dataclass
class Vendor(SimulatedVendor):
    """Ten events a minute, in pages. A link names its page, its time range and when it was made."""

    knobs: Knobs = field(default_factory=Knobs)
    time: Time = field(default_factory=Time)
    takes: int = 0  # milliseconds that pass with every answer

    def answer(self, request, now):
        answer = super().answer(request, now)
        self.time.now += self.takes
        return answer

    def settings(self, url: str) -> Any:
        return {"url": url}

    def routes(self):
        return (Route("GET", "/events", self.get_events), Route("GET", "/feed", self.get_feed))

    def event(self, number):
        late = self.knobs.late[number % len(self.knobs.late)]
        return {"id": f"e{number}", "time": number * 6_000, "visible": number * 6_000 + late}

    def events(self, start, stop, now):
        numbers = range(start // 6_000, stop // 6_000 + 1)
        events = [event for event in map(self.event, numbers) if start <= event["time"] < stop]
        return [event for event in events if event["visible"] <= now]

    def expire(self, made, now):
        if self.knobs.lives and now - made >= self.knobs.lives:
            raise self.refusal(self.knobs.status, "this link has expired")

    def get_events(self, call):
        start, stop = int(call.query["from"]), int(call.query["to"])
        first, made = int(call.query.get("first", 0)), int(call.query.get("made", call.now))
        if "made" in call.query:
            self.expire(made, call.now)
        events = self.events(start, stop, call.now)
        events = events[::-1] if self.knobs.newest_first else events
        size = self.knobs.sizes[first % len(self.knobs.sizes)]
        link = None
        if len(events) > first + size:
            link = f"?from={start}&to={stop}&first={first + size}&made={made}"
            if self.knobs.absolute:
                link = call.request.url.partition("?")[0] + link
        return {"events": events[first : first + size], "next": link}

    def get_feed(self, call):
        """Answer in the order in which events can be read. A cursor is the last of them."""
        since, made, start = 0, call.now, int(call.query.get("from", 0))
        after = (0, 0)
        if "cursor" in call.query:
            visible, number, made, start = map(int, call.query["cursor"].split("."))
            self.expire(made, call.now)
            after = (visible, number)
        events = sorted(
            (event["visible"], int(event["id"][1:]), event)
            for event in self.events(max(start, after[0] - 2 * LATE), call.now + 1, call.now)
            if event["time"] >= start
        )
        events = [event for event in events if event[:2] > after]
        page = events[: self.knobs.sizes[since % len(self.knobs.sizes)]]
        visible, number = page[-1][:2] if page else after
        return {
            "events": [event for _, _, event in page],
            "next": f"{visible}.{number}.{call.now}.{start}",
        }

    def ledger(self, now, start=0, stop=0):
        events = self.events(start, stop or now, now)
        return {identify("acme.event", [event["id"]]) for event in events}


class Client:
    def __init__(self, settings, http):
        self.settings, self.http = settings, http

    def first(self, window):
        return self.page(f"/events?from={window.start}&to={window.stop}")

    def follow(self, link):
        request = self.http.get(link)
        return self.read(request)

    def page(self, path):
        return self.read(self.http.get(self.settings.url + path))

    def read(self, request):
        body = self.http.json(request)
        return Page(body["events"], next_url(request, body["next"]))

    def first_of_feed(self, window):
        return self.feed(f"?from={window.start}")

    def follow_feed(self, cursor):
        return self.feed(f"?cursor={cursor}")

    def feed(self, query):
        body = self.http.json(self.http.get(f"{self.settings.url}/feed{query}"))
        return Page(body["events"], body["next"])


def pages(client, **options):
    return Pages(
        EVENT, "", client.first, client.follow, client.settings, client.http.now, **options
    )


def reader(client, endless=False, **options):
    if endless:
        feed = pages(client, endless=True, **options)
        return replace(feed, first=client.first_of_feed, follow=client.follow_feed)
    return pages(client, **options)


def world(faults=(), time=None, output=None, marks=None, fuse=None, options=(), **knobs):
    vendor = Vendor(Knobs(**knobs), list(faults))
    options = {"endless": vendor.knobs.endless, "widest": 10 * MINUTE, **dict(options)}
    plugin = Plugin(
        "acme",
        Settings,
        (EVENT,),
        connect=Client,
        units=lambda client, settings: [("acme.event", "")],
        collect=lambda client, unit, cursor, now: reader(client, **options).read(cursor, now),
    )
    return World(plugin, vendor, time, output, marks, fuse)


def check(it):
    """Each event that became readable early enough is there, once. The first ten minutes may pass
    before the first answer."""
    expected = it.simulator.ledger(it.time.now - MINUTE, NOON - 20 * MINUTE, it.until() - LATE)
    delivered = it.output.ids()
    assert len(expected) > 100
    assert expected - set(delivered) == set()
    assert max(delivered.values()) == 1


VENDORS = {
    "sizes": st.lists(st.integers(4, 70), min_size=1, max_size=4).map(tuple),
    "late": st.lists(st.integers(0, LATE), min_size=1, max_size=7).map(tuple),
    "newest_first": st.booleans(),
    "endless": st.booleans(),
    "absolute": st.booleans(),
    "status": st.sampled_from([400, 404, 410]),
}
FAULTS = st.lists(
    st.builds(
        Fault,
        times=st.integers(1, 2),
        status=st.sampled_from([429, 500, 503]),
        retry_after=st.sampled_from(["", "3", "90"]),
    ),
    max_size=3,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.fixed_dictionaries(VENDORS), FAULTS)
def test_pages_of_any_size_late_events_and_faults(knobs, faults):
    check(world(faults, **knobs).cycles(4))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    st.fixed_dictionaries({**VENDORS, "lives": st.sampled_from([1.0, 5_000.0, 90_000.0])}),
    st.lists(st.integers(1, 60), min_size=1, max_size=12),
    st.integers(0, 200_000),
)
def test_links_that_expire_and_a_crash_at_any_step(knobs, steps, pause):
    """The process ends after so many requests, events and saves; then time passes."""
    time, output, marks = Time(), Memory(), Marks()
    pause = pause if sum(steps) * 60_000 + len(steps) * pause < 9 * MINUTE else 0
    for limit in [*steps, None, None, None]:
        fuse = Fuse(limit)
        output.fuse = marks.fuse = fuse
        it = world(time=time, output=output, marks=marks, fuse=fuse, **knobs)
        it.simulator.time, it.simulator.takes = time, 1_000
        if limit is None:
            it.simulator.knobs.lives = 0
        try:
            it.cycle()
        except (Crash, Retry):  # too short a life, again and again
            pass
        time.now += pause if limit else MINUTE
    check(it)


@pytest.mark.slow
@pytest.mark.parametrize("endless", [False, True])
def test_a_crash_at_each_step_of_the_first_cycle(endless, monkeypatch):
    monkeypatch.setattr(walk, "AT_ONCE", 7)
    for limit in [*range(1, 40, 3), *range(130, 200, 3)]:
        time, output, marks = Time(), Memory(), Marks()
        output.fuse = marks.fuse = fuse = Fuse(limit)
        late = (0, LATE)
        options = {"sizes": (20,), "late": late, "endless": endless}
        with pytest.raises(Crash):
            world(time=time, output=output, marks=marks, fuse=fuse, **options).cycle()
        output.fuse = marks.fuse = Fuse()
        time.now += 30 * SECOND
        check(world(time=time, output=output, marks=marks, **options).cycles(4))


def test_it_goes_on_in_the_middle_of_a_time_range():
    it = world(sizes=(10,))
    unit = it.units()[0]
    first = it.simulator.get_events

    def broken(call):
        if call.query.get("first") == "30":
            raise it.simulator.refusal(503, "not now")
        return first(call)

    it.simulator.get_events = broken
    with pytest.raises(Retry):
        it.attempt(unit)
    cursor = it.marks.load(unit).cursor
    assert "first=30" in cursor["link"] and len(it.output.kept) == 30
    it.simulator.get_events = first
    it.simulator.requests.clear()
    it.attempt(unit)
    assert "first=30" in it.simulator.requests[0].url
    assert it.marks.load(unit).cursor == {"until": NOON - 10 * SECOND}


def test_an_endless_cursor_is_kept_and_asked_until_nothing_comes():
    it = world(endless=True, sizes=(50,)).cycles(1)
    unit = it.units()[0]
    cursor = it.marks.load(unit).cursor
    assert set(cursor) == {"until", "link"} and cursor["until"] == NOON - 10 * SECOND
    it.simulator.requests.clear()
    it.cycle()
    urls = [request.url for request in it.simulator.requests]
    assert len(urls) == 2 and all(f"cursor={cursor['link'][:10]}" in url for url in urls[:1])


def test_more_to_read_is_up_to_the_vendor():
    answers = {"": Page([{}], "a"), "a": Page([], "b"), "b": Page([{}], "c", more=False)}
    feed = Pages(
        EVENT, "", lambda window: answers[""], answers.get, FILLED, lambda: NOON, endless=True
    )
    assert [batch.cursor.get("link") for batch in feed.read({}, NOON)] == ["a", "b"]
    assert [batch.cursor.get("link") for batch in feed.read({"until": 1, "link": "b"}, NOON)] == [
        "c"
    ]


@pytest.mark.slow
def test_a_link_that_the_vendor_has_forgotten_falls_back_by_time(caplog):
    for status, endless in [(400, False), (404, True), (410, True)]:
        it = world(endless=endless, sizes=(10,), lives=90_000.0, status=status).cycles(1)
        it.time.now += HOUR
        it.cycles(2)
        check(it)
        assert not endless or "no longer knows the link" in caplog.text
        caplog.clear()


def test_a_link_that_is_refused_again_at_once_is_an_error():
    it = world(lives=-1.0)
    with pytest.raises(LinkExpired, match="this link has expired"):
        it.attempt(it.units()[0])
    it = world(lives=-1.0, options={"expired": ()})
    with pytest.raises(ConfigError, match="this link has expired"):
        it.attempt(it.units()[0])


def test_a_link_that_comes_back_ends_the_cycle_and_the_next_one_asks_by_time():
    answers = {"": Page([], "a"), "a": Page([], "b"), "b": Page([], "a")}
    feed = Pages(EVENT, "", lambda window: answers[""], answers.get, FILLED, lambda: NOON)
    cursors = []
    with pytest.raises(Malformed, match="page 3 has the link of an earlier page"):
        for batch in feed.read({"until": NOON - MINUTE}, NOON):
            cursors.append(batch.cursor)
    assert cursors[-1] == {"until": NOON - MINUTE} and cursors[-2]["link"] == "a"


def test_pages_without_an_end_end_the_cycle_and_the_next_one_goes_on():
    def page(number):
        return Page([], str(number + 1))

    feed = Pages(
        EVENT,
        "",
        lambda window: page(0),
        lambda link: page(int(link)),
        FILLED,
        lambda: NOON,
        most=100,
    )
    cursor = {}
    with pytest.raises(Malformed, match="more than 100 pages"):
        for batch in feed.read({}, NOON):
            cursor = batch.cursor
    assert cursor["link"] == "101"
    with pytest.raises(Malformed, match="more than 100 pages"):
        for batch in feed.read(cursor, NOON):
            cursor = batch.cursor
    assert cursor["link"] == "201"


def test_what_the_vendor_has_deleted_is_an_event():
    feed = Pages(
        EVENT,
        "",
        lambda window: Page([], None),
        lambda link: Page([], None),
        FILLED,
        lambda: NOON,
        retention=2 * HOUR,
    )
    lost, *others = feed.read({"until": NOON - 3 * HOUR}, NOON)
    assert lost.lost[0][:2] == (NOON - 3 * HOUR, NOON - 2 * HOUR)
    assert others[-1].cursor == {"until": NOON - 10 * SECOND} and not others[-1].lost


def test_a_clock_that_is_ahead_reads_nothing_of_the_future():
    for endless in (False, True):
        it = world(endless=endless, skew=-300.0).cycles(3)
        assert "ahead of the vendor" in str(it.errors[0])
        assert it.until() <= it.time.now - 300 * SECOND


@pytest.mark.parametrize(
    "cursor", [{"link": 7, "window": [1, 2]}, {"link": "a"}, {"link": "a", "window": [1, "x"]}]
)
def test_a_damaged_cursor_is_reported(cursor):
    it = world()
    with pytest.raises(ConfigError, match="siemtap state"):
        list(pages(it.client).read({"until": 1, **cursor}, NOON))


@pytest.mark.parametrize("kind", [walk.Walk, Pages])
def test_a_setting_that_is_missing_is_named(kind):
    class Few:
        lag = lookback = skip_after = 0

    rest = {"fetch": None, "widest": 2, "narrowest": 1} if kind is walk.Walk else {}
    more = {} if kind is walk.Walk else {"first": None, "follow": None}
    with pytest.raises(ConfigError, match=f"{kind.__name__} needs the setting `overlap`.*manifest"):
        kind(EVENT, "", settings=Few(), clock=lambda: NOON, **rest, **more)
