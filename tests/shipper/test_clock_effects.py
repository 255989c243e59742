"""The effects of a wrong clock on outputs, other inputs and commands."""

import dataclasses
from email.utils import formatdate

import pytest
from shipper import clocks
from shipper.clocks import AHEAD, check, shifts
from stepped_shipper import SteppedShipper

from apptrana import PLUGIN as WAF
from apptrana import simulator as waf
from siemtap.core.errors import Retry
from siemtap.core.model import Batch, Unit
from siemtap.core.windows import DAY, HOUR, MINUTE, SECOND
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Reply
from siemtap.edge.clock import Clock
from siemtap.engine.feeds import pulled_batches
from siemtap.shipper.audit import comparison
from siemtap.shipper.cli import checks
from siemtap.shipper.process import Shipper
from siemtap.testing.world import NOON

pytestmark = pytest.mark.slow

# fixtures
make_shipper = clocks.make_shipper


@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
@pytest.mark.parametrize("apart", [20, 60, 100], ids=lambda apart: f"every {apart}s")
@pytest.mark.parametrize(
    "shift", [30, 80, 150, 225, 235, 260, 295, 310, 400], ids=lambda shift: f"{shift}s"
)
def test_clock_ahead_by_about_overlap_and_lag(make_shipper, caplog, date, apart, shift):
    """The overlap of 225 s must begin where nothing was read yet, and not in the future. Without
    `Date` only the cursor shows the difference."""
    stepped = make_shipper(date=date, into="sqlite", concurrency=1).start()
    stepped.run_turns(5, apart * SECOND)
    stepped.shift = shift * SECOND
    stepped.run_turns(2, apart * SECOND)
    stepped.shift = 0
    stepped.run_turns(15)
    check(stepped)
    assert stepped.shipper.health() == (True, "ok")
    if date or shift < 80:
        assert "which is in the future" not in caplog.text


@pytest.mark.parametrize("ahead", [0, 4 * SECOND, 7 * SECOND, DAY])
def test_plugin_that_ignores_the_clock(ahead):
    """Events beyond the time of the vendor are not delivered, and the next attempt is bounded."""
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
    attempt = pulled_batches(plugin, None, Unit("it", dataset.name), {}, http, 0, DAY)
    if ahead > 5 * SECOND:
        with pytest.raises(Retry, match="is ahead of the vendor's by"):
            list(attempt)
        attempt = pulled_batches(plugin, None, Unit("it", dataset.name), {}, http, 0, DAY)
    assert [batch.until for batch in attempt] == [NOON + (ahead if ahead < 5 * SECOND else 0)]


