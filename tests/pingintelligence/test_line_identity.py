"""Ids of received lines of attack.log."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pingintelligence import PLUGIN, simulator
from pingintelligence.attack_log import join_lines, parse_log_line

from siemtap.core.model import Payload
from siemtap.testing.cases import batches_of

from .planted import ELEMENT, FIELD, events, settings_of

VALUES = st.one_of(st.text(max_size=8), st.integers(-10, 10**12), st.none(), st.booleans())


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=4),
    st.dictionaries(st.sampled_from(sorted(ELEMENT)), VALUES, max_size=4),
    st.randoms(),
)
def test_lines_that_differ_in_any_key_have_different_ids(more, changed, rng):
    element = {**ELEMENT, **more}
    changed_element = {**element, **changed}
    event, reordered, changed_event = (
        events(
            parse_log_line("pi-attack-info-" + json.dumps(fields), settings_of()),
            PLUGIN.datasets[0],
        )[0]
        for fields in (
            element,
            dict(rng.sample(list(element.items()), len(element))),
            changed_element,
        )
    )
    assert event == reordered, "the order of keys changes nothing"
    assert (event["event"]["id"] == changed_event["event"]["id"]) == (
        json.dumps(element, sort_keys=True) == json.dumps(changed_element, sort_keys=True)
    )


def test_object_on_several_lines_is_one_attack():
    """As it is printed on the vendor's page. A line that was cut takes no other with it."""
    lines = [
        json.dumps(ELEMENT, indent=1),
        json.dumps({**ELEMENT, "attack_id": "5"}).replace(", ", "\n , "),
        'pi-attack-info-{"attack_id":"4",\npi-attack-info-' + json.dumps(ELEMENT),
    ]
    events_ = events(
        [
            record
            for line in join_lines("\n".join(lines).split("\n"))
            for record in parse_log_line(line, settings_of())
        ],
        PLUGIN.datasets[0],
    )
    kinds = [event["event"]["kind"] for event in events_]
    assert kinds == ["alert", "alert", "pipeline_error", "alert"]
    assert events_[0]["event"]["id"] == events_[3]["event"]["id"] != events_[1]["event"]["id"]
    assert list(join_lines(['{"a":"b', 'c"}'])) == ['{"a":"b', 'c"}']
    assert next(join_lines(["{", *[","] * 200])) == "{ " + " ".join("," * 63)


@pytest.mark.parametrize(
    "kind, value",
    [
        ("TOKEN", "EXAMPLE-TOKEN-IN-CLEAR"),
        ("COOKIE", "AB" * 32),
        ("API_KEY", "0123456789abcdef" * 4),
        ("IP", "192.0.2.7"),
        ("Fingerprint", "x"),
    ],
)
def test_id_does_not_depend_on_settings_or_transport(kind, value):
    """64 hex digits are a hash or a secret, depending on the role."""
    element = {**ELEMENT, "attack_identifier_type": kind, "attack_value": value}
    line_of_page = json.dumps(element, separators=(",", ":"))
    ids = {
        events(parse_log_line(before + line, settings_of(**changed)), PLUGIN.datasets[0])[0][
            "event"
        ]["id"]
        for line in (line_of_page, json.dumps(element))
        for before in ("", "pi-attack-info-", "Mar  4 10:02:13 abs01 ")
        for changed in ({}, {"hash_identifiers": False}, {"role": "admin"}, {"role": "restricted"})
    }
    payload = Payload(
        f"<134>1 2026-03-04T10:02:13.000Z abs01 APIIntelligence - Audit [mdc@18060] {line_of_page}".encode(),
        "tcp",
        received=1772618533417,
    )
    ids |= {
        event["event"]["id"]
        for batch in batches_of(PLUGIN, settings_of(), payload)
        for event in events(batch.records, batch.dataset)
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({**ELEMENT, "protocol": {"a": 1}}),
        json.dumps({**ELEMENT, "@who": 5, "@when": {}, "@api": [1]}),
        FIELD.replace('"4"', "NaN"),
        json.dumps({**ELEMENT, "ddos_info": {"a": 1}, "access_time": 7}),
        json.dumps({**ELEMENT, "attack_key": True, "attack_id": 10**30}),
    ],
)
def test_any_line_becomes_an_event(line):
    assert len(events(parse_log_line(line, settings_of()), PLUGIN.datasets[0])) == 1


def test_ids_equal_those_of_the_simulators_ledger():
    simulated = simulator.Simulator(simulator.Knobs(rate=0.02))
    sent = list(simulated.pushed(1772618533417, 1772618533417 + 3_600_000))
    ids = [
        event["event"]["id"]
        for message in sent
        for batch in batches_of(PLUGIN, settings_of(), Payload(message.body, "tcp"))
        for event in events(batch.records, batch.dataset)
    ]
    assert len(sent) > 20 and ids == [id for message in sent for id in message.ids]
