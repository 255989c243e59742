"""The management API: login, install and uninstall. Every knob of the simulator is set by a test
in this folder."""

import json

import pytest

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.windows import DAY
from siemtap.testing.simulation import Fault

from .simulated_input import OURS, WEB, results, run_command, simulated_input


def quote_requests(world, status, shape):
    """Let the vendor reject each request with an error that quotes it. Return the list of issued
    tokens."""
    answer, sent = world.client.http.send, []

    def send(request, seconds):
        reply = answer(request, seconds)
        if "login" in request.url and reply.status == 200:
            sent.append(json.loads(reply.body)["bearerToken"])
        quoted = f"cannot read {dict(request.headers)} {request.body.decode()}"
        return (
            reply
            if "login" in request.url and reply.status == 200
            else reply._replace(status=status, body=shape(quoted))
        )

    world.client.http.send = send
    return sent


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500])
@pytest.mark.parametrize(
    "shape",
    [
        lambda text: json.dumps({"message": text + " exist"}).encode(),
        lambda text: json.dumps({"modelState": {"a": [text]}}).encode(),
        lambda text: json.dumps([{"message": text}]).encode(),
        str.encode,
    ],
    ids=["message", "modelState", "list", "text"],
)
def test_error_that_quotes_the_request_shows_neither_token_nor_url(status, shape):
    world = simulated_input()
    sent = quote_requests(world, status, shape)
    outcomes = [*run_command(world, "notifications list"), *run_command(world, "install")]
    for work in (
        lambda: world.client.set_destinations(WEB, [{"typeCode": "WEBHOOK", "url": OURS}]),
    ):
        with pytest.raises((AuthError, ConfigError, Retry)) as caught:
            work()
        outcomes.append(caught.value)
    text = " ".join(map(str, outcomes))
    assert sent and not any(token in text for token in sent) and "3f9c1d7ab2e04c58" not in text
    assert "cannot read" in text


def test_error_that_quotes_the_login_shows_no_password():
    world = simulated_input(settings={"password": "s3cret-and-wrong"})
    quote_requests(world, 400, lambda text: json.dumps({"message": text}).encode())
    (outcome,) = run_command(world, "install")
    assert "cannot read" in outcome.message and "s3cret" not in outcome.message


# Login


def test_token_is_reused_until_it_expires_or_is_rejected():
    world = simulated_input()
    run_command(world, "notifications list", WEB, "VA1ACMEWEB02")
    assert world.simulator.counts == {"login": 1, "notifications": 2}
    world.time.now += 9 * DAY
    run_command(world, "notifications list")
    assert world.simulator.counts["login"] == 1
    world.time.now += 2 * DAY
    run_command(world, "notifications list")
    assert world.simulator.counts["login"] == 2
    world.simulator.revoke()
    assert (
        results(run_command(world, "notifications list")) == [(WEB, True, "none set")]
        and world.simulator.counts["login"] == 3
    )


def test_401_requests_one_new_token():
    world = simulated_input(token_life=0.0)
    (outcome,) = run_command(world, "install")
    assert (
        not outcome.ok
        and "401: no bearer token" in outcome.message
        and world.simulator.counts == {"login": 2, "app": 2}
    )


@pytest.mark.parametrize("wrong", [400, 415])
def test_400_at_login_is_reported_as_wrong_credentials(wrong):
    world = simulated_input(settings={"password": "s3cret-and-wrong"}, wrong_content_type=wrong)
    (outcome,) = run_command(world, "install")
    assert (
        not outcome.ok
        and "user name or password not recognised; check `username` and `password`"
        in outcome.message
        and "s3cret" not in outcome.message
    )
    with pytest.raises(AuthError):
        world.client.bearer()


def test_without_a_login_or_an_account_no_request_is_sent():
    world = simulated_input(settings={"username": "", "servers": []})
    assert (
        "needs `username` and `password`" in run_command(world, "install")[0].message
        and world.simulator.counts == {}
    )
    world = simulated_input(settings={"account": "", "servers": []})
    assert "needs the `account`" in run_command(world, "notifications list")[0].message
    with pytest.raises(ConfigError, match="`servers` needs the `account`"):
        simulated_input(settings={"account": ""})


# Install, uninstall


@pytest.mark.parametrize("again", [204, 409])
def test_install_and_uninstall_are_idempotent(again):
    world = simulated_input(second_install=again)
    assert results(run_command(world, "install")) == [(WEB, True, "installed")]
    assert run_command(world, "install")[0].ok and (
        again == 204 or run_command(world, "install")[0].message == "already installed"
    )
    assert world.simulator.installed == {WEB} and json.loads(world.simulator.requests[-1].body) == {
        "hostName": WEB,
        "accountAlias": "ACME",
    }
    assert (
        all(run_command(world, "uninstall")[0].ok for _ in range(2))
        and world.simulator.installed == set()
    )
    assert world.simulator.requests[-1].method == "DELETE" and world.simulator.requests[
        -1
    ].url.endswith("/ips/api/app/")


@pytest.mark.parametrize(
    "style", ["message", "modelState", "error", "list", "text", "html", "empty"]
)
@pytest.mark.parametrize("status", [400, 404])
def test_rejected_host_does_not_stop_others_and_the_vendors_message_is_shown(style, status):
    world = simulated_input(error_style=style, unknown_server=status)
    first, wrong, last = run_command(world, "install", WEB, "NOWHERE", "VA1ACMEDB01")
    assert first.ok and last.ok and not wrong.ok and f"app/: {status}: " in wrong.message
    assert ("server NOWHERE does not exist" in wrong.message) is (style not in ("html", "empty"))


@pytest.mark.parametrize("status", [403, 404])
def test_host_of_another_account_is_rejected(status):
    world = simulated_input(settings={"account": "OTHER"}, foreign_account=status)
    (outcome,) = run_command(world, "install")
    assert not outcome.ok and f"{status}: no rights on account OTHER" in outcome.message


@pytest.mark.parametrize(
    "fault, message",
    [
        (Fault("app", 1, 503), "503"),
        (Fault("app", 1, 500, "html"), "500"),
        (Fault("app", 1, 200, "html"), "HTML where JSON was expected"),
        (Fault("app", 1, 302, location="/login"), "a redirect, which is not followed"),
        (Fault("app", 1, cut=0), "broke off"),
        (Fault("login", 1, 200, "empty"), "not JSON"),
        (Fault("login", 1, 200, "other"), "no bearerToken"),
        (Fault("login", 1, 503), "503"),
    ],
)
def test_fault_is_reported_and_affects_one_host(fault, message):
    world = simulated_input([fault])
    first, second = run_command(world, "install", WEB, "VA1ACMEDB01")
    assert not first.ok and message in first.message and second.ok