@pytest.mark.parametrize("lag", ["0s", "10s"])
@pytest.mark.parametrize("off", [-SECOND, SECOND], ids=["-1s", "1s"])
def test_date_header_one_second_off_is_no_damage(make_shipper, caplog, lag, off):
    """The `Date` of a host is off now and then, and the local clock is ahead by what is still
    accepted; also at each start."""
    stepped = make_shipper(lag=lag, overlap="0s" if lag == "0s" else "225s").start()
    send, number = stepped.send, iter(range(10**6))
    stepped.send = lambda request, seconds: send(request, seconds)._replace(
        headers={"date": formatdate((stepped.now + off * (next(number) % 2)) // 1000, usegmt=True)}
    )
    stepped.shift = 5 * SECOND
    for _ in range(20):
        stepped.start().run_turns(2, SECOND)
    stepped.run_turns(8)
    assert "in the future" not in caplog.text
    if lag != "0s":
        check(stepped)


@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_clock_that_is_behind_is_no_damage(make_shipper, caplog, date):
    """The checkpoint is in the future of the local clock, but not of the vendor's, so it is not
    set back. Without `Date` this cannot be known: existing events are queried again and not sent
    again."""
    stepped = make_shipper(date=date, into="file" if date else "sqlite").start()
    stepped.run_turns(3)
    stepped.shift = -DAY
    stepped.start().run_turns(5)
    if date:
        assert "in the future" not in caplog.text
    stepped.shift = 0
    stepped.run_turns(20)
    check(stepped)


@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_sqlite_deletes_nothing_while_the_clock_jumps(make_shipper, caplog, date):
    stepped = make_shipper(into="sqlite", date=date).start()
    stepped.run_turns(70, tidy=True)  # the clock ran without jumps for an hour
    before = len(
        stepped.simulated.ledger(stepped.now, NOON - 18 * MINUTE, stepped.now - 4 * MINUTE)
    )
    stepped.shift = 31 * DAY
    stepped.run_turns(2, 35 * SECOND, tidy=True)
    assert date or "the clock of this machine jumped by 2678400 s" in caplog.text
    stepped.shift = 0
    stepped.run_turns(70, tidy=True)
    count = stepped.shipper.database.read("SELECT count(*) FROM event")[0][0]
    assert count >= before > 200
    check(stepped)


@pytest.mark.parametrize("output", ["file", "sqlite"])
def test_wrong_clock_of_one_vendor_does_not_affect_other_inputs(make_shipper, output):
    """Two inputs use the same sockets; one of them receives yesterday's date."""
    stepped = make_shipper(into=output)
    right = stepped.config.inputs[0]
    wrong = dataclasses.replace(
        right,
        common=dataclasses.replace(right.common, id="wrong"),
        settings=dataclasses.replace(right.settings, url="https://wrong.example.com/rest"),
    )
    stepped.config = dataclasses.replace(stepped.config, inputs=(right, wrong))
    send = stepped.send

    def send_with_old_date(request, seconds):
        reply = send(request, seconds)
        return (
            reply._replace(headers={"date": formatdate((stepped.now - DAY) // 1000, usegmt=True)})
            if "wrong.example.com" in request.url
            else reply
        )

    stepped.send = send_with_old_date
    stepped.start().run_turns(8)
    states = {state.unit.input: state for state in stepped.states()}
    assert states["apptrana"].state == "ok" and states["apptrana"].until > stepped.now - 2 * MINUTE
    assert (
        states["wrong"].state == "degraded"
        and "ahead of wrong.example.com" in states["wrong"].error
    )


def test_output_uses_the_latest_time_of_the_vendors(make_shipper, tmp_path):
    """A vendor whose clock stands still delays nothing, and closed files are named by the local
    clock."""
    stepped = make_shipper(more="", concurrency=1)
    right = stepped.config.inputs[0]
    still = dataclasses.replace(
        right,
        common=dataclasses.replace(right.common, id="still"),
        settings=dataclasses.replace(right.settings, url="https://still.example.com/rest"),
    )
    stepped.config = dataclasses.replace(
        stepped.config,
        inputs=(right, still),
        outputs=(
            dataclasses.replace(
                stepped.config.output,
                settings=dataclasses.replace(
                    stepped.config.output.settings, rotate_every_bytes=20_000, number_of_files=3
                ),
            ),
        ),
    )
    send = stepped.send
    stepped.send = lambda request, seconds: send(request, seconds)._replace(
        headers=(
            {"date": formatdate((NOON - DAY) // 1000, usegmt=True)}
            if "still." in request.url
            else send(request, seconds).headers
        )
    )
    stepped.start()
    assert stepped.shipper._vendor_time() == stepped.now
    newest = ""
    for _ in range(12):
        stepped.run_turns(1)
        assert stepped.shipper._vendor_time() >= stepped.now - MINUTE, (
            "a vendor with a wrong clock delays the others"
        )
        times = [
            event["@timestamp"]
            for event in stepped.events()
            if event["event"]["module"] == "apptrana"
        ]
        assert max(times) >= newest, "the newest file was deleted"
        newest = max(times)
    assert len(stepped.output_of_shipper().closed()) == 3
    stepped.shift = DAY
    stepped.run_turns(1)
    assert stepped.shipper._vendor_time() <= stepped.now + 2 * SECOND < stepped.shipper.clock.now()


@pytest.mark.parametrize("time_range", [False, True], ids=["once", "a stretch"])
@pytest.mark.parametrize("broken", [False, True], ids=["well", "broken"])
def test_wrong_clock_does_not_fail_run_once(make_shipper, monkeypatch, time_range, broken):
    """`run --once` and `--from` succeed when everything was read up to the time of the vendor.
    `/health` reports the wrong local clock."""
    monkeypatch.setattr("siemtap.engine.cycle.random.uniform", lambda low, high: low)
    stepped = make_shipper()
    stepped.shift = 30 * SECOND
    if broken:
        send = stepped.send
        stepped.send = lambda request, seconds: send(request, seconds)._replace(status=503)
    shipper = Shipper(
        stepped.config,
        once=True,
        patience=-1.0 if broken else 60.0,
        clock=stepped.clock,
        https=lambda connection: Http(stepped.send, clock=stepped.clock),
        time_range=(stepped.now - HOUR, stepped.now - 30 * MINUTE) if time_range else None,
    )
    done = shipper.run()
    (state,) = [state for running in shipper.inputs.values() for state in running.states()]
    assert (done, state.done) == (not broken, not broken)
    if not broken:
        assert (
            state.state == ("ok" if time_range else "degraded")
            and ("is ahead of vendor.example.com" in state.error) is not time_range
        )
        assert (
            len(
                stepped.simulated.ledger(
                    stepped.now,
                    stepped.now - (55 if time_range else 18) * MINUTE,
                    stepped.now - (35 if time_range else 4) * MINUTE,
                )
                - set(stepped.ids())
            )
            == 0
        )


@pytest.mark.parametrize("shift", AHEAD[:2], ids=["40s", "420s"])
@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
def test_commands_that_query_once(make_shipper, capsys, monkeypatch, plugin, shift):
    """The first query of `test inputs` and `audit` is not repeated."""
    stepped = make_shipper(plugin, into="sqlite").start().run_turns(4)
    stepped.shift = shift
    input_config = stepped.config.inputs[0]
    monkeypatch.setattr(
        checks, "connect", lambda connection: Http(stepped.send, clock=stepped.clock)
    )
    checks._test_input(input_config, False)
    assert (
        f"{input_config.id}/{plugin}.attack" in (out := capsys.readouterr().out)
        and "logged in" in out
    )
    checking = comparison.Audit(stepped.output_of_shipper(), stepped.clock, 2 * HOUR, set())
    checking.read_vendor(input_config, Http(stepped.send, clock=stepped.clock), {})
    result = checking.compare()
    assert (
        not (result.ids("extra") or result.ids("duplicate"))
        and sum(counts["expected"] for counts in result.hours.values()) > 20
    )


@shifts
def test_silence_is_measured_by_the_monotonic_clock(make_shipper, shift):
    """A wall clock that was ahead neither raises a false alarm nor prevents a later one."""
    stepped = make_shipper(silent_after="10m").start()
    stepped.run_turns(3)
    stepped.shift = shift
    stepped.run_turns(3)
    assert "silent_after" not in stepped.shipper.health()[1]
    stepped.shift = 0
    stepped.run_turns(2)
    assert stepped.shipper.health() == (True, "ok")
    stepped.simulated.attacks = lambda *args, **more: []
    stepped.run_turns(12)
    assert "no event for longer than silent_after" in stepped.shipper.health()[1]


class VendorWithWrongDate(SteppedShipper):
    """A shipper and a vendor with one node, or a cache in between, whose clock is far behind now
    and then. `behind`: milliseconds."""

    behind = 0

    def send(self, request, seconds):
        reply = super().send(request, seconds)
        date = formatdate((self.now - self.behind) // 1000, usegmt=True)
        return reply._replace(
            headers={**reply.headers, "date": date} if self.behind else reply.headers
        )


@pytest.mark.parametrize("output", ["file", "sqlite"])
def test_date_header_that_is_wrong_now_and_then_causes_no_duplicates(tmp_path, output):
    """The local clock is right, but of two clocks that differ nobody knows which is. The cursor
    is left unchanged until they agree."""
    knobs = waf.Knobs(rate=3.0)
    stepped = VendorWithWrongDate(
        tmp_path, waf.Simulator(knobs), "apptrana", into=output, lookback="2h"
    )
    stepped.start().run_turns(10)
    for behind in (DAY, 0, 7 * HOUR, 0, DAY, DAY, 0, 0, 0, 0):
        stepped.behind = behind
        stepped.run_turns(1)
    stepped.run_turns(6)
    ids = stepped.ids()
    assert len(ids) > 300 and max(ids.values()) == 1 and stepped.states()[-1].state == "ok"
    stepped.stop()
