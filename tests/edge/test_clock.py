"""Clocks: the difference from the `Date` of an answer, and the time used for deleting old data."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Mark, Unit
from siemtap.core.windows import DAY, HOUR, MINUTE, SECOND
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Reply
from siemtap.edge.client.replies import parse_date
from siemtap.edge.clock import Clock, SteadyClock
from siemtap.edge.receive.delivered import DeliveredIds
from siemtap.edge.store.checkpoints import Database, to_sqlite
from siemtap.testing.world import NOON


class Clocks:
    """The true time, how far the clock of this machine is ahead of it, and how long an answer
    takes."""

    def __init__(self):
        self.now, self.shift, self.takes, self.source, self.headers = NOON, 0, 0, 0, {}
        self.clock = Clock(lambda: self.now + self.shift, lambda: self.now / 1000)
        self.http = Http(self.send, clock=self.clock)

    def send(self, request, seconds):
        self.now += self.takes // 2
        date = formatdate((self.now + self.source) // 1000, usegmt=True)
        self.now += self.takes - self.takes // 2
        return Reply(200, {"date": date, **self.headers}, b"{}")

    def ask(self, host="a.example.com"):
        self.http.ask(self.http.get(f"https://{host}/x"))
        return self


def test_local_clock_is_used_before_the_first_answer():
    clocks = Clocks()
    assert (clocks.http.now(), clocks.http.ahead(), clocks.http.latest()) == (NOON, 0, None)


@pytest.mark.parametrize("shift", [-31 * DAY, -MINUTE, 0, 4 * SECOND, 5 * SECOND])
def test_clock_that_is_behind_or_slightly_ahead_is_used(shift):
    clocks = Clocks()
    clocks.shift = shift
    clocks.ask()
    assert clocks.http.now() == NOON + shift and clocks.http.ahead() == 0


@pytest.mark.parametrize("shift", [7 * SECOND, MINUTE, 31 * DAY])
def test_clock_that_is_ahead_is_corrected(shift):
    clocks = Clocks()
    clocks.shift = shift
    clocks.ask()
    assert clocks.http.now() == NOON and shift - 2 * SECOND <= clocks.http.ahead() <= shift
    clocks.now += HOUR  # time advances
    assert clocks.http.now() == NOON + HOUR
    clocks.shift = 0  # until the local clock is right again
    assert clocks.http.now() == NOON + HOUR and clocks.http.ahead() == 0


@given(st.integers(0, 120_000), st.integers(-2_000, 200_000), st.integers(0, 10_000))
def test_slow_answer_is_not_taken_for_a_wrong_clock(takes, shift, later):
    clocks = Clocks()
    clocks.takes, clocks.shift = takes, shift
    clocks.ask()
    clocks.now += later
    assert clocks.http.ahead() <= max(0, shift), (
        "the reported difference is larger than the real one"
    )
    if shift > takes + 7_000:
        assert clocks.http.now() <= clocks.now, "a time in the future"
    assert clocks.now - takes - 2_000 <= clocks.http.now() <= clocks.now + max(0, shift)


def test_latest_of_several_hosts_counts():
    clocks = Clocks()
    clocks.source = -DAY
    clocks.ask("broken.example.com")
    assert clocks.http.ahead() > DAY - 2 * SECOND
    clocks.source = 0
    clocks.ask("well.example.com")
    assert clocks.http.ahead() == 0 and clocks.http.now() == NOON


def test_each_input_has_its_own_clock():
    clocks = Clocks()
    other = clocks.http.view()
    clocks.shift = DAY
    clocks.ask()
    assert (
        clocks.http.ahead()
        and not other.ahead()
        and other.latest() is None
        and other.send == clocks.http.send
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
def test_date_header_without_a_usable_time_is_none(headers):
    clocks = Clocks()
    clocks.shift, clocks.headers = DAY, headers
    clocks.ask()
    assert clocks.http.ahead() == 0 and clocks.http.now() == clocks.http.latest() == NOON + DAY


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
def test_any_header_is_a_time_or_none(text):
    assert isinstance(parse_date(text), (int, type(None)))
    Clocks().http._compare_clocks(
        Clocks().http.get("https://x.example.com"),
        Reply(200, {"date": text, "age": text}),
        NOON,
        0.0,
    )


# The time used for deletion


class ShiftedClock:
    """A `SteadyClock` over a clock that can be set ahead."""

    def __init__(self):
        self.now, self.shift = NOON, 0
        self.steady = SteadyClock(Clock(lambda: self.now + self.shift, lambda: self.now / 1000))

    def deletion_time(self, newest, later=MINUTE):
        self.now += later
        return self.steady.deletion_time(newest)


def test_nothing_is_deleted_in_the_first_hour():
    clocks = ShiftedClock()
    assert [clocks.deletion_time(clocks.now) for _ in range(59)] == [0] * 59
    assert clocks.deletion_time(clocks.now) == clocks.now - MINUTE


@pytest.mark.parametrize("shift", [-31 * DAY, 2 * MINUTE, DAY, 31 * DAY])
@pytest.mark.parametrize("minutes", [1, 30, 58])
def test_clock_jump_has_no_effect_for_an_hour(shift, minutes):
    clocks = ShiftedClock()
    for _ in range(61):
        clocks.deletion_time(clocks.now)
    clocks.shift = shift
    moments = [clocks.deletion_time(clocks.now + shift) for _ in range(minutes)]
    assert clocks.steady.jump == (shift if minutes == 1 else 0) and max(moments) <= clocks.now
    clocks.shift = 0
    assert (
        all(clocks.deletion_time(clocks.now) <= clocks.now for _ in range(130))
        and clocks.deletion_time(clocks.now) == clocks.now - MINUTE
    )


def test_event_times_in_the_future_are_ignored():
    """An output passes the newest time that is not in the future."""
    clocks = ShiftedClock()
    for _ in range(61):
        clocks.deletion_time(clocks.now)
    assert (
        clocks.deletion_time(0) == clocks.now - 2 * MINUTE + MINUTE
        and clocks.deletion_time(clocks.now + DAY) == clocks.now
    )


def test_deletion_time_advances_without_new_events():
    clocks = ShiftedClock()
    for _ in range(61):
        clocks.deletion_time(NOON)
    assert clocks.deletion_time(NOON, 40 * DAY) >= NOON + 40 * DAY


def test_ids_of_received_events_are_kept_over_a_clock_jump(tmp_path):
    """Events that arrive while the clock is a month ahead do not delete the ids of earlier ones."""
    clocks, database, unit = (
        ShiftedClock(),
        Database(tmp_path / "siemtap.db"),
        Unit("it", "acme.event", "received"),
    )
    delivered_ids = DeliveredIds(database, DAY, clocks.steady.clock)
    for number in range(62):
        clocks.now += MINUTE
        delivered_ids.save(unit, Mark({}, {f"early-{number}": clocks.now}))
    clocks.shift = 31 * DAY
    delivered_ids.save(unit, Mark({}, {"ahead": clocks.now + clocks.shift}))
    clocks.shift = 0
    clocks.now += MINUTE
    delivered_ids.save(unit, Mark({}, {"later": clocks.now}))
    expected = [f"early-{number}" for number in range(62)] + ["ahead", "later"]
    assert delivered_ids.known(unit, expected) == set(expected)
    for _ in range(30):  # they are deleted when they are old enough
        clocks.now += HOUR
        delivered_ids.save(unit, Mark({}, {f"new-{clocks.now}": clocks.now}))
    assert delivered_ids.known(unit, expected) == {"ahead"}
    database.close()


def test_values_bound_in_sqlite_can_be_read_back(tmp_path):
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
        lambda db: db.executemany(
            "INSERT INTO t VALUES (?)", [to_sqlite([value]) for value in values]
        )
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


def test_header_that_cannot_be_sent_is_a_configuration_error():
    clocks = Clocks()
    for value in ("ключ", "a\r\nX: y", " s3cret", "\ud800", "s3cret\0"):
        with pytest.raises(
            ConfigError, match="the header X-Key cannot be sent.*check the key"
        ) as caught:
            clocks.http.ask(
                clocks.http.get("https://x.example.com/?secret", headers={"X-Key": value})
            )
        assert (
            value.strip() not in str(caught.value)
            and "?secret" not in str(caught.value)
            and not isinstance(caught.value, Retry)
        )
    clocks.http.ask(
        clocks.http.get("https://x.example.com", headers={"X-Key": "ü=~ \t!", "X-None": ""})
    )
