"""A clock of ours that is ahead for a while, or behind: in the end everything is there, each
once, and nothing is deleted."""

import dataclasses
from email.utils import formatdate

import pytest
from centurylink_ips import simulator as ips
from life import Life
from pingintelligence import simulator as abs_

from apptrana import PLUGIN as WAF
from apptrana import simulator as waf
from siemtap.core.errors import Retry
from siemtap.core.model import Batch, Mark, Unit
from siemtap.core.windows import DAY, HOUR, MINUTE, SECOND
from siemtap.edge.clock import Clock
from siemtap.edge.http import Http, Reply
from siemtap.engine import collected
from siemtap.runners import audit, cli_checks
from siemtap.runners.shipper import Shipper
from world import NOON

AHEAD = [40 * SECOND, 7 * MINUTE, DAY, 31 * DAY]
shifts = pytest.mark.parametrize("shift", AHEAD, ids=lambda shift: f"{shift // 1000}s")


@pytest.fixture
def life(tmp_path):
    lives = []

    def make(plugin="apptrana", **more):
        if plugin == "apptrana":
            simulated = waf.Simulator(
                waf.Knobs(rate=3.0, late=(0.0, 83.0), websites=("shop.example.com",))
            )
            lives.append(
                Life(tmp_path, simulated, plugin, **{"lookback": "20m", "concurrency": 3, **more})
            )
        elif plugin == "pingintelligence":
            lives.append(
                Life(
                    tmp_path,
                    abs_.Simulator(abs_.Knobs(rate=0.05)),
                    plugin,
                    **{"lookback": "2h", **more},
                )
            )
        else:
            lives.append(
                Life(tmp_path, ips.Simulator(ips.Knobs()), plugin, servers=["VA1ACMEWEB01"])
            )
        return lives[-1]

    yield make
    for it in lives:
        it.stop()


def check(it, since=None, missing=0):
    """All that happened since the first look back is there, and nothing twice."""
    lag, lookback = (it.config.inputs[0].settings.lag, it.config.inputs[0].settings.lookback)
    got = it.ids()
    must = it.simulated.ledger(
        it.now, (since or NOON - lookback) + 2 * MINUTE, it.now - lag - 4 * MINUTE
    )
    assert len(must) > 20
    assert len(must - set(got)) <= missing, f"{len(must - set(got))} of {len(must)} are lost"
    assert max(got.values()) == 1, "doubled"


@shifts
@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
@pytest.mark.parametrize("restart", ["never", "before", "after", "both"])
def test_ahead_for_a_while(life, plugin, shift, restart):
    it = life(plugin).start()
    it.turns(3)
    it.shift = shift
    if restart in ("before", "both"):
        it.start()
    it.turns(4)
    limit = it.now + 5 * SECOND
    assert all(
        cursor.get(name, 0) <= limit
        for cursor in it.cursors().values()
        for name in ("until", "asked")
    ), "a cursor lies in the future"
    healthy, why = it.shipper.health()
    lag = it.config.inputs[0].settings.lag
    assert healthy == (shift < lag) and ("is ahead of vendor.example.com by" in why) == (
        shift > lag
    ), why
    it.shift = 0
    if restart in ("after", "both"):
        it.start()
    it.turns(50 if plugin == "pingintelligence" else 8)
    assert it.shipper.health() == (True, "ok")
    check(it)


@shifts
@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
def test_ahead_at_the_very_first_start(life, plugin, shift):
    it = life(plugin)
    it.shift = shift
    it.start().turns(5)
    it.shift = 0
    it.turns(50 if plugin == "pingintelligence" else 8)
    check(it)


@shifts
def test_once_after_once_with_a_clock_that_stays_ahead(life, shift):
    """As from cron: every start knows nothing of the vendor's clock."""
    it = life()
    it.shift = shift
    for _ in range(8):
        it.start().turns(3, 20 * SECOND)
    check(it)


