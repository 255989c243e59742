"""What one stranger says ends no process: any payload, any answer, any header. The others go on,
nothing that was accepted is lost, and the same words at the next start do no harm."""

import collections
import copy
import json
import logging
import random
import tempfile
from pathlib import Path

import pytest
from centurylink_ips import simulator as ips
from hypothesis import given, settings
from hypothesis import strategies as st
from life import delivered
from pingintelligence import simulator as abs_

from apptrana import simulator as waf
from cases import folders
from siemtap.core.errors import Retry
from siemtap.core.model import Mark, Payload, Unit
from siemtap.edge.checkpoints import Database
from siemtap.edge.clock import Clock
from siemtap.edge.http import Http, Reply
from siemtap.edge.rejects import Rejects
from siemtap.outputs.checked import Checked
from siemtap.outputs.contained import Contained
from siemtap.runners import page, simulate
from siemtap.runners.config import parse
from siemtap.runners.shipper import Shipper
from world import NOON

HALF = "\ud800"
ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    2**63,
    -(2**70),
    10**40,
    "",
    "-",
    " ",
    HALF,
    f"a{HALF}b",
    "\0",
    "\u202e",
    "x" * 5_000,
    "0999-03-04T10:00:00.000Z",
    "0001-01-01T00:00:00+14:00",
    "99999-03-04T10:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "Thu Mar 05 03:39:12 UTC 0999",
    "Thu Mar 05 03:39:12 UTC 99999",
    "Wed Mar 04 10:02:13:417 0007",
    -62_135_596_800_000_000,
    253_402_300_800_000,
    "253402300800000",
    [],
    {},
    [None],
    [[]],
    {"a": HALF},
    {HALF: 1},
    {"": {"": []}},
    [1] * 50,
]
HEADERS = [
    {},
    {"date": "Wed, 04 Mar 99999 12:00:00 GMT"},
    {"date": "Thu, 01 Jan 0001 00:00:00 GMT"},
    {"date": "Fri, 31 Dec 9999 23:59:59 -9999"},
    {"date": HALF},
    {"date": "(" * 500},
    {"retry-after": "9" * 5_000},
    {"retry-after": "Wed, 04 Mar 99999 12:00:00 GMT"},
    {"retry-after": "-5"},
    {"content-type": f"text/html{HALF}"},
    {"location": f"https://x.example.com/?code={HALF}"},
]
VENDORS = {
    "apptrana": lambda: waf.Simulator(waf.Knobs(rate=2.0, websites=("shop.example.com",))),
    "centurylink_ips": lambda: ips.Simulator(ips.Knobs()),
    "pingintelligence": lambda: abs_.Simulator(abs_.Knobs(rate=0.02, apis=("shop",))),
}
MORE = {
    "apptrana": {"lookback": "10m", "datasets": ["attack", "activity"], "discover_websites": True},
    "centurylink_ips": {},
    "pingintelligence": {"lookback": "90m", "reports": ["metrics", "be", "discovery"]},
}
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
each_vendor = pytest.mark.parametrize("vendor", list(VENDORS))
each_output = pytest.mark.parametrize("output", ["file", "sqlite"])


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No waiting between attempts, and no log of thousands of errors."""
    monkeypatch.setattr("siemtap.runners.running.random.uniform", lambda low, high: low)
    monkeypatch.setattr(logging.getLogger("siemtap"), "level", logging.CRITICAL)


class House:
    """A folder, and a shipper in it that works through all that is due, once and once more."""

    def __init__(self, folder, inputs, output="sqlite", more=""):
        self.folder, self.output = Path(folder), output
        places = {
            "file": f"output.file: {{path: {folder}/out}}",
            "sqlite": "output.sqlite: {retention: 0s}",
        }
        self.config = parse(
            f"path.data: {folder}/data\nhttp.enabled: false\n{more}\n{places[output]}\ninputs:"
            f" {json.dumps(inputs)}\n"
        )
        self.clock = Clock(lambda: NOON)
        self.hosts = {}

    def send(self, request, seconds):
        return self.hosts[request.url.split("/")[2]](request, seconds)

    def shipper(self, **more):
        return Shipper(
            self.config,
            once=True,
            patience=0.0,
            clock=self.clock,
            https=lambda connection: Http(self.send, clock=self.clock),
            **more,
        )

    def run(self, payloads=()):
        """The states of all units, after a whole run that ended without an exception."""
        shipper = self.shipper()
        for running in shipper.inputs.values():
            if payloads and running.reception:
                running.reception.spool.append(list(payloads)).result(10)
        shipper.run()
        self.waiting = [
            running.reception.spool.pending(running.received_until())
            for running in shipper.inputs.values()
            if running.reception
        ]
        return {
            str(state.unit): state
            for running in shipper.inputs.values()
            for state in running.states()
        }

    def events(self):
        return delivered(
            self.folder,
            self.output,
            "SELECT event FROM event UNION ALL SELECT event FROM rejected",
        )

    def ids(self):
        return collections.Counter(event["event"]["id"] for event in self.events())


def errors_of_poison(states):
    """What the poisoned input says of each unit that asks."""
    return [
        state.error
        for name, state in states.items()
        if name.startswith("poison/") and not name.endswith("/received")
    ]


def answers(simulated):
    clock = Clock(lambda: NOON)
    return simulate.in_memory(simulated, clock)


def entry(vendor, id, simulated, **more):
    return {
        "type": vendor,
        "id": id,
        **simulated.settings(f"https://{id}.example.com/rest"),
        **MORE[vendor],
        **more,
    }


def two(folder, vendor, output="sqlite", **more):
    """An input whose vendor may say anything, and one that is as it should be."""
    poison, good = (
        VENDORS[vendor](),
        waf.Simulator(waf.Knobs(rate=2.0, seed=7, websites=("shop.example.com",))),
    )
    house = House(
        folder,
        [
            entry(vendor, "poison", poison, **more),
            {
                "type": "apptrana",
                "id": "good",
                "lookback": "10m",
                **good.settings("https://good.example.com/rest"),
            },
        ],
        output,
    )
    house.hosts = {"poison.example.com": answers(poison), "good.example.com": answers(good)}
    return house, good


def check_good(house, good, states):
    must = good.ledger(NOON, NOON - 9 * 60_000, NOON - 15_000)
    assert (
        len(must) > 5
        and must <= set(house.ids())
        and all(state.state == "ok" for name, state in states.items() if name.startswith("good/"))
    )


def places(value, path=()):
    yield path
    for key, inner in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        yield from places(inner, (*path, key))


def mutated(value, luck, odd):
    """The same JSON with one value of it, or a name, replaced; or one taken away."""
    value = copy.deepcopy(value)
    path = luck.choice(list(places(value)))
    if not path:
        return odd
    place = value
    for key in path[:-1]:
        place = place[key]
    if luck.random() < 0.15:
        del place[path[-1]]
    elif luck.random() < 0.1 and isinstance(place, dict):
        place[luck.choice([HALF, "", "@when", "@kind", "x" * 300])] = place.pop(path[-1])
    else:
        place[path[-1]] = odd
    return value


# Any answer


@each_vendor
@each_output
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    odd=st.lists(values, min_size=1, max_size=6),
    share=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_any_answer_of_a_vendor_stops_no_other(vendor, output, seed, odd, share):
    luck = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        house, good = two(folder, vendor, output)
        right = house.hosts["poison.example.com"]

        def poisoned(request, seconds):
            reply = right(request, seconds)
            if luck.random() > share:
                return reply
            headers = {**reply.headers, **luck.choice(HEADERS)}
            if luck.random() < 0.2:
                return Reply(
                    luck.choice([200, 200, 204, 302, 400, 401, 404, 406, 429, 500, 999]),
                    headers,
                    luck.choice(
                        [
                            b"",
                            b"\xff",
                            b"[" * 2_000,
                            b"null",
                            json.dumps(luck.choice(odd)).encode(),
                            b"<html>",
                        ]
                    ),
                )
            try:
                body = json.dumps(
                    mutated(json.loads(reply.body), luck, luck.choice([*odd, *ODD]))
                ).encode()
            except ValueError:
                body = reply.body
            return Reply(reply.status, headers, body)

        house.hosts["poison.example.com"] = poisoned
        for _ in range(2):  # the second start meets what the first one left
            check_good(house, good, house.run())
        house.hosts["poison.example.com"] = right
        states = house.run()
        check_good(house, good, states)
        assert all(state.state == "ok" for state in states.values()), [
            state.error for state in states.values()
        ]
        if output == "file":
            assert max(house.ids().values()) == 1


# Any payload

CASES = [
    (json.loads((folder / "given.json").read_text()), path.read_bytes(), folder.parents[1].name)
    for folder in folders()
    for path in folder.glob("payload.*")
]


def payload_of(luck, odd, vendor, number):
    """A case's payload, or any bytes, with something changed in it."""
    given_, body, _ = luck.choice([case for case in CASES if case[2] == vendor] or CASES)
    kind = luck.random()
    if kind < 0.5:
        try:
            body = json.dumps(mutated(json.loads(body), luck, luck.choice([*odd, *ODD]))).encode(
                "utf-8", "surrogatepass"
            )
        except ValueError:
            place = luck.randrange(len(body) + 1)
            body = (
                body[:place]
                + str(luck.choice(ODD)).encode("utf-8", "surrogatepass")
                + body[place + luck.randrange(9) :]
            )
    elif kind < 0.7:
        body = json.dumps(luck.choice(odd)).encode()
    elif kind < 0.9:
        body = luck.randbytes(luck.randrange(1, 200))
    headers = luck.choice(
        [
            given_.get("headers", {}),
            {"content-type": f"x{HALF}"},
            {"content-encoding": "gzip"},
            {"content-type": "application/x-www-form-urlencoded"},
        ]
    )
    return Payload(
        body,
        luck.choice(["webhook", "udp", "tcp", "replay", given_.get("channel", "udp")]),
        luck.choice(["", "ACME/web01", "%ff/%00", f"{HALF}/{HALF}", "a/b/c"]),
        "192.0.2.1",
        NOON - number,
        headers,
    )


