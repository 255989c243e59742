"""Secrets in forms that no page shows: whatever the text is, the secret is not in the event."""

import dataclasses
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apptrana.manifest import SECRET_HEADERS, Settings
from apptrana.mapping import ATTACK
from apptrana.redaction import first_name, headers, parse_pairs
from siemtap.core.compile import bind
from siemtap.core.formats.url import split_url, without_userinfo
from siemtap.core.manifest import fill_in

SETTINGS = fill_in(Settings, {"client_id": "x", "client_secret": "y", "keep_original": True})
PLAIN = dataclasses.replace(SETTINGS, redact_headers=())
RECORD = {"attackTime": "2026-03-04T10:02:13.417Z", "requestId": "r", "ruleId": "1"}
SECRET = "s3cret-0f-eve"
NAME = st.sampled_from(
    [spell(name) for name in SECRET_HEADERS for spell in (str, str.upper, str.title)]
)
JUNK = st.text(st.sampled_from("\"\\:,{}[] '=;\n\t-"), max_size=12)
HEADER = st.sampled_from(
    ['"Host":"a",', '"X":"a "bare" quote",', '"A":"b"', '"-":"-",', "Via: x\r\n"]
)


def shown(settings=SETTINGS, **record):
    return json.dumps(bind(ATTACK, settings)({**RECORD, **record}, 0), ensure_ascii=False)


@given(
    before=st.lists(JUNK | HEADER, max_size=4).map("".join),
    name=NAME,
    between=st.sampled_from(
        [":", "=", ": ", '":"', '" : "', '\\":\\"', "'='", '" "', " ", '"\t', "\n"]
    ),
    after=st.lists(JUNK | HEADER, max_size=4).map("".join),
)
def test_header_text_that_is_no_json_shows_no_secret(before, name, between, after):
    text = f"{before} {name}{between}{SECRET}{after}"
    assume(parse_pairs(text) is None)
    assert SECRET not in shown(requestHeader=text, responseHeader=text)
    assert SECRET not in shown(requestHeader=text, attackTime="soon")


@given(
    st.text(st.sampled_from("\"\\:,{} '=;\nAb-"), max_size=20),
    st.sampled_from([":", "=", " ", '":"', "\n"]),
)
def test_text_without_a_readable_header_shows_no_value_of_any_name(before, between):
    text = f"{before}{between}{SECRET}"
    assume(not headers(text, SECRET_HEADERS))
    assert SECRET not in shown(requestHeader=text)


@pytest.mark.parametrize(
    "text,meant",
    [
        ("Host: a", "Host REDACTED"),
        ('"Cook"ie":"x', '"Cook REDACTED'),
        ("nothing", "nothing"),
        (" {'X-Token': 'x'}", "{'X-Token REDACTED"),
        ("x7", "REDACTED"),
        ("a" * 65, "REDACTED"),
        ("", ""),
    ],
)
def test_first_name_of_a_text(text, meant):
    assert first_name(text, SECRET_HEADERS) == meant and first_name(text, ()) == text


COLLECTION = st.sampled_from(
    ["REQUEST_COOKIES", "RESPONSE_COOKIES", "Cookie", "request_cookies", "Request Cookies"]
)
COOKIE = st.builds(
    "{}{}".format, COLLECTION, st.sampled_from(["", ":sid", ":", " : a", ":/^s/", "|ARGS:a"])
)
HEADER_TARGET = st.builds(
    "{}{}{}".format,
    st.sampled_from(["REQUEST_HEADERS:", "RESPONSE_HEADERS: ", "&", "ARGS:a, REQUEST_HEADERS:"]),
    NAME,
    st.sampled_from(["", " ", ":", "|ARGS:b"]),
)
TARGET = COOKIE | HEADER_TARGET
DATA = st.sampled_from(
    [SECRET, f"sid={SECRET}", [SECRET], {"a": {"b": SECRET}}, [[[SECRET]]], f"{SECRET} " * 2_000]
)


@given(
    target=TARGET | TARGET.map(lambda target: ["ARGS:x", target]),
    data=DATA,
    time=st.sampled_from(["2026-03-04T10:00:00Z", "soon"]),
)
def test_what_a_rule_matched_in_a_cookie_or_secret_header_is_not_shown(target, data, time):
    assert SECRET not in shown(target=target, attackData=data, attackTime=time)
    assert SECRET in shown(PLAIN, target=target, attackData=data, attackTime=time)


@given(target=TARGET, other=st.none() | st.just("ARGS:a"))
def test_what_was_matched_within_a_cookie_is_not_shown(target, other):
    assume(" " not in target)
    data = f"Matched Data: {SECRET[:9]} found within {target}: {SECRET}"
    assert SECRET[:9] not in shown(target=other, attackData=data)


@pytest.mark.parametrize(
    "target",
    [None, "ARGS:password", "REQUEST_COOKIES_NAMES:sid", "REQUEST_HEADERS:User-Agent", "ARGS", 5],
)
def test_other_matched_data_is_shown(target):
    assert "an attack" in shown(target=target, attackData="an attack")


def test_any_name_can_be_added():
    settings = dataclasses.replace(SETTINGS, redact_headers=(*SECRET_HEADERS, "password"))
    assert SECRET not in shown(settings, target="ARGS:password", attackData=SECRET)


@given(
    scheme=st.sampled_from(["https", "HTTP", "ftp", "x+y"]),
    user=st.text(st.sampled_from("ab:@%5B[]/?#\\ "), max_size=8),
    host=st.sampled_from(["www.example.com", "[2001:db8::1]", "h:8443", ""]),
    rest=st.sampled_from(["", "/", "/a?b=c", "?q", "/a@b"]),
)
def test_user_and_password_of_a_url_are_not_shown(scheme, user, host, rest):
    assume("/" not in user and "?" not in user and "#" not in user)
    url = f"{scheme}://{user}{SECRET}@{host}{rest}"
    assert SECRET not in shown(attackUri=url) + shown(attackUri=url, attackTime="soon")
    assert split_url(without_userinfo(url)) == split_url(url)


@pytest.mark.parametrize("password", [f"/{SECRET}", f"{SECRET}/", f"a?{SECRET}", f"#{SECRET}"])
def test_password_with_a_sign_that_ends_a_host_is_not_shown(password):
    assert SECRET not in shown(attackUri=f"https://eve:{password}@www.example.com/a")


@pytest.mark.parametrize(
    "url", ["/a", "//eve@host/a", "/?to=https://eve:x@host/", "://", "1a://h", "a b://h", "-", ""]
)
def test_what_is_no_absolute_url_is_a_path(url):
    assert split_url(url) is None and without_userinfo(url) == url