@shifts
def test_the_time_of_a_snapshot_is_not_in_the_future(life, shift):
    """What asks how it is now writes the time of its question ahead: one that was written by the
    wrong clock is put again."""
    it = life("centurylink_ips")
    it.shift = shift
    it.start().turns(1)
    it.start().turns(4)
    assert {state.state for state in it.states()} <= {"ok", "degraded"}
    assert (
        all(
            cursor.get(name, 0) <= it.now
            for cursor in it.cursors().values()
            for name in ("until", "asked")
        )
        and it.simulated.counts["notifications"] >= 3
    )


def spoil(it, until):
    for unit in it.cursors():
        if unit.dataset.endswith(".attack"):
            it.shipper.checkpoints.save(unit, Mark({"until": until}))


@pytest.mark.parametrize(
    "shift", [40 * MINUTE, DAY, 31 * DAY, 10**15], ids=lambda shift: f"{shift // 1000}s"
)
@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_a_checkpoint_in_the_future_is_said_and_gone_back_from(life, caplog, plugin, shift, date):
    """As an older siemtap left it, or a flipped bit."""
    it = life(plugin, date=date).start()
    it.turns(3)
    it.now += 10 * MINUTE
    spoil(it, it.now + shift)
    it.start().turns(4)
    assert "which is in the future: the clock of this machine was ahead" in caplog.text
    it.turns(50 if plugin == "pingintelligence" else 8)
    assert it.shipper.health() == (True, "ok")
    check(it)


NO_TIMES = {
    "float": lambda now: {"until": float(now + 30 * DAY)},
    "large": lambda now: {"until": 9e15},
    "text": lambda now: {"until": str(now)},
    "truth": lambda now: {"until": True},
    "nothing": lambda now: {"until": None},
    "asked": lambda now: {"until": now, "asked": 9e18},
    "none": lambda now: {"until": float("nan")},
    "list": lambda now: {"until": [now]},
}
NO_STRETCHES = {
    "number": lambda now: {"until": now, "skipped": 5},
    "text": lambda now: {"until": now, "skipped": [["a", 3]]},
    "one time": lambda now: {"until": now, "skipped": [[now]]},
    "half": lambda now: {"until": now, "skipped": [[now - 0.5, now]]},
    "stuck": lambda now: {"until": now, "stuck": [1]},
    "stuck at nothing": lambda now: {"until": now, "stuck": None},
}


@pytest.mark.parametrize(
    "plugin,wrong",
    [
        *(("apptrana", name) for name in [*NO_TIMES, *NO_STRETCHES]),
        *(("pingintelligence", name) for name in NO_TIMES),
    ],
)
@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_a_checkpoint_that_holds_no_time_is_refused(life, caplog, plugin, wrong, date):
    """The unit is degraded and says what to do; nothing is taken for read that was not. Put
    right, it goes on."""
    it = life(plugin, date=date).start()
    it.turns(3)
    before = it.cursors()
    value = {**NO_TIMES, **(NO_STRETCHES if wrong not in NO_TIMES else {})}[wrong](it.now)
    spoiled = [unit for unit in before if unit.dataset.endswith(".attack")]
    for unit in spoiled:
        it.shipper.checkpoints.save(unit, Mark(value))
    it.start().turns(4)
    states = [state for state in it.states() if state.unit in spoiled]
    assert spoiled and all(
        state.state == "degraded"
        and "ConfigError" in state.error
        and "siemtap state set" in state.error
        for state in states
    )
    assert not it.shipper.health()[0] and "nobody expected" not in caplog.text
    for unit in spoiled:
        it.shipper.checkpoints.save(unit, Mark(before[unit]))
    it.start().turns(50 if plugin == "pingintelligence" else 8)
    assert it.shipper.health() == (True, "ok")
    check(it)