@pytest.mark.parametrize("vendor", ["centurylink_ips", "pingintelligence"])
@each_output
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), odd=st.lists(values, min_size=1, max_size=6))
def test_any_payload_is_an_event_and_stops_no_other(vendor, output, seed, odd):
    luck = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        house, good = two(folder, vendor, output, syslog=["udp://127.0.0.1:0"])
        payloads = [payload_of(luck, odd, vendor, number) for number in range(30)]
        marked = [
            Payload(f"<13>line {place} of {seed}".encode(), "udp", "", "192.0.2.1", NOON)
            for place in range(2)
        ]
        alone, _ = two(f"{folder}/alone", vendor, output, syslog=["udp://127.0.0.1:0"])
        alone.run()
        pulled = set(alone.ids())
        alone.run(marked)
        wanted = set(alone.ids()) - pulled
        assert len(wanted) == 2
        numbers = []
        for _ in range(2):  # what is in the spool, and the same once more
            states = house.run([marked[0], *payloads, marked[1]])
            check_good(house, good, states)
            assert house.waiting == [0] and all(
                state.state == "ok" for name, state in states.items() if name.endswith("/received")
            ), [state.error for state in states.values()]
            events = house.events()
            assert wanted <= {event["event"]["id"] for event in events}
            numbers.append(len(events))
        assert numbers[0] == numbers[1], "the same words are the same events"
        shipper = house.shipper()
        assert shipper.tally.top("dataset") or output == "file"
        assert page.Page(shipper).front()[0] == 200 and page.Page(shipper).metrics()[0] == 200
        shipper.close()


