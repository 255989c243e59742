"""The errors that the HTTP client makes of answers: waits, messages, redaction."""

import base64
import html
import json
from urllib.parse import quote, urlencode

import pytest

from siemtap.edge.client.messages import Reply, Request
from siemtap.edge.client.replies import error_text, parse_retry_after, raise_for_status


@pytest.mark.parametrize(
    "header,millis",
    [
        (None, 0),
        ("", 0),
        ("7", 7_000),
        (" 7 ", 7_000),
        ("soon", 0),
        ("-1", 0),
        ("99999999999", 3_600_000),
        ("9" * 30, 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600_000),
        ("Wed, 04 Mar 99999 12:00:30 GMT", 0),
        ("Wed, 04 Mar 2026 12:00:30 GMT", 30_000),
        ("Wed, 04 Mar 2026 11:00:00 GMT", 0),
    ],
)
def test_retry_after(header, millis):
    assert parse_retry_after(header, 1_772_625_600_000) == millis


@pytest.mark.parametrize(
    "body,message",
    [
        (b'{"errorMessages":["a","b"]}', "a; b"),
        (b'{"errorMessages":"a"}', "a"),
        (b'{"message":{"x":1}}', "{'x': 1}"),
        (b"[]", ""),
        (b"", ""),
        (b"\xff", ""),
        (b'{"error":null}', ""),
        (b'{"error":{"code":"NotNow","message":"later","number":9}}', "NotNow; later"),
        (b'{"error":{"code":"NotNow","message":null}}', "NotNow"),
        (b'{"error":{"x":1}}', "{'x': 1}"),
    ],
)
def test_message_of_an_error(body, message):
    request = Request("GET", "http://x")
    assert error_text(request, Reply(400, {}, b"[" * 2_000_000)) == ""
    assert error_text(request, Reply(400, {}, body)) == message


TOKEN, PASSWORD = "eyJ0b2tlbg.TOKEN-of/ours+1=", 'p"w \u00e9<&'


SENT = {
    "bearer": Request(
        "POST",
        "https://x/a",
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        b'{"startTime": "1"}',
    ),
    "basic": Request(
        "POST",
        "https://x/a",
        {"Authorization": "Basic " + base64.b64encode(f"demo:{TOKEN}".encode()).decode()},
    ),
    "headers": Request(
        "GET",
        "https://x/a",
        {"x-abs-ak": "abs_ak", "x-abs-sk": TOKEN, "Accept": "application/json"},
    ),
    "form": Request(
        "POST",
        "https://x/a",
        {},
        urlencode(
            {
                "client_id": "demo",
                "client_secret": TOKEN,
                "password": PASSWORD,
                "grant_type": "client_credentials",
            }
        ).encode(),
    ),
    "json": Request(
        "POST",
        "https://x/a",
        {},
        json.dumps({"username": "demo", "password": TOKEN, "other": PASSWORD}).encode(),
    ),
    "list": Request(
        "PUT", "https://x/a", {}, json.dumps([{"typeCode": "WEBHOOK", "url": TOKEN}]).encode()
    ),
    "query": Request(
        "GET", "https://x/a?" + urlencode({"client_id": "demo", "access_token": TOKEN})
    ),
}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("name", ["errorMessages", "message", "error"])
def test_error_that_quotes_the_request_shows_no_secret(sent, name):
    """As sent, and as JSON, form, HTML or Python encode it; in other letter case; truncated by
    the server or by us."""
    request = SENT[sent]
    quoted = [
        (
            f"cannot read {dict(request.headers)!r} {request.url} {request.body.decode()} of"
            " application/json"
        ),
        json.dumps(dict(request.headers)),
        TOKEN.lower(),
        TOKEN[:-4] + "…",
        quote(TOKEN),
        html.escape(TOKEN),
        "x" * 280 + TOKEN,
    ]
    for text in quoted:
        message = error_text(
            request,
            Reply(
                400,
                {},
                json.dumps(
                    {
                        name: (
                            [text]
                            if name == "errorMessages"
                            else {"text": text}
                            if name == "error"
                            else text
                        )
                    }
                ).encode(),
            ),
        )
        assert (
            "token-of" not in message.lower()
            and "ZGVtbzpl" not in message
            and "abs_ak" not in message
            and len(message) <= 300
        ), message
    assert (
        "of application/json"
        in error_text(request, Reply(400, {}, json.dumps({name: quoted[0]}).encode()))
        or len(quoted[0]) > 280
    )
    assert (
        error_text(
            request, Reply(400, {}, b'{"message": "startTime is no time; bearer of the key"}')
        )
        == "startTime is no time; bearer of the key"
    )


def test_quoted_password_with_special_characters_is_redacted_in_every_encoding():
    request = SENT["form"]
    for text in (
        PASSWORD,
        quote(PASSWORD),
        json.dumps(PASSWORD),
        html.escape(PASSWORD),
        request.body.decode(),
    ):
        message = error_text(
            request, Reply(400, {}, json.dumps({"message": f"a {text} b"}).encode())
        )
        assert (
            "REDACTED" in message
            and 'p"w' not in message
            and "p%22" not in message
            and "p\\" not in message
            and "p&quot;" not in message
        )


def test_success_is_not_an_error():
    raise_for_status(Request("GET", "http://x"), Reply(200, {}, b"{}"), 0)