@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_a_stretch_given_up_that_is_not_over_is_damage(life, caplog, date):
    it = life(date=date).start()
    it.turns(3)
    for unit, cursor in it.cursors().items():
        it.shipper.checkpoints.save(
            unit,
            Mark(
                {
                    **cursor,
                    "skipped": [
                        [it.now - DAY // 2, it.now - DAY // 2 + 1],
                        [it.now - 10 * MINUTE, it.now + 300 * DAY],
                    ],
                }
            ),
        )
    it.start().turns(12)
    assert "ends in the future" in caplog.text and it.shipper.health() == (True, "ok")
    assert all(len(cursor["skipped"]) == 1 for cursor in it.cursors().values())
    check(it)


def test_a_checkpoint_a_little_ahead_is_left_to_the_overlap(life, caplog):
    it = life().start()
    it.turns(3)
    spoil(it, it.now + 60 * SECOND)
    it.start().turns(12)
    assert "in the future" not in caplog.text
    check(it)


@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
@pytest.mark.parametrize("apart", [20, 60, 100], ids=lambda apart: f"every {apart}s")
@pytest.mark.parametrize(
    "shift", [30, 80, 150, 225, 235, 260, 295, 310, 400], ids=lambda shift: f"{shift}s"
)
def test_ahead_by_about_the_overlap_and_the_lag(life, caplog, date, apart, shift):
    """The overlap of 225 s begins where nothing was read yet, and not in the future: without a
    `Date` only the cursor tells."""
    it = life(date=date, output="sqlite", concurrency=1).start()
    it.turns(5, apart * SECOND)
    it.shift = shift * SECOND
    it.turns(2, apart * SECOND)
    it.shift = 0
    it.turns(15)
    check(it)
    assert it.shipper.health() == (True, "ok")
    if date or shift < 80:
        assert "which is in the future" not in caplog.text


@pytest.mark.parametrize("ahead", [0, 4 * SECOND, 7 * SECOND, DAY])
def test_a_plugin_that_does_not_look_at_the_clock_itself(ahead):
    """What it read beyond the vendor's time is not delivered; the next attempt is bounded."""
    clock = Clock(lambda: NOON + ahead, lambda: 0.0)
    http = Http(
        lambda request, seconds: Reply(200, {"date": formatdate(NOON // 1000, usegmt=True)}, b"{}"),
        clock=clock,
    )
    dataset = WAF.datasets[0]

    def collect(client, unit, cursor, now):
        http.ask(http.get("https://vendor.example.com/x"))
        yield Batch(dataset, [], {"until": now}, now)

    plugin = dataclasses.replace(WAF, collect=collect)
    attempt = collected(plugin, None, Unit("it", dataset.name), {}, http, 0, DAY)
    if ahead > 5 * SECOND:
        with pytest.raises(Retry, match="is ahead of the vendor's by"):
            list(attempt)
        attempt = collected(plugin, None, Unit("it", dataset.name), {}, http, 0, DAY)
    assert [batch.until for batch in attempt] == [NOON + (ahead if ahead < 5 * SECOND else 0)]


@pytest.mark.parametrize("lag", ["0s", "10s"])
@pytest.mark.parametrize("off", [-SECOND, SECOND], ids=["-1s", "1s"])
def test_a_date_that_is_a_second_off_is_no_damage(life, caplog, lag, off):
    """Of a host now and then, and our own clock ahead by what is still believed; at each start,
    too."""
    it = life(lag=lag, overlap="0s" if lag == "0s" else "225s").start()
    send, number = it.send, iter(range(10**6))
    it.send = lambda request, seconds: send(request, seconds)._replace(
        headers={"date": formatdate((it.now + off * (next(number) % 2)) // 1000, usegmt=True)}
    )
    it.shift = 5 * SECOND
    for _ in range(20):
        it.start().turns(2, SECOND)
    it.turns(8)
    assert "in the future" not in caplog.text
    if lag != "0s":
        check(it)


@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_a_clock_that_is_behind_is_no_damage(life, caplog, date):
    """The checkpoint lies in its future, and not in the vendor's: nothing is gone back from.
    Without a `Date` nobody can tell: then what is there is asked for, and not sent again."""
    it = life(date=date, output="file" if date else "sqlite").start()
    it.turns(3)
    it.shift = -DAY
    it.start().turns(5)
    if date:
        assert "in the future" not in caplog.text
    it.shift = 0
    it.turns(20)
    check(it)


@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_the_embedded_store_deletes_nothing_while_the_clock_jumps(life, caplog, date):
    it = life(output="sqlite", date=date).start()
    it.turns(70, tidy=True)  # the clock ran evenly for an hour
    before = len(it.simulated.ledger(it.now, NOON - 18 * MINUTE, it.now - 4 * MINUTE))
    it.shift = 31 * DAY
    it.turns(2, 35 * SECOND, tidy=True)
    assert date or "the clock of this machine jumped by 2678400 s" in caplog.text
    it.shift = 0
    it.turns(70, tidy=True)
    count = it.shipper.database.read("SELECT count(*) FROM event")[0][0]
    assert count >= before > 200
    check(it)


@pytest.mark.parametrize("output", ["file", "sqlite"])
def test_one_input_whose_vendor_has_a_wrong_clock_bends_no_other(life, output):
    """Two inputs over the same sockets: one of them is told yesterday's date."""
    it = life(output=output)
    right = it.config.inputs[0]
    wrong = dataclasses.replace(
        right,
        every=dataclasses.replace(right.every, id="wrong"),
        settings=dataclasses.replace(right.settings, url="https://wrong.example.com/rest"),
    )
    it.config = dataclasses.replace(it.config, inputs=(right, wrong))
    send = it.send

    def two(request, seconds):
        reply = send(request, seconds)
        return (
            reply._replace(headers={"date": formatdate((it.now - DAY) // 1000, usegmt=True)})
            if "wrong.example.com" in request.url
            else reply
        )

    it.send = two
    it.start().turns(8)
    states = {state.unit.input: state for state in it.states()}
    assert states["apptrana"].state == "ok" and states["apptrana"].until > it.now - 2 * MINUTE
    assert (
        states["wrong"].state == "degraded"
        and "ahead of wrong.example.com" in states["wrong"].error
    )


def test_the_output_is_told_of_the_vendors_time(life, tmp_path):
    """The latest of those that were heard: one whose clock stands still holds nothing back, and
    closed files are named by our own."""
    it = life(more="", concurrency=1)
    right = it.config.inputs[0]
    still = dataclasses.replace(
        right,
        every=dataclasses.replace(right.every, id="still"),
        settings=dataclasses.replace(right.settings, url="https://still.example.com/rest"),
    )
    it.config = dataclasses.replace(
        it.config,
        inputs=(right, still),
        output_settings=dataclasses.replace(
            it.config.output_settings, rotate_every_bytes=20_000, number_of_files=3
        ),
    )
    send = it.send
    it.send = lambda request, seconds: send(request, seconds)._replace(
        headers=(
            {"date": formatdate((NOON - DAY) // 1000, usegmt=True)}
            if "still." in request.url
            else send(request, seconds).headers
        )
    )
    it.start()
    assert it.shipper._vendors_now() == it.now
    newest = ""
    for _ in range(12):
        it.turns(1)
        assert it.shipper._vendors_now() >= it.now - MINUTE, "nobody is held back"
        times = [
            event["@timestamp"] for event in it.events() if event["event"]["module"] == "apptrana"
        ]
        assert max(times) >= newest, "the newest file was deleted"
        newest = max(times)
    assert len(it.shipper.sink.closed()) == 3
    it.shift = DAY
    it.turns(1)
    assert it.shipper._vendors_now() <= it.now + 2 * SECOND < it.shipper.clock.now()


@pytest.mark.parametrize("stretch", [False, True], ids=["once", "a stretch"])
@pytest.mark.parametrize("broken", [False, True], ids=["well", "broken"])
def test_a_clock_alone_leaves_nothing_undone(life, monkeypatch, stretch, broken):
    """`run --once` and `--from`: all was read, as far as the vendor's clock. `/health` says what
    is wrong with ours."""
    monkeypatch.setattr("siemtap.runners.running.random.uniform", lambda low, high: low)
    it = life()
    it.shift = 30 * SECOND
    if broken:
        send = it.send
        it.send = lambda request, seconds: send(request, seconds)._replace(status=503)
    shipper = Shipper(
        it.config,
        once=True,
        patience=-1.0 if broken else 60.0,
        clock=it.clock,
        https=lambda connection: Http(it.send, clock=it.clock),
        stretch=(it.now - HOUR, it.now - 30 * MINUTE) if stretch else None,
    )
    done = shipper.run()
    (state,) = [state for running in shipper.inputs.values() for state in running.states()]
    assert (done, state.done) == (not broken, not broken)
    if not broken:
        assert (
            state.state == ("ok" if stretch else "degraded")
            and ("is ahead of vendor.example.com" in state.error) is not stretch
        )
        assert (
            len(
                it.simulated.ledger(
                    it.now,
                    it.now - (55 if stretch else 18) * MINUTE,
                    it.now - (35 if stretch else 4) * MINUTE,
                )
                - set(it.ids())
            )
            == 0
        )


@pytest.mark.parametrize("shift", AHEAD[:2], ids=["40s", "420s"])
@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
def test_commands_that_ask_by_themselves(life, capsys, monkeypatch, plugin, shift):
    """`test inputs` and `audit`, whose first question nobody repeats."""
    it = life(plugin, output="sqlite").start().turns(4)
    it.shift = shift
    wish = it.config.inputs[0]
    monkeypatch.setattr(cli_checks, "connect", lambda connection: Http(it.send, clock=it.clock))
    cli_checks._test_input(wish, False)
    assert f"{wish.id}/{plugin}.attack" in (out := capsys.readouterr().out) and "logged in" in out
    checking = audit.Audit(it.shipper.sink, it.clock, 2 * HOUR, set())
    checking.ask(wish, Http(it.send, clock=it.clock), {})
    found = checking.compare()
    assert (
        not (found.extra or found.twice)
        and sum(counts["due"] for counts in found.hours.values()) > 20
    )


@shifts
def test_silence_is_noticed_whatever_the_clock_says(life, shift):
    """It is measured by the clock that only runs forward: one that was ahead neither cries wolf
    nor is deaf afterwards."""
    it = life(silent_after="10m").start()
    it.turns(3)
    it.shift = shift
    it.turns(3)
    assert "silent_after" not in it.shipper.health()[1]
    it.shift = 0
    it.turns(2)
    assert it.shipper.health() == (True, "ok")
    it.simulated.attacks = lambda *words, **more: []
    it.turns(12)
    assert "no event for longer than silent_after" in it.shipper.health()[1]


class Broken(Life):
    """A vendor of which one node's clock, or a cache in between, is far behind now and then.
    `behind`: milliseconds."""

    behind = 0

    def send(self, request, seconds):
        reply = super().send(request, seconds)
        date = formatdate((self.now - self.behind) // 1000, usegmt=True)
        return reply._replace(
            headers={**reply.headers, "date": date} if self.behind else reply.headers
        )


@pytest.mark.parametrize("output", ["file", "sqlite"])
def test_a_vendors_date_that_is_wrong_now_and_then_doubles_nothing(tmp_path, output):
    """Ours is right: of two clocks that differ nobody knows which is, so the cursor is left
    alone until they agree."""
    knobs = waf.Knobs(rate=3.0)
    life = Broken(tmp_path, waf.Simulator(knobs), "apptrana", output=output, lookback="2h")
    life.start().turns(10)
    for behind in (DAY, 0, 7 * HOUR, 0, DAY, DAY, 0, 0, 0, 0):
        life.behind = behind
        life.turns(1)
    life.turns(6)
    ids = life.ids()
    assert len(ids) > 300 and max(ids.values()) == 1 and life.states()[-1].state == "ok"
    life.stop()