def test_years_and_halves_that_once_ended_it(tmp_path):
    """Of three digits, of five; half a pair of surrogates in every text."""
    house = House(tmp_path, [{"type": "centurylink_ips", "syslog": ["udp://127.0.0.1:0"]}])
    base = {
        "hostName": "web01",
        "reason": "rule",
        "action": "Prevent",
        "sourceIP": "192.0.2.7",
        "severity": "High",
    }
    said = [
        {**base, "driverTime": when}
        for when in (
            "Thu Mar 05 03:39:12 UTC 0999",
            "Thu Mar 05 03:39:12 UTC 0001",
            "0999-03-04T10:00:00.000Z",
            "99999-03-04T10:00:00Z",
            10**14,
            -(10**17),
        )
    ]
    said += [
        {**base, "driverTime": 1_772_618_400_000 + number, name: f"a{HALF}"}
        for number, name in enumerate((*base, HALF))
    ]
    states = house.run(
        [Payload(json.dumps(one).encode(), "webhook", "ACME", "192.0.2.1", NOON) for one in said]
    )
    assert all(state.state == "ok" for state in states.values()) and len(house.events()) == len(
        said
    )
    assert {"0999-03-05T03:39:12.000Z", "0001-03-05T03:39:12.000Z"} <= {
        event["@timestamp"] for event in house.events()
    }


# A scope, a token, a key, a mark


