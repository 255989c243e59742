"""What a login answers: a token and its lifetime, or neither."""

from types import SimpleNamespace

import pytest

from apptrana import PLUGIN
from siemtap.core.convert import rfc3339
from siemtap.core.errors import ConfigError, Malformed, Retry, SiemtapError
from siemtap.core.windows import HOUR, MINUTE, SECOND
from siemtap.edge.client.bearer import Bearer, lifetime_of
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Request
from siemtap.edge.client.replies import member_of
from siemtap.edge.client.walk import Walk
from siemtap.edge.clock import Clock

LOGIN = Request("POST", "https://api.example.com/login")
NOW = 1_790_000_000_000


@pytest.mark.parametrize("seconds", [3600, "3600", 3600.0, " 3600 "])
def test_a_lifetime_is_a_number_or_its_text(seconds):
    assert lifetime_of(LOGIN, {"expires_in": seconds}) == 3600 * SECOND


@pytest.mark.parametrize("body", [{}, {"expires_in": "soon"}, {"expires_in": None}, [], "x"])
def test_another_lifetime_is_malformed_and_named(body):
    with pytest.raises(Malformed, match="`expires_in` is no number of seconds"):
        lifetime_of(LOGIN, body)


@pytest.mark.parametrize(
    ("fetch", "reason"),
    [
        (lambda: ({}["access_token"], 1), "the login failed: the response has no `access_token`"),
        (
            lambda: ("t0ken", "3600" * 1000),
            "the login failed: the login gave no token and lifetime",
        ),
        (lambda: (None, 3600), "the login failed: the login gave no token and lifetime"),
        (lambda: ("t0ken", lifetime_of(LOGIN, {})), "the login failed: .*`expires_in`"),
    ],
)
def test_a_login_without_a_token_or_lifetime_is_tried_again_and_says_so(fetch, reason):
    bearer = Bearer(Http(lambda request, seconds: None, clock=Clock()), fetch)
    with pytest.raises(Retry, match=reason):
        bearer()


@pytest.mark.parametrize(
    "error",
    [
        Retry("cannot connect: connection refused", LOGIN.line),
        Retry("no answer within 60 s", LOGIN.line, narrower=True),
        Malformed("the answer is no JSON", LOGIN.line),
        ConfigError("HTTP 404", LOGIN.line, status=404),
    ],
    ids=lambda error: error.message,
)
def test_a_failed_login_names_no_window_and_halves_none(error):
    def fetch():
        raise error

    bearer = Bearer(Http(lambda request, seconds: None, clock=Clock()), fetch)
    asked = []

    def query(window):
        asked.append(window)
        return bearer()

    settings = SimpleNamespace(lookback=HOUR, lag=0, overlap=0, skip_after=24 * HOUR)
    walk = Walk(
        PLUGIN.datasets[0], "", query, settings, clock=lambda: NOW, widest=MINUTE, narrowest=SECOND
    )
    with pytest.raises(SiemtapError) as raised:
        list(walk.batches({}, NOW))
    assert error.message in str(raised.value) and LOGIN.line in str(raised.value)
    assert rfc3339(asked[0].start)[:10] not in str(raised.value) and len(asked) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "is no JSON object, but a list"),
        (None, "is no JSON object, but null"),
        ({"item": []}, "has no `items`"),
        ({"items": None}, "`items` is null, and not a list"),
        ({"items": {}}, "`items` is an object, and not a list"),
    ],
)
def test_what_an_answer_lacks_is_named(body, reason):
    with pytest.raises(Malformed, match=reason):
        member_of(LOGIN, body, "items", list)
    assert member_of(LOGIN, {"items": [1]}, "items", list) == [1]
    with pytest.raises(Malformed):
        member_of(LOGIN, {"n": True}, "n", int)
