"""Every class of Deep Security's events, in every form: told apart, and none lost."""

import pytest
from centurylink_ips import classes, simulator_classes

from siemtap.testing.world import NOON

from .test_forms import events_of

MESSAGES = 10_000


@pytest.mark.slow
def test_no_two_events_of_any_class_and_form_share_an_id():
    sent = [simulator_classes.message(number, NOON - number).text for number in range(MESSAGES)]
    ids = [event["event"]["id"] for text in sent for event in events_of(text)]
    assert len(ids) == len(set(ids)) == MESSAGES
    assert [event["event"]["id"] for text in sent[:300] for event in events_of(text)] == ids[:300]


@pytest.mark.parametrize("form", simulator_classes.FORMS)
def test_each_class_is_told_in_each_form(form):
    """A line leaves nothing unread; of JSON, `extra` has what no field is made for."""
    for number in range(300):
        if simulator_classes.FORMS[number // len(simulator_classes.CLASSES) % 3] != form:
            continue
        wanted = simulator_classes.CLASSES[number % len(simulator_classes.CLASSES)]
        (event,) = events_of(simulator_classes.message(number, NOON).text)
        assert event["centurylink_ips"]["kind"] == wanted
        assert event["event"]["kind"] == classes.CLASSES[wanted][0]
        assert "extra" not in event["centurylink_ips"] or form == "json"


def test_the_same_number_means_something_else_of_an_agent_and_of_a_manager():
    assert classes.kind("Deep Security Agent", "115") == "firewall"
    for product in (
        "Deep Security Manager",
        "Deep Security Manager10",
        "Workload Security Manager",
    ):
        assert classes.kind(product, "115") == "system"
        assert classes.kind(product, "600") == "authentication"
    assert classes.kind("Deep Security Agent", "x", "Intrusion Prevention") == classes.IPS
    assert classes.kind("", "", "IntrusionPreventionEvent") == classes.IPS
    assert classes.kind("Deep Security Agent", "x") == classes.kind("", "9" * 12) == "other"


@pytest.mark.parametrize(
    ("name", "id", "action", "result", "wanted"),
    [
        ("intrusion_prevention", "1", "Detect Only: Reset", None, ["allowed"]),
        ("intrusion_prevention", "1", "IDS:Reset", None, ["allowed"]),
        ("intrusion_prevention", "1", "Insert", None, ["info"]),
        ("firewall", "21", "Deny", None, ["denied"]),
        ("firewall", "20", "Force Allow", None, ["allowed"]),
        ("anti_malware", "4000000", "Pass", "Passed", ["allowed"]),
        ("anti_malware", "4000000", "Clean", "Deleted", ["denied"]),
        ("anti_malware", "4000000", "Delete", "Delete Failed", ["allowed"]),
        ("anti_malware", "4000000", "Deny Access", None, ["denied"]),
        ("anti_malware", "4000000", "DenyAccess", "", ["denied"]),
        ("anti_malware", "4000000", "Unspecified", None, ["info"]),
        ("application_control", "6001200", None, None, ["allowed"]),
        ("application_control", "6002100", None, None, ["denied"]),
        ("application_control", "6001200", "blocked", None, ["denied"]),
        ("device_control", "7001200", None, None, ["denied"]),
        ("web_reputation", "5000001", None, None, ["allowed"]),
        ("integrity", "30", "renamed", None, ["change"]),
        ("other", "9", "Reset", None, ["info"]),
    ],
)
def test_what_became_of_it_decides_the_type(name, id, action, result, wanted):
    assert classes.types(name, id, action, result, None, None) == wanted
