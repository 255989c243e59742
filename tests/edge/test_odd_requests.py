"""Unusual and invalid requests over a raw socket, with both HTTP parsers: a request that is
answered with 2xx is in the spool unchanged, and no other is."""

import socket

import pytest
from edge import raw_requests
from edge.raw_requests import (
    BOTH,
    GOOD,
    H2C,
    PATH,
    SECRET,
    WEBSOCKET,
    ask,
    bodies,
    chunked_body,
    chunked_request,
    head,
    request_with_length,
    statuses,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import wait_for

# fixtures
spool = raw_requests.spool
listener = raw_requests.listener


SERVED = {
    "h2c": [request_with_length(GOOD, H2C)],
    "h2c without settings": [request_with_length(GOOD, "Connection: Upgrade\r\nUpgrade: h2c\r\n")],
    "h2c, in chunks": [chunked_request(b'{"a"', b": 1}", more=H2C)],
    "h2c, twice in a row": [request_with_length(GOOD, H2C), request_with_length(GOOD, H2C)],
    "h2c, then a usual one": [request_with_length(GOOD, H2C), request_with_length(GOOD)],
    "a usual one, then h2c": [request_with_length(GOOD), request_with_length(GOOD, H2C)],
    "h2c in HTTP/1.0": [request_with_length(GOOD, H2C, version="1.0")],
    "h2c and close": [request_with_length(GOOD, H2C.replace("Upgrade, ", "close, upgrade , "))],
    "websocket": [request_with_length(GOOD, WEBSOCKET)],
    "TLS": [request_with_length(GOOD, "Connection: upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n")],
    "an offer without the connection's word": [request_with_length(GOOD, "Upgrade: h2c\r\n")],
    "pipelined": [request_with_length(GOOD), chunked_request(GOOD), request_with_length(GOOD)],
    "HTTP/1.0": [request_with_length(GOOD, version="1.0")],
    "HTTP/1.0 that stays": [request_with_length(GOOD, "Connection: keep-alive\r\n", version="1.0")],
    "chunks with extensions and trailers": [
        chunked_request(b'{"a"', b": 1}", extension=";a=b", trailers="X-A: b\r\n")
    ],
    "trailers that say what a head would": [
        chunked_request(
            GOOD,
            trailers=(
                f"Content-Encoding: gzip\r\nX-Siemtap-Secret: {SECRET[1:]}\r\nConnection:"
                " upgrade\r\nUpgrade: h2c\r\n"
            ),
        )
    ],
    "names in small letters": [
        request_with_length(GOOD)
        .replace(b"Host", b"host")
        .replace(b"Content-Length", b"content-length")
    ],
    "the whole address as the target": [
        request_with_length(GOOD, target=f"http://siem.example.com:8443{PATH}")
    ],
    "two lengths that agree": [request_with_length(GOOD, f"Content-Length: {len(GOOD)}\r\n")],
}


@BOTH
@pytest.mark.parametrize("case", SERVED)
@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_unusual_valid_request_is_stored(listener, spool, case, byte_by_byte):
    sent = b"".join(SERVED[case])
    answers = ask(
        listener,
        [sent[place : place + 1] for place in range(len(sent))] if byte_by_byte else sent,
        len(SERVED[case]),
    )
    assert bodies(spool) == [GOOD] * answers.count(204)
    assert answers == [204] * len(SERVED[case]) or (
        case in MAY_BE_REFUSED and set(answers) == {400}
    )
    assert all(payload.headers == {} for payload in spool.read({}, 100)[0])


MAY_BE_REFUSED = ("two lengths that agree",)  # RFC 9110 8.6 allows both


REFUSED = {
    "no body, no length": head(),
    "no body, length 0": request_with_length(b""),
    "no body, h2c": head(H2C),
    "no body, length 0, h2c": request_with_length(b"", H2C),
    "no body in chunks": chunked_request(),
    "a body without a length": head(version="1.0") + GOOD,
    "lengths that differ": request_with_length(GOOD, f"Content-Length: {len(GOOD) - 1}\r\n"),
    "a length that is no number": head("Content-Length: +8\r\n") + GOOD,
    "a length in hex": head("Content-Length: 0x8\r\n") + GOOD,
    "a length below zero": head("Content-Length: -8\r\n") + GOOD,
    "chunks of no size": head("Transfer-Encoding: chunked\r\n") + b"zz\r\n" + GOOD,
    "chunks that are longer than they say": (
        head("Transfer-Encoding: chunked\r\n") + b"2\r\n" + GOOD + b"\r\n0\r\n\r\n"
    ),
    "an unknown coding": head("Transfer-Encoding: gzip\r\n") + GOOD,
    "GET": request_with_length(GOOD, method="GET"),
    "HEAD": request_with_length(GOOD, method="HEAD"),
    "OPTIONS": request_with_length(GOOD, method="OPTIONS"),
    "PUT": request_with_length(GOOD, method="PUT"),
    "post": request_with_length(GOOD, method="post"),
    "GET h2c": head(H2C, method="GET"),
    "HEAD h2c": request_with_length(GOOD, H2C, method="HEAD"),
    "websocket's own": head(WEBSOCKET, method="GET"),
    "CONNECT": head(method="CONNECT", target="siem.example.com:443"),
    "CONNECT and a body": request_with_length(GOOD, method="CONNECT", target=PATH),
    "CONNECT h2c": request_with_length(GOOD, H2C, method="CONNECT", target="a:1"),
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 30,
    "HTTP/0.9": f"POST {PATH}\r\n\r\n".encode() + GOOD,
    "a header with a zero": head("X: a\0b\r\n", length=len(GOOD)) + GOOD,
    "a wrong secret, h2c": request_with_length(GOOD, H2C, target=PATH[:-1]),
    "too large, h2c": request_with_length(b"x" * 100_001, H2C),
    "too large in chunks, h2c": chunked_request(b"x" * 60_000, b"x" * 60_000, more=H2C),
}


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("case", REFUSED)
def test_invalid_request_is_rejected_and_not_stored(listener, spool, case):
    answers = ask(listener, REFUSED[case], 1)
    assert answers and all(400 <= answer < 500 for answer in answers) and bodies(spool) == []
    # the client sees the end before the application does
    wait_for(lambda: listener.app.reading == 0)


# The parsers read these differently; with each of them a request that is answered with 2xx must
# be stored.
UNSURE = {
    "length and chunks": head("Transfer-Encoding: chunked\r\n", length=3) + chunked_body(GOOD),
    "chunks and length": chunked_request(GOOD, more="Content-Length: 3\r\n"),
    "a length among the trailers": chunked_request(GOOD, trailers="Content-Length: 3\r\n"),
    "folded": request_with_length(GOOD, "X-A: b\r\n c\r\n"),
    "folded, h2c": request_with_length(GOOD, "X-A: b\r\n c\r\n" + H2C),
    "a folded offer": request_with_length(GOOD, "Connection: Upgrade\r\nUpgrade: h2c,\r\n h3\r\n"),
    "a list of lengths": head(f"Content-Length: {len(GOOD)}, {len(GOOD)}\r\n") + GOOD,
    "blanks around a length": head(f"Content-Length:   {len(GOOD)}   \r\n") + GOOD,
    "line feeds alone": request_with_length(GOOD).replace(b"\r\n", b"\n"),
    "empty lines first": b"\r\n\r\n" + request_with_length(GOOD),
    "a blank before the colon": request_with_length(GOOD).replace(b"Host:", b"Host :"),
    "identity": request_with_length(GOOD, "Transfer-Encoding: identity\r\n"),
    "codings": head("Transfer-Encoding: gzip, chunked\r\n") + chunked_body(GOOD),
    "chunked twice": (
        head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + chunked_body(GOOD)
    ),
    "HTTP/1.9": request_with_length(GOOD, version="1.9"),
    "HTTP/1.0 in chunks": head("Transfer-Encoding: chunked\r\n", version="1.0")
    + chunked_body(GOOD),
    "two targets": request_with_length(GOOD, target=f"{PATH} {PATH}"),
    "a target with a fragment": request_with_length(GOOD, target=f"{PATH}#a"),
    "a target with a query": request_with_length(GOOD, target=f"{PATH}?a=/b"),
    "longer than it says": request_with_length(GOOD) + b"and more",
    "longer than it says, h2c": request_with_length(GOOD, H2C) + b"and more",
    "HTTP/2 behind the offer": request_with_length(GOOD, H2C) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an offer and a close": request_with_length(
        GOOD, "Connection: close\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    ),
    "close, and one more": request_with_length(GOOD, "Connection: close\r\n")
    + request_with_length(GOOD),
    "h2c and an expectation that nobody meets": request_with_length(
        GOOD, H2C + "Expect: 200-ok\r\n"
    ),
}


@BOTH
@pytest.mark.parametrize("case", UNSURE)
def test_request_that_parsers_read_differently_is_stored_if_answered_with_2xx(
    listener, spool, case
):
    answers = ask(listener, UNSURE[case], 1)
    assert answers and set(answers) <= {204, 400, 404, 405, 501}
    stored = bodies(spool)
    assert (
        stored[: answers.count(204)] == [GOOD] * answers.count(204)
        and set(stored) <= {GOOD}
        and len(stored) <= 2
    )


@BOTH
@pytest.mark.parametrize("more", ["", H2C, WEBSOCKET])
def test_expect_100_continue(listener, spool, more):
    assert ask(
        listener, head(more + "Expect: 100-continue\r\n", length=len(GOOD)), 1, pause=GOOD
    ) == [204] and bodies(spool) == [GOOD]


@BOTH
@pytest.mark.parametrize("more", ["", H2C])
@pytest.mark.parametrize(
    "sent",
    [
        head(length=len(GOOD)) + GOOD[:-1],
        head("Transfer-Encoding: chunked\r\n") + b"8\r\n" + GOOD + b"\r\n",
    ],
)
def test_incomplete_body_is_not_stored(listener, spool, more, sent):
    sent = sent.replace(b"Host: a\r\n", b"Host: a\r\n" + more.encode())
    with socket.create_connection(
        ("127.0.0.1", int(listener.address.rsplit(":", 1)[1])), timeout=300
    ) as peer:
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        assert 204 not in statuses(peer.recv(65536)) and bodies(spool) == []


BODIES = st.binary(max_size=40) | st.sampled_from(
    [GOOD, b"x" * 5_000, b"POST / HTTP/1.1\r\n\r\n", b"0\r\n\r\n"]
)


@st.composite
def requests(draw):
    """Draw (request as sent, its body)."""
    body = draw(BODIES)
    more = "".join(
        draw(
            st.lists(
                st.sampled_from(
                    [
                        H2C,
                        WEBSOCKET,
                        "Upgrade: h2c\r\n",
                        "Connection: keep-alive\r\n",
                        "Connection: upgrade\r\n",
                        "X-A: b\r\n",
                        "Content-Type: application/json\r\n",
                        "Accept-Encoding: gzip\r\n",
                    ]
                ),
                max_size=3,
            )
        )
    )
    method = draw(st.sampled_from(["POST"] * 6 + ["GET", "PUT", "HEAD"]))
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(body)))
        return (
            chunked_request(
                *filter(None, (body[:cut], body[cut:])),
                more=more,
                extension=draw(st.sampled_from(["", ";a", ';a="b"'])),
                trailers=draw(st.sampled_from(["", "X-T: t\r\n", "Upgrade: h2c\r\n"])),
            ).replace(b"POST", method.encode(), 1),
            body,
        )
    return request_with_length(body, more, method=method), body


@pytest.mark.slow
@BOTH
@settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.integers(1, 30_000), max_size=6))
def test_any_sequence_of_requests_on_a_connection(listener, spool, row, cuts):
    """Split at any bytes. Each request is answered until the connection is closed, and the
    bodies answered with 204 are stored in that order."""
    before = len(bodies(spool))
    sent = b"".join(request for request, _ in row)
    places = sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})
    answers = ask(listener, [sent[start:stop] for start, stop in zip(places, places[1:])], len(row))
    stored = bodies(spool)[before:]
    taken = [body for (_, body), answer in zip(row, answers) if answer == 204]
    assert stored[: len(taken)] == taken and all(
        body and request.startswith(b"POST")
        for (request, body), answer in zip(row, answers)
        if answer == 204
    )
    assert stored[len(taken) :] in (
        [],
        *([body] for _, body in row),
    ), "only the last body may be stored without an answer; a repetition is dropped by its id"
    assert all(answer != 204 or place < len(row) for place, answer in enumerate(answers))