def test_a_site_with_half_a_pair_of_surrogates_has_a_checkpoint_of_its_own(tmp_path):
    house, good = two(tmp_path, "apptrana")
    right = house.hosts["poison.example.com"]
    sites = [f"shop{HALF}.example.com", "shop\udfff.example.com", "shop.example.com"]
    house.hosts["poison.example.com"] = lambda request, seconds: (
        Reply(200, {}, json.dumps(sites).encode())
        if request.url.endswith("get-websites")
        else right(request, seconds)
    )
    for _ in range(2):
        states = house.run()
        check_good(house, good, states)
    assert {name for name in states if "attack/" in name} == {
        f"poison/apptrana.attack/{site}" for site in sites
    }
    shipper = house.shipper()
    units = [
        saved.unit.scope
        for saved in shipper.checkpoints.all()
        if saved.unit.dataset == "apptrana.attack" and saved.unit.input == "poison"
    ]
    assert units == sorted(
        ["shop\\ud800.example.com", "shop\\udfff.example.com", "shop.example.com"]
    )
    assert shipper.checkpoints.load(Unit("poison", "apptrana.attack", sites[0])).cursor["until"]
    shipper.close()


@pytest.mark.parametrize("token", ["ключ", "a\nb", HALF, "\u2028", "a\0b"])
@pytest.mark.parametrize(
    "vendor,call,key",
    [("apptrana", "getAuthToken", "access_token"), ("centurylink_ips", "login", "bearerToken")],
)
def test_a_token_that_no_header_can_carry(tmp_path, vendor, call, key, token):
    house, good = two(tmp_path, vendor)
    right = house.hosts["poison.example.com"]
    house.hosts["poison.example.com"] = lambda request, seconds: (
        Reply(200, {}, json.dumps({key: token}).encode())
        if request.url.endswith(call)
        else right(request, seconds)
    )
    states = house.run()
    check_good(house, good, states)
    errors = errors_of_poison(states)
    assert errors and all(
        "a token that no header can carry" in error and token not in error for error in errors
    ), errors


@pytest.mark.parametrize("key", ["ключ", "caf\u0119"])
def test_a_key_that_no_header_can_carry_is_named(tmp_path, key):
    house, good = two(tmp_path, "pingintelligence", access_key=key)
    states = house.run()
    check_good(house, good, states)
    errors = errors_of_poison(states)
    assert errors and all(
        "the header x-abs-ak-ru cannot be sent" in error
        and "check the key" in error
        and key not in error
        for error in errors
    ), errors


CURSORS = [
    {"until": "x"},
    {"until": None},
    {"until": []},
    {"until": 10**18},
    {"until": 10**400},
    {"until": float("inf")},
    {"until": float("nan")},
    {"asked": "x"},
    {"asked": 10**18},
    {"seen": 5},
    {"seen": [[1]], "until": NOON - 600_000},
    {"stuck": 5, "until": NOON - 600_000},
    {"skipped": ["x"], "until": NOON - 600_000},
    {"position": 5},
    {"position": {"head": "x"}},
    {"spool": 5, "segment": "x", "offset": {}},
]


@each_vendor
@pytest.mark.parametrize("cursor", CURSORS, ids=lambda cursor: str(cursor)[:40])
def test_a_mark_that_somebody_set_holds_up_its_unit_alone(tmp_path, vendor, cursor):
    house, good = two(
        tmp_path, vendor, **({} if vendor == "apptrana" else {"syslog": ["udp://127.0.0.1:0"]})
    )
    house.run()
    shipper = house.shipper()
    units = [saved.unit for saved in shipper.checkpoints.all() if saved.unit.input == "poison"]
    for unit in units:
        shipper.checkpoints.save(unit, Mark(cursor))
    shipper.close()
    for _ in range(2):
        states = house.run()
        check_good(house, good, states)
    for name, state in states.items():
        assert state.state == "ok" or (
            state.error
            and "\n" not in state.error
            and (
                "siemtap state show" in state.error
                or "Error" in state.error
                or "Retry" in state.error
            )
        ), (name, state.error)
    assert len([name for name in states if name.startswith("poison/")]) >= len(units) > 0


# A fault of ours


def broken(error, text="s3cret"):
    def breaks(*words, **more):
        raise error(text)

    return breaks


