"""The token: three authentication methods, its age, and its rejection."""

import pytest

from apptrana import PLUGIN
from apptrana.plugin import Client
from siemtap.core.errors import AuthError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.windows import DAY, HOUR
from siemtap.edge.client.http import Http
from siemtap.edge.clock import Clock
from siemtap.testing.simulation import in_memory
from siemtap.testing.world import NOON, Time, World

from .simulated_input import ATTACKS, check, simulated_input, vendor


@pytest.mark.slow
@pytest.mark.parametrize("auth", ["client_credentials", "basic", "code"])
@pytest.mark.parametrize("strict", [True, False])
def test_each_authentication_method_gets_a_token(auth, strict):
    check(
        simulated_input(
            settings={"auth": auth}, auth=auth if strict else "any", code_extra=strict
        ).cycles(2)
    )


@pytest.mark.parametrize(
    "auth,other",
    [("client_credentials", "basic"), ("basic", "code"), ("code", "client_credentials")],
)
def test_wrong_authentication_method_is_an_error_that_lists_all(auth, other):
    world = simulated_input(settings={"auth": auth}, auth=other)
    with pytest.raises(
        AuthError, match="check client_id/client_secret.*client_credentials, basic, code"
    ):
        world.cycle(attempts=1)
    assert world.simulator.counts["getAuthToken"] == 1  # a wrong key is sent only once


@pytest.mark.slow
def test_authorization_code_in_another_parameter_or_in_the_settings():
    check(
        simulated_input(
            settings={"auth": "code", "code_parameter": "auth"},
            code_parameter="auth",
            code_extra=True,
        ).cycles(1)
    )
    # the redirect has only this parameter
    check(simulated_input(settings={"auth": "code"}, code_parameter="authorisation").cycles(1))
    with pytest.raises(AuthError, match="contains no code"):
        simulated_input(settings={"auth": "code"}, code_silent=True).cycle(attempts=1)
    world = simulated_input(
        settings={"auth": "code", "code": "stale"}, code_once=False, code_life=1.0
    )
    with pytest.raises(AuthError):
        world.cycle(attempts=1)
    world.simulator.codes["fresh"] = ("demo", NOON + DAY)
    check(input_with(world.simulator, settings={"auth": "code", "code": "fresh"}).cycles(1))


def input_with(simulated, settings):
    return World(PLUGIN, simulated, **{"lookback": "40m", **settings})


@pytest.mark.slow
def test_authorization_code_is_requested_again_when_the_token_expires():
    world = simulated_input(settings={"auth": "code"}, token_life=3600.0).cycles(1)
    world.time.now += 2 * HOUR
    check(world.cycles(1))
    assert world.simulator.counts["authorize"] >= 2


@pytest.mark.parametrize("allow_list", ["403_json", "401_json", "403_html"])
def test_address_not_on_the_allow_list_is_reported(allow_list):
    world = simulated_input(allow_list=allow_list)
    with pytest.raises((AuthError, Retry), match="allow-list"):
        world.cycle(attempts=1)


def test_401_requests_one_new_token():
    world = simulated_input(refuse_always=True)
    with pytest.raises(AuthError):
        world.cycle(attempts=1)
    assert (
        world.simulator.counts == {"getAuthToken": 2, "getAttackInfo": 2}
        or world.simulator.counts["getAttackInfo"] <= 2 * PLUGIN.settings.concurrency
    )


def test_same_token_again_after_401_causes_no_loop():
    world = simulated_input(stubborn=True, revoke_every=3)
    with pytest.raises(AuthError):
        world.cycle(attempts=1)
    assert world.simulator.counts["getAuthToken"] < 12


def test_token_near_its_expiry_is_not_requested_in_a_loop():
    """The service returns the same token, with little time left, until it expires."""
    world = simulated_input(settings={"token_margin": "300s"}, token_life=310.0)
    world.cycles(30, apart=10_000)
    assert world.simulator.counts["getAuthToken"] <= 12


@pytest.mark.slow
def test_token_is_renewed_by_expires_in():
    world = simulated_input(token_life=3600.0)
    world.cycles(50)
    assert world.simulator.counts["getAuthToken"] == 1
    world.cycles(12)
    # renewed at half of the remaining lifetime, because the service returns the same token
    assert 1 < world.simulator.counts["getAuthToken"] <= 6


def test_requests_send_the_header_authorization_bearer():
    """The page of the vendor spells it `Authorisation`, which the simulator rejects."""
    world = simulated_input()
    world.cycle()
    sent = next(
        request for request in world.simulator.requests if request.url.endswith("getAttackInfo")
    )
    assert (
        sent.headers["Authorization"].startswith("Bearer ") and "Authorisation" not in sent.headers
    )
    for headers in (
        {"Authorisation": sent.headers["Authorization"]},
        {"Authorization": "Basic x"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer 0"},
    ):
        assert (
            world.simulator.answer(
                sent._replace(headers={"Content-Type": "application/json", **headers}),
                world.time.now,
            ).status
            == 401
        )


@pytest.mark.slow
def test_threads_share_one_token_request():
    """A backfill that starts without a token requests one, once."""
    simulated = vendor(one_token_call=True)
    settings = fill_in(
        PLUGIN.settings,
        {**simulated.settings("https://vendor.example.com"), "concurrency": 16, "lookback": "1d"},
    )
    time = Time()
    client = Client(
        settings, Http(in_memory(simulated, time.clock), clock=Clock(lambda: NOON, lambda: 0.0))
    )
    assert sum(1 for _ in PLUGIN.collect(client, ATTACKS, {}, NOON)) > 200
    assert simulated.counts["getAuthToken"] == 1


def test_token_renewed_by_another_thread_is_not_renewed_again():
    world = simulated_input(token_fresh=True)
    first = world.client.bearer()
    second = world.client.bearer(refused=first)
    assert (
        world.client.bearer(refused=first) == second != first
        and world.simulator.counts["getAuthToken"] == 2
    )
