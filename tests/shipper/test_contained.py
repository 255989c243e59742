"""Odd payloads, answers and headers do not affect other inputs: nothing accepted is lost, and
the same data at the next start does no harm."""

import json
import random
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shipper import containment
from shipper.containment import (
    HEADERS,
    ODD,
    SURROGATE,
    Installation,
    check_good,
    each_output,
    each_vendor,
    errors_of_poison,
    mutated,
    two_inputs,
    values,
)

from siemtap.core.model import Mark, Payload, Unit
from siemtap.edge.client.messages import Reply
from siemtap.shipper.status.server import Page
from siemtap.testing.cases import all_folders
from siemtap.testing.world import NOON

pytestmark = pytest.mark.slow

# fixtures
no_waits_and_no_log = containment.no_waits_and_no_log


# Answers


@each_vendor
@each_output
@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    odd=st.lists(values, min_size=1, max_size=6),
    share=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_odd_answer_of_a_vendor_does_not_affect_other_inputs(vendor, output, seed, odd, share):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        installation, good = two_inputs(folder, vendor, output)
        original = installation.hosts["poison.example.com"]

        def send_odd(request, seconds):
            reply = original(request, seconds)
            if rng.random() > share:
                return reply
            headers = {**reply.headers, **rng.choice(HEADERS)}
            if rng.random() < 0.2:
                return Reply(
                    rng.choice([200, 200, 204, 302, 400, 401, 404, 406, 429, 500, 999]),
                    headers,
                    rng.choice(
                        [
                            b"",
                            b"\xff",
                            b"[" * 2_000,
                            b"null",
                            json.dumps(rng.choice(odd)).encode(),
                            b"<html>",
                        ]
                    ),
                )
            try:
                body = json.dumps(
                    mutated(json.loads(reply.body), rng, rng.choice([*odd, *ODD]))
                ).encode()
            except ValueError:
                body = reply.body
            return Reply(reply.status, headers, body)

        installation.hosts["poison.example.com"] = send_odd
        for _ in range(2):  # the second run starts with the checkpoints of the first
            check_good(installation, good, installation.run())
        installation.hosts["poison.example.com"] = original
        states = installation.run()
        check_good(installation, good, states)
        assert all(state.state == "ok" for state in states.values()), [
            state.error for state in states.values()
        ]
        if output == "file":
            assert max(installation.ids().values()) == 1


# Payloads

CASES = [
    (json.loads((folder / "given.json").read_text()), path.read_bytes(), folder.parents[1].name)
    for folder in all_folders()
    for path in folder.glob("payload.*")
]


def payload_of(rng, odd, vendor, number):
    """Return the payload of a case with a change in it, or random bytes."""
    case_input, body, _ = rng.choice([case for case in CASES if case[2] == vendor] or CASES)
    kind = rng.random()
    if kind < 0.5:
        try:
            body = json.dumps(mutated(json.loads(body), rng, rng.choice([*odd, *ODD]))).encode(
                "utf-8", "surrogatepass"
            )
        except ValueError:
            place = rng.randrange(len(body) + 1)
            body = (
                body[:place]
                + str(rng.choice(ODD)).encode("utf-8", "surrogatepass")
                + body[place + rng.randrange(9) :]
            )
    elif kind < 0.7:
        body = json.dumps(rng.choice(odd)).encode()
    elif kind < 0.9:
        body = rng.randbytes(rng.randrange(1, 200))
    headers = rng.choice(
        [
            case_input.get("headers", {}),
            {"content-type": f"x{SURROGATE}"},
            {"content-encoding": "gzip"},
            {"content-type": "application/x-www-form-urlencoded"},
        ]
    )
    return Payload(
        body,
        rng.choice(["webhook", "udp", "tcp", "replay", case_input.get("channel", "udp")]),
        rng.choice(["", "ACME/web01", "%ff/%00", f"{SURROGATE}/{SURROGATE}", "a/b/c"]),
        "192.0.2.1",
        NOON - number,
        headers,
    )


