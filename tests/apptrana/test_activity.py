"""The audit log, read in pages, and the list of websites."""

import json

import pytest

from siemtap.core.errors import ConfigError, Malformed
from siemtap.core.windows import MINUTE
from siemtap.edge.client.http import Http
from siemtap.testing.world import NOON

from .simulated_input import simulated_input, vendor


@pytest.mark.parametrize("unit", ["records", "pages"])
@pytest.mark.parametrize("page", [1, 2, 5, 10_000])
def test_audit_log_is_read_in_pages(unit, page):
    world = simulated_input(
        settings={"datasets": "activity", "activity_offset_unit": unit, "activity_page": page},
        activity_unit=unit,
    ).cycles(4)
    ids = world.output.ids()
    assert max(ids.values()) == 1 and 40 <= len(ids) <= 50
    event = world.output.kept[0]
    assert (
        event["event"]["dataset"] == "apptrana.activity"
        and event["user"]["name"] == "operator@example.com"
        and event["message"].endswith("disabled")
    )


@pytest.mark.parametrize("edges", ["[]", "[)", "(]", "()"])
def test_audit_log_is_complete_whether_or_not_range_ends_are_included(edges):
    world = simulated_input(settings={"datasets": "activity"}, edges=edges).cycles(5)
    minutes = sorted(event["@timestamp"] for event in world.output.kept)
    assert len(minutes) == len(set(minutes)) >= 40
    assert all(
        millis(after) - millis(before) == MINUTE for before, after in zip(minutes, minutes[1:])
    )


def millis(timestamp):
    from siemtap.core.convert import millis_of

    return millis_of(timestamp)


def test_audit_log_page_that_repeats_forever_is_an_error():
    with pytest.raises(Malformed, match="activity_offset_unit"):
        simulated_input(
            settings={"datasets": "activity", "activity_page": 2}, activity_repeat=True
        ).cycle(attempts=2)


def test_audit_log_that_is_null_has_no_events():
    assert (
        simulated_input(settings={"datasets": "activity"}, activity_null=True).cycles(1).output.kept
        == []
    )


def test_simulator_rejects_audit_log_times_with_seconds():
    from siemtap.edge.client.messages import Request

    simulated = vendor()
    token = json.loads(
        simulated.answer(
            Http(lambda *_: None).form(
                "https://x/siem/v1/getAuthToken",
                {
                    "client_id": "demo",
                    "client_secret": "demo-secret",
                    "grant_type": "client_credentials",
                },
            ),
            NOON,
        ).body
    )
    body = json.dumps(
        {
            "startDate": "2026-03-04T10:00:30Z",
            "endDate": "2026-03-04T10:05Z",
            "offSet": 0,
            "maxResult": 5,
        }
    ).encode()
    request = Request(
        "POST",
        "https://x/siem/v1/getActivity",
        {"Content-Type": "application/json", "Authorization": f"Bearer {token['access_token']}"},
        body,
    )
    assert simulated.answer(request, NOON).status == 400
    simulated.knobs.activity_strict = False
    assert simulated.answer(request, NOON).status == 200


@pytest.mark.parametrize("shape", ["objects", "nested"])
def test_websites_are_discovered_in_both_response_shapes(shape):
    world = simulated_input(settings={"discover_websites": "true"}, sites_as=shape)
    assert [unit.scope for unit in world.units()] == ["shop.example.com", "www.example.com"]


@pytest.mark.parametrize("shape,error", [("empty", Malformed), ("missing", ConfigError)])
def test_website_list_that_is_empty_or_missing_is_an_error(shape, error):
    with pytest.raises(error):
        simulated_input(settings={"discover_websites": "true"}, sites_as=shape).units()


def test_unknown_website_has_no_events_or_is_an_error():
    assert simulated_input(settings={"websites": "nobody.example.com"}).cycles(1).output.kept == []
    with pytest.raises(ConfigError, match="no such website"):
        simulated_input(settings={"websites": "nobody.example.com"}, unknown_site="400").cycle(
            attempts=1
        )


def test_time_before_siem_was_enabled_is_empty_without_error():
    world = simulated_input(enabled_days=0.01).cycles(2)
    assert (
        world.errors == []
        and min(event["@timestamp"] for event in world.output.kept) >= "2026-03-04T11:45"
    )