@pytest.mark.parametrize("place", ["units", "collect", "say", "deliver", "save", "tally", "watch"])
@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError, AssertionError, RecursionError, UnicodeError, StopIteration, OSError],
    ids=lambda error: error.__name__,
)
def test_an_exception_that_nobody_expects_is_one_inputs_own(tmp_path, caplog, place, error):
    """Wherever it comes from; its text, which may be a stranger's words or a secret, is shown
    nowhere."""
    house, good = two(tmp_path, "apptrana", "file")
    caplog.set_level(logging.DEBUG, "siemtap")
    shipper = house.shipper()
    running = shipper.inputs["poison"]
    object.__setattr__(running, "wish", copy.copy(running.wish))
    plugin = copy.copy(running.wish.plugin)
    object.__setattr__(running.wish, "plugin", plugin)
    if place in ("units", "collect"):
        object.__setattr__(plugin, place, broken(error))
    elif place == "say":
        running.say = broken(error)
    elif place == "watch":
        watch = shipper.watch
        shipper.watch = lambda running, state: (
            broken(error)() if running.id == "poison" else watch(running, state)
        )
    elif place == "tally":
        shipper.tally.add = broken(error)
    else:
        where, name = (
            (shipper.ready.output.output, "deliver")
            if place == "deliver"
            else (shipper.checkpoints, "save")
        )
        right = getattr(where, name)
        setattr(
            where,
            name,
            lambda unit, *words: broken(error)() if unit.input == "poison" else right(unit, *words),
        )
    done = shipper.run()
    states = {
        str(state.unit): state for running in shipper.inputs.values() for state in running.states()
    }
    assert not done and "s3cret" not in caplog.text + str(
        [state.error for state in states.values()]
    )
    if place != "tally":
        check_good(house, good, states)
        assert place == "watch" or any(
            (error.__name__ in state.error or "RuntimeError" in state.error)
            and state.state == "degraded"
            for name, state in states.items()
            if name.startswith("poison/")
        )
    states = house.run()  # and once it is mended, all is there
    check_good(house, good, states)
    assert all(state.state == "ok" for state in states.values()) and max(house.ids().values()) == 1
    assert {event["event"]["module"] for event in house.events()} == {"apptrana"}


@pytest.mark.parametrize(
    "error", [MemoryError, KeyboardInterrupt, SystemExit], ids=lambda error: error.__name__
)
def test_a_broken_house_ends_the_process(tmp_path, error):
    house, _ = two(tmp_path, "apptrana")
    house.hosts["poison.example.com"] = broken(error)
    with pytest.raises(error):
        house.run()


def test_a_fault_is_tried_again_with_a_growing_wait(tmp_path):
    house, _ = two(tmp_path, "apptrana")
    shipper = Shipper(
        house.config,
        clock=house.clock,
        https=lambda connection: Http(broken(ZeroDivisionError), clock=house.clock),
    )
    running, longest = shipper.inputs["poison"], []
    for attempt in range(1, 12):
        running._failed(running.discovery, Retry("x", after=10**12 if attempt == 11 else 0))
        longest.append(running.discovery.due - shipper.clock.elapsed())
    running.turn()
    assert running.discovery.state == "degraded" and 3_500 < longest[-1] <= 3_600.1
    shipper.close()


# One event that breaks the delivery itself


@pytest.mark.parametrize("number", [1, 2, 7, 300])
@each_output
def test_an_event_that_breaks_the_delivery_is_kept_as_refused(
    tmp_path, monkeypatch, output, number
):
    from siemtap.outputs import file, sqlite

    for module in (file, sqlite):
        right = module.encode
        monkeypatch.setattr(
            module,
            "encode",
            lambda event, right=right: (
                broken(KeyError)() if event.get("message") == "broken" else right(event)
            ),
        )
    house, _ = two(tmp_path, "apptrana", output)
    shipper = house.shipper()
    events = [
        {
            "@timestamp": "2026-03-04T12:00:00.000Z",
            "message": "broken" if place % 3 == 0 else "well",
            "event": {
                "id": f"{place:032x}",
                "dataset": "apptrana.attack",
                "kind": "alert",
                "module": "apptrana",
            },
            "data_stream": {"type": "logs", "dataset": "apptrana.attack"},
        }
        for place in range(number)
    ]
    shipper.ready.output.check = None
    unit = Unit("poison", "apptrana.attack", "")
    if number == 1:
        events = [{**events[0], "message": "broken"}]
    refused = shipper.output(beside=False, in_doubt=True).deliver(unit, events, Mark({"until": 5}))
    broken_ids = {event["event"]["id"] for event in events if event["message"] == "broken"}
    assert (
        {event["event"]["id"] for event, _ in refused}
        == broken_ids
        == {row.id for row in shipper.rejects.all()}
    )
    assert {row.reason for row in shipper.rejects.all()} == {
        "it cannot be delivered: KeyError"
    } and shipper.counts.totals["rejected"] == len(broken_ids)
    assert shipper.checkpoints.load(unit).cursor == {"until": 5}
    shipper.close()
    monkeypatch.undo()
    assert {event["event"]["id"] for event in house.events()} - broken_ids == {
        event["event"]["id"] for event in events
    } - broken_ids


