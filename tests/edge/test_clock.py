"""Whose clock it is: what an answer's `Date` tells of ours, and by which time old things are
deleted."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Mark, Unit
from siemtap.core.windows import DAY, HOUR, MINUTE, SECOND
from siemtap.edge.arrivals import Arrivals
from siemtap.edge.checkpoints import Database, clean
from siemtap.edge.clock import Clock, Steady
from siemtap.edge.http import Http, Reply, moment_of
from world import NOON


class World:
    """The true time, how far ours is ahead of it, and how long an answer takes."""

    def __init__(self):
        self.now, self.shift, self.takes, self.theirs, self.headers = NOON, 0, 0, 0, {}
        self.clock = Clock(lambda: self.now + self.shift, lambda: self.now / 1000)
        self.http = Http(self.send, clock=self.clock)

    def send(self, request, seconds):
        self.now += self.takes // 2
        date = formatdate((self.now + self.theirs) // 1000, usegmt=True)
        self.now += self.takes - self.takes // 2
        return Reply(200, {"date": date, **self.headers}, b"{}")

    def ask(self, host="a.example.com"):
        self.http.ask(self.http.get(f"https://{host}/x"))
        return self


def test_before_the_first_answer_it_is_ours():
    it = World()
    assert (it.http.now(), it.http.ahead(), it.http.latest()) == (NOON, 0, None)


@pytest.mark.parametrize("shift", [-31 * DAY, -MINUTE, 0, 4 * SECOND, 5 * SECOND])
def test_a_clock_that_is_behind_or_hardly_ahead_is_believed(shift):
    it = World()
    it.shift = shift
    it.ask()
    assert it.http.now() == NOON + shift and it.http.ahead() == 0


@pytest.mark.parametrize("shift", [7 * SECOND, MINUTE, 31 * DAY])
def test_a_clock_that_is_ahead_is_not(shift):
    it = World()
    it.shift = shift
    it.ask()
    assert it.http.now() == NOON and shift - 2 * SECOND <= it.http.ahead() <= shift
    it.now += HOUR  # and the time goes on
    assert it.http.now() == NOON + HOUR
    it.shift = 0  # until ours is right again
    assert it.http.now() == NOON + HOUR and it.http.ahead() == 0


@given(st.integers(0, 120_000), st.integers(-2_000, 200_000), st.integers(0, 10_000))
def test_a_slow_answer_is_no_false_alarm_and_never_hands_out_the_future(takes, shift, later):
    it = World()
    it.takes, it.shift = takes, shift
    it.ask()
    it.now += later
    assert it.http.ahead() <= max(0, shift), "said to be ahead more than it is"
    if shift > takes + 7_000:
        assert it.http.now() <= it.now, "a moment that has not come"
    assert it.now - takes - 2_000 <= it.http.now() <= it.now + max(0, shift)


def test_of_several_hosts_the_latest_counts():
    it = World()
    it.theirs = -DAY
    it.ask("broken.example.com")
    assert it.http.ahead() > DAY - 2 * SECOND
    it.theirs = 0
    it.ask("well.example.com")
    assert it.http.ahead() == 0 and it.http.now() == NOON


def test_an_inputs_view_is_its_own():
    it = World()
    other = it.http.view()
    it.shift = DAY
    it.ask()
    assert (
        it.http.ahead()
        and not other.ahead()
        and other.latest() is None
        and other.send == it.http.send
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"age": "4000"},
        {"date": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"date": "Thu, 01 Jan 0001 00:00:00 GMT"},
        {"date": "soon"},
        {"date": ""},
        {"date": "Wed, 04 Mar 99999 10:00:00 GMT"},
    ],
    ids=str,
)
def test_a_date_that_tells_nothing_is_none(headers):
    it = World()
    it.shift, it.headers = DAY, headers
    it.ask()
    assert it.http.ahead() == 0 and it.http.now() == it.http.latest() == NOON + DAY


@given(
    st.text(max_size=60)
    | st.builds(
        " ".join,
        st.lists(
            st.sampled_from(
                [
                    "Wed,",
                    "04",
                    "Mar",
                    "2026",
                    "99999",
                    "-1",
                    "10:00:00",
                    "99:99:99",
                    "GMT",
                    "+9999",
                    "-99999999999",
                    "()",
                    "(",
                    "\ud800",
                    "1e9",
                ]
            ),
            max_size=8,
        ),
    )
)
def test_any_header_is_a_moment_or_none(text):
    assert isinstance(moment_of(text), (int, type(None)))
    World().http._compare_clocks(
        World().http.get("https://x.example.com"),
        Reply(200, {"date": text, "age": text}),
        NOON,
        0.0,
    )


# To delete by


class Hours:
    """Steady over a clock that can be put ahead."""

    def __init__(self):
        self.now, self.shift = NOON, 0
        self.steady = Steady(Clock(lambda: self.now + self.shift, lambda: self.now / 1000))

    def look(self, newest, later=MINUTE):
        self.now += later
        return self.steady.look(newest)


def test_nothing_is_deleted_in_the_first_hour():
    it = Hours()
    assert [it.look(it.now) for _ in range(59)] == [0] * 59
    assert it.look(it.now) == it.now - MINUTE


@pytest.mark.parametrize("shift", [-31 * DAY, 2 * MINUTE, DAY, 31 * DAY])
@pytest.mark.parametrize("minutes", [1, 30, 58])
def test_a_jump_moves_nothing_for_an_hour_not_even_by_what_arrives_meanwhile(shift, minutes):
    it = Hours()
    for _ in range(61):
        it.look(it.now)
    it.shift = shift
    moments = [it.look(it.now + shift) for _ in range(minutes)]
    assert it.steady.jumped == (shift if minutes == 1 else 0) and max(moments) <= it.now
    it.shift = 0
    assert all(it.look(it.now) <= it.now for _ in range(130)) and it.look(it.now) == it.now - MINUTE


def test_the_future_of_an_attacker_neither_deletes_nor_stops_it():
    """An output asks for the newest that is not in the future."""
    it = Hours()
    for _ in range(61):
        it.look(it.now)
    assert it.look(0) == it.now - 2 * MINUTE + MINUTE and it.look(it.now + DAY) == it.now


def test_it_goes_on_where_nothing_new_comes():
    it = Hours()
    for _ in range(61):
        it.look(NOON)
    assert it.look(NOON, 40 * DAY) >= NOON + 40 * DAY


def test_ids_of_what_was_pushed_are_remembered_over_a_jump(tmp_path):
    """Received while the clock was a month ahead: what came before is known still."""
    it, database, unit = (
        Hours(),
        Database(tmp_path / "siemtap.db"),
        Unit("it", "acme.event", "received"),
    )
    arrivals = Arrivals(database, DAY, it.steady.clock)
    for number in range(62):
        it.now += MINUTE
        arrivals.save(unit, Mark({}, {f"early-{number}": it.now}))
    it.shift = 31 * DAY
    arrivals.save(unit, Mark({}, {"ahead": it.now + it.shift}))
    it.shift = 0
    it.now += MINUTE
    arrivals.save(unit, Mark({}, {"later": it.now}))
    wanted = [f"early-{number}" for number in range(62)] + ["ahead", "later"]
    assert arrivals.known(unit, wanted) == set(wanted)
    for _ in range(30):  # and they are forgotten in their time
        it.now += HOUR
        arrivals.save(unit, Mark({}, {f"new-{it.now}": it.now}))
    assert arrivals.known(unit, wanted) == {"ahead"}
    database.close()


def test_whatever_is_bound_can_be_read_back(tmp_path):
    database = Database(tmp_path / "siemtap.db")
    values = [
        "\ud800",
        "a\udfffb",
        "a\ud800",
        "ü\0",
        2**63,
        -(2**63) - 1,
        2**63 - 1,
        None,
        1.5,
        [1],
        {"a": "\ud800"},
        True,
    ]
    database.write(lambda db: db.execute("CREATE TABLE t (v)"))
    database.write(
        lambda db: db.executemany("INSERT INTO t VALUES (?)", [clean([value]) for value in values])
    )
    assert [value for (value,) in database.read("SELECT v FROM t ORDER BY rowid")] == [
        "\\ud800",
        "a\\udfffb",
        "a\\ud800",
        "ü\0",
        str(2**63),
        str(-(2**63) - 1),
        2**63 - 1,
        None,
        1.5,
        "[1]",
        "{'a': '\\ud800'}",
        1,
    ]
    database.close()


def test_a_header_that_cannot_be_sent_is_no_retry():
    it = World()
    for value in ("ключ", "a\r\nX: y", " s3cret", "\ud800", "s3cret\0"):
        with pytest.raises(
            ConfigError, match="the header X-Key cannot be sent.*check the key"
        ) as caught:
            it.http.ask(it.http.get("https://x.example.com/?secret", headers={"X-Key": value}))
        assert (
            value.strip() not in str(caught.value)
            and "?secret" not in str(caught.value)
            and not isinstance(caught.value, Retry)
        )
    it.http.ask(it.http.get("https://x.example.com", headers={"X-Key": "ü=~ \t!", "X-None": ""}))
