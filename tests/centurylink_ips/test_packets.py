"""Decoded packets show no secret, wherever it stands and wherever the packet is cut."""

import base64
import json
import time

import pytest
from centurylink_ips.packets import printable, redact
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .test_forms import events_of

HEAD, TAIL = "Zq7xWv", "Kx9wQz"  # a part of a secret is found as well
NAMES = st.sampled_from(
    [
        "Cookie",
        "Set-Cookie",
        "Authorization",
        "Proxy-Authorization",
        "X-Api-Key",
        "X-Auth-Token",
        "x-session-id",
        "X_CLIENT_SECRET",
    ]
)
CASES = st.sampled_from([str, str.lower, str.upper, str.title])
BETWEEN = st.sampled_from([":", ": ", " : ", ":\t", ":\r\n ", ":\r\n\t"])
# without what ends a parameter: inside a header anything but a line break may stand
VALUES = st.text(
    st.characters(min_codepoint=1, max_codepoint=255, blacklist_characters="\r\n"), max_size=24
)
HARMLESS = st.sampled_from(
    ["Host: www.example.com", "X-Forwarded-For: 203.0.113.77", "Accept: */*", "X-Empty:"]
)
STARTS = st.sampled_from(["GET /a HTTP/1.1", "HTTP/1.1 200 OK", "POST /b?x=1 HTTP/1.0"])


@st.composite
def messages(draw):
    """Draw (a message, the places where its secrets begin and end)."""
    lines = [draw(STARTS)]
    for _ in range(draw(st.integers(1, 3))):
        lines += draw(st.lists(HARMLESS, max_size=2))
        name = draw(CASES)(draw(NAMES))
        fold = draw(st.sampled_from(["", "\r\n ", "\r\n\t", "\n "]))
        secret = f"{HEAD}{draw(VALUES)}{fold}{draw(VALUES)}{TAIL}"
        lines.append(f"{name}{draw(BETWEEN)}{secret}")
    lines += draw(st.lists(HARMLESS, max_size=2))
    line_break = draw(st.sampled_from(["\r\n", "\n"]))
    return line_break.join([*lines, "", ""])


def shown(packet):
    return printable(packet.encode("latin-1"), 16_384)


@pytest.mark.slow
@settings(max_examples=300)
@given(messages(), st.data())
def test_no_secret_is_shown_and_all_else_is(message, data):
    text = shown(message)
    assert HEAD not in text and TAIL not in text
    assert text.startswith(message[:8]) and text.count("REDACTED") >= message.count(HEAD)
    for line in ("Host: www.example.com", "X-Forwarded-For: 203.0.113.77", "Accept: */*"):
        assert text.count(line) == message.count(line)
    stop = data.draw(st.integers(0, len(message)))
    assert HEAD not in shown(message[:stop]) and TAIL not in shown(message[:stop])


@pytest.mark.slow
@settings(max_examples=300)
@given(messages(), st.data())
def test_packet_that_begins_in_a_header_shows_no_secret(message, data):
    """The rest of a header is known by what follows it: another header, or the end of them all."""
    begin = data.draw(st.integers(0, len(message) - 1))
    packet = message[begin:].replace("\n", "\r\n").replace("\r\r\n", "\r\n")
    assert HEAD[2:] not in shown(packet) and TAIL not in shown(packet)


@pytest.mark.parametrize(
    "packet, text",
    [
        ("kie: sid=abc", "REDACTED"),
        (": abc", "REDACTED"),
        ("word=abc&x=1", "REDACTED&x=1"),
        ("a=b&x=1", "a=b&x=1"),
        ("GET /a?token=abc&q=1 HTTP/1.1", "GET /a?token=REDACTED&q=1 HTTP/1.1"),
        ("ken=abc&q=1 HTTP/1.1", "REDACTED&q=1 HTTP/1.1"),
        ('{"password": "a b", "user":"bob"}', '{"password": REDACTED'),
        ("session='a b';x=1", "session=REDACTED;x=1"),
        ("GET /\nAuthor: bob\nAuthorization: x", "GET /\nAuthor: bob\nAuthorization: REDACTED"),
        ("GET /\ncookie:\nHost: x", "GET /\ncookie:\nHost: x"),
        ("id; cat /etc/passwd\n", "id; cat /etc/passwd\n"),
        ("GET http://u:p@h/a@b HTTP/1.1", "GET http://REDACTED@h/a@b HTTP/1.1"),
        ("GET /?u=ftp://u:p@q@h HTTP/1.1", "GET /?u=ftp://REDACTED@h HTTP/1.1"),
        ("GET /a://@h HTTP/1.1", "GET /a://@h HTTP/1.1"),
        (f"GET /a://{'u' * 256}@h HTTP/1.1", "GET /a://REDACTED@h HTTP/1.1"),
        (f"GET /a://{'u' * 257}@h HTTP/1.1", f"GET /a://{'u' * 257}@h HTTP/1.1"),
        ("GET /?user[password]=abc&x=1", "GET /?user[password]=REDACTED&x=1"),
        ("GET /?pass%5Bword=abc&pwd%5D=b", "GET /?pass%5Bword=abc&pwd%5D=b"),
        ("a = b\npassword = abc\nc = d", "a = b\npassword = REDACTED\nc = d"),
        ("GET /?token= HTTP/1.1", "GET /?token= HTTP/1.1"),
        ("password = abc\nc = d", "REDACTED\nc = d"),
    ],
)
def test_redacted_texts(packet, text):
    assert redact(packet) == text


@example("Cookie: ")
@given(st.text("Cookietn: =\"'&;\r\n\t\xff", max_size=60))
def test_any_text_keeps_its_other_lines(text):
    assert isinstance(redact(text), str)
    assert redact(f"GET /\r\n{text}\r\n\r\nX-Last: 1").endswith("X-Last: 1")


def test_folded_base64_is_whole():
    encoded = (
        base64.b64encode(b"GET / HTTP/1.1\r\nCookie: abc\r\n" * 5).decode().replace("=", "\\=")
    )
    cef = "CEF:0|Trend Micro|Deep Security Agent|20|1005040|a|9|TrendMicroDsPacketData="
    for fold in ("\\n", "\\r\\n", " "):
        line = cef + fold.join(encoded[at : at + 76] for at in range(0, len(encoded), 76))
        (event,) = events_of(line, "udp", decode_data=True)
        own = event["centurylink_ips"]
        assert "truncated" not in own and "data_invalid" not in own
        assert own["data"] == encoded.replace("\\", "") and "abc" not in own["data_text"]
    (event,) = events_of(json.dumps({"reason": "x", "data": "R0VU\\nIC8="}), decode_data=True)
    assert event["centurylink_ips"]["data_text"] == "GET /"
    assert events_of(cef + "R0VUI", "udp")[0]["centurylink_ips"]["truncated"]


@pytest.mark.parametrize(
    "text",
    [
        *(character * 100_000 for character in '<1[\\:=\r\n a"'),
        "a:" * 50_000,
        "Cookie:\n " * 12_000,
        'token="' * 15_000,
        "token='" * 15_000,
        "cookie:" * 15_000,
        "GET / HTTP/1.1\r\n" + "\r\n " * 30_000,
        "session" * 15_000 + ":",
        "-" * 300_000,
        "x[" * 100_000,
        "://" * 60_000,
        "://" + "@" * 100_000,
    ],
)
def test_malicious_packets_are_redacted_quickly(text):
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 1.0