class Picky:
    """Breaks on `poison`, refuses `refused`, takes the rest."""

    together = False

    def __init__(self):
        self.taken, self.marks = [], []

    def deliver(self, unit, events, mark):
        ids = [event["event"]["id"] for event in events]
        if any(id.startswith("poison") for id in ids):
            raise ValueError
        self.taken += ids
        self.marks += [mark] if mark else []
        return [(event, "400") for event in events if event["event"]["id"] == "refused"]


@pytest.fixture
def picky(tmp_path):
    database, output, told = Database(tmp_path / "siemtap.db"), Picky(), []
    rejects = Rejects(database)
    checked = Checked(
        output,
        lambda event: "odd" if event["event"]["id"].startswith("odd") else None,
        rejects,
        told.append,
    )
    contained = Contained(checked, rejects, told.append)

    def deliver(*ids):
        return contained.deliver(
            Unit("it", "acme.event"),
            [
                {
                    "@timestamp": "2026-03-04T12:00:00.000Z",
                    "event": {"id": id, "dataset": "acme.event", "kind": "alert"},
                }
                for id in ids
            ],
            Mark({"until": 5}),
        )

    yield deliver, output, rejects, told
    database.close()


GOOD = [f"good{number}" for number in range(13)]


@pytest.mark.parametrize(
    "ids",
    [
        ["odd", "refused", *GOOD, "poison"],
        ["odd0", "odd1", "poison", "good"],
        [f"poison{number}" for number in range(8)] + GOOD,
        ["poison"],
        GOOD,
    ],
    ids=len,
)
def test_what_is_refused_is_counted_once(picky, ids):
    """However often a part is tried again; and one that is taken, behind however many, tells
    that the output works."""
    deliver, output, rejects, told = picky
    refused = sorted(event["event"]["id"] for event, _ in deliver(*ids))
    assert (
        refused
        == sorted(id for id in ids if not id.startswith("good"))
        == sorted(row.id for row in rejects.all())
    )
    assert sum(told) == len(refused) and output.marks == [Mark({"until": 5})]
    assert sorted(id for id in output.taken if id != "refused") == sorted(
        id for id in ids if id.startswith("good")
    )


@pytest.mark.parametrize(
    "ids",
    [
        ["poison0", "poison1"],
        ["odd", "poison0", "poison1"],
        [f"poison{number}" for number in range(40)],
    ],
    ids=len,
)
def test_a_batch_of_nothing_but_poison_passes_in_the_end(picky, ids):
    """The output may be broken: so it is tried again first, and nothing is counted or marked
    meanwhile."""
    deliver, output, rejects, told = picky
    for _ in range(2):
        for _attempt in range(4):
            with pytest.raises(ValueError):
                deliver(*ids)
            deliver()  # an empty batch is no sign of an output that works
        assert sum(told) == 0 and all(mark.cursor == {"until": 5} for mark in output.marks)
        deliver("good")  # but this is
    for _ in range(4):
        with pytest.raises(ValueError):
            deliver(*ids)
    assert (
        sorted(event["event"]["id"] for event, _ in deliver(*ids))
        == sorted(ids)
        == sorted(row.id for row in rejects.all())
    )
    assert sum(told) == len(ids)


def test_an_output_that_breaks_on_everything_keeps_the_cursor(tmp_path, monkeypatch):
    from siemtap.outputs import sqlite

    monkeypatch.setattr(sqlite, "encode", broken(TypeError))
    house, _ = two(tmp_path, "apptrana")
    states = house.run()
    assert any(
        state.state == "degraded" and "TypeError" in state.error for state in states.values()
    )
    monkeypatch.undo()
    states = house.run()
    assert all(state.state == "ok" for state in states.values()) and len(house.ids()) > 10