@pytest.mark.parametrize("vendor", ["centurylink_ips", "pingintelligence"])
@each_output
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), odd=st.lists(values, min_size=1, max_size=6))
def test_odd_payload_becomes_an_event_and_does_not_affect_other_inputs(vendor, output, seed, odd):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        installation, good = two_inputs(folder, vendor, output, syslog=["udp://127.0.0.1:0"])
        payloads = [payload_of(rng, odd, vendor, number) for number in range(30)]
        markers = [
            Payload(f"<13>line {place} of {seed}".encode(), "udp", "", "192.0.2.1", NOON)
            for place in range(2)
        ]
        reference, _ = two_inputs(f"{folder}/alone", vendor, output, syslog=["udp://127.0.0.1:0"])
        reference.run()
        pulled = set(reference.ids())
        reference.run(markers)
        expected_ids = set(reference.ids()) - pulled
        assert len(expected_ids) == 2
        numbers = []
        for _ in range(2):  # the same payloads a second time
            states = installation.run([markers[0], *payloads, markers[1]])
            check_good(installation, good, states)
            assert installation.waiting == [0] and all(
                state.state == "ok" for name, state in states.items() if name.endswith("/received")
            ), [state.error for state in states.values()]
            events = installation.events()
            assert expected_ids <= {event["event"]["id"] for event in events}
            numbers.append(len(events))
        assert numbers[0] == numbers[1], "equal payloads are equal events"
        shipper = installation.shipper()
        assert shipper.tally.top("dataset") or output == "file"
        assert Page(shipper).front()[0] == 200 and Page(shipper).metrics()[0] == 200
        shipper.close()


def test_odd_years_and_lone_surrogates(tmp_path):
    """Years with three and with five digits; a lone surrogate in every text."""
    installation = Installation(
        tmp_path, [{"type": "centurylink_ips", "syslog": ["udp://127.0.0.1:0"]}]
    )
    base = {
        "hostName": "web01",
        "reason": "rule",
        "action": "Prevent",
        "sourceIP": "192.0.2.7",
        "severity": "High",
    }
    records = [
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
    records += [
        {**base, "driverTime": 1_772_618_400_000 + number, name: f"a{SURROGATE}"}
        for number, name in enumerate((*base, SURROGATE))
    ]
    states = installation.run(
        [
            Payload(json.dumps(record).encode(), "webhook", "ACME", "192.0.2.1", NOON)
            for record in records
        ]
    )
    assert all(state.state == "ok" for state in states.values()) and len(
        installation.events()
    ) == len(records)
    assert {"0999-03-05T03:39:12.000Z", "0001-03-05T03:39:12.000Z"} <= {
        event["@timestamp"] for event in installation.events()
    }


# Scopes, tokens, keys, checkpoints


def test_website_with_a_lone_surrogate_has_its_own_checkpoint(tmp_path):
    installation, good = two_inputs(tmp_path, "apptrana")
    original = installation.hosts["poison.example.com"]
    sites = [f"shop{SURROGATE}.example.com", "shop\udfff.example.com", "shop.example.com"]
    installation.hosts["poison.example.com"] = lambda request, seconds: (
        Reply(200, {}, json.dumps(sites).encode())
        if request.url.endswith("get-websites")
        else original(request, seconds)
    )
    for _ in range(2):
        states = installation.run()
        check_good(installation, good, states)
    assert {name for name in states if "attack/" in name} == {
        f"poison/apptrana.attack/{site}" for site in sites
    }
    shipper = installation.shipper()
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


@pytest.mark.parametrize("token", ["ключ", "a\nb", SURROGATE, "\u2028", "a\0b"])
@pytest.mark.parametrize(
    "vendor,call,key",
    [("apptrana", "getAuthToken", "access_token"), ("centurylink_ips", "login", "bearerToken")],
)
def test_token_that_is_no_valid_header_value(tmp_path, vendor, call, key, token):
    installation, good = two_inputs(tmp_path, vendor)
    original = installation.hosts["poison.example.com"]
    installation.hosts["poison.example.com"] = lambda request, seconds: (
        Reply(200, {}, json.dumps({key: token}).encode())
        if request.url.endswith(call)
        else original(request, seconds)
    )
    states = installation.run()
    check_good(installation, good, states)
    errors = errors_of_poison(states)
    assert errors and all(
        "a token that cannot be sent in a header" in error and token not in error
        for error in errors
    ), errors


@pytest.mark.parametrize("key", ["ключ", "caf\u0119"])
def test_key_that_is_no_valid_header_value_is_reported(tmp_path, key):
    installation, good = two_inputs(tmp_path, "pingintelligence", access_key=key)
    states = installation.run()
    check_good(installation, good, states)
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
def test_damaged_checkpoint_stops_only_its_unit(tmp_path, vendor, cursor):
    installation, good = two_inputs(
        tmp_path, vendor, **({} if vendor == "apptrana" else {"syslog": ["udp://127.0.0.1:0"]})
    )
    installation.run()
    shipper = installation.shipper()
    units = [saved.unit for saved in shipper.checkpoints.all() if saved.unit.input == "poison"]
    for unit in units:
        shipper.checkpoints.save(unit, Mark(cursor))
    shipper.close()
    for _ in range(2):
        states = installation.run()
        check_good(installation, good, states)
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
