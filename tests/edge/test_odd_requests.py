"""Whatever was answered with 2xx is in the spool, byte for byte, and nothing else is: every odd
request over a raw socket, for both parsers of HTTP."""

import ast
import contextlib
import inspect
import re
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from siemtap.core.errors import Retry
from siemtap.edge import listen
from siemtap.edge import spool as spools
from siemtap.edge.listen import Door, Listener, Patient, PatientH11, kept, refused
from siemtap.edge.spool import Spool

SECRET = "3f9c1d7ab2e04c58"
PATH = f"/acme/{SECRET}"
H2C = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings:"
    " AAMAAABkAAQAoAAAAAIAAAAA\r\n"
)
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key:"
    " dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
BOTH = pytest.mark.parametrize(
    "listener",
    [Patient, PatientH11] if Patient.__mro__[2] is not PatientH11.__mro__[2] else [PatientH11],
    indirect=True,
    ids=lambda protocol: protocol.__name__,
)


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def listener(request, spool):
    listener = Listener("127.0.0.1", 0, protocol=request.param)
    listener.app.doors.append(Door("acme", SECRET, spool, largest=100_000))
    yield listener
    listener.close()


def head(more="", method="POST", target=PATH, version="1.1", length=None):
    return (
        f"{method} {target} HTTP/{version}\r\nHost:"
        f" a\r\n{more}{'' if length is None else f'Content-Length: {length}' + chr(13) + chr(10)}\r\n".encode()
    )


def whole(body, more="", **how):
    return head(more, length=len(body), **how) + body


def chunked(*parts, extension="", trailers=""):
    return (
        b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension.encode(), part) for part in parts)
        + b"0\r\n"
        + trailers.encode()
        + b"\r\n"
    )


def in_chunks(*parts, more="", **how):
    return head("Transfer-Encoding: chunked\r\n" + more) + chunked(*parts, **how)


def ask(listener, said, answers, pause=None):
    """The final status of each answer, until so many are here or the other side hangs up.
    `pause`: bytes that are sent once there is a 100."""
    with socket.create_connection(
        ("127.0.0.1", int(listener.address.rsplit(":", 1)[1])), timeout=10
    ) as peer:
        for piece in said if isinstance(said, list) else [said]:
            with contextlib.suppress(OSError):  # it may have hung up already
                peer.sendall(piece)
        heard = b""
        with contextlib.suppress(ConnectionError):
            while len(statuses(heard)) < answers and (part := peer.recv(65536)):
                heard += part
                if pause and b"100 Continue" in heard:
                    peer.sendall(pause)
                    pause = None
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(65536):
                heard += part
        return statuses(heard)


def statuses(heard):
    return [
        int(code)
        for code in re.findall(rb"^HTTP/1\.1 ([0-9]{3}) [^\r]*\r$", heard, re.MULTILINE)
        if code[:1] != b"1"
    ]


def bodies(spool):
    return [payload.body for payload in spool.read({}, 100_000)[0]]


GOOD = b'{"a": 1}'
SERVED = {
    "h2c": [whole(GOOD, H2C)],
    "h2c without settings": [whole(GOOD, "Connection: Upgrade\r\nUpgrade: h2c\r\n")],
    "h2c, in chunks": [in_chunks(b'{"a"', b": 1}", more=H2C)],
    "h2c, twice in a row": [whole(GOOD, H2C), whole(GOOD, H2C)],
    "h2c, then a usual one": [whole(GOOD, H2C), whole(GOOD)],
    "a usual one, then h2c": [whole(GOOD), whole(GOOD, H2C)],
    "h2c in HTTP/1.0": [whole(GOOD, H2C, version="1.0")],
    "h2c and close": [whole(GOOD, H2C.replace("Upgrade, ", "close, upgrade , "))],
    "websocket": [whole(GOOD, WEBSOCKET)],
    "TLS": [whole(GOOD, "Connection: upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n")],
    "an offer without the connection's word": [whole(GOOD, "Upgrade: h2c\r\n")],
    "pipelined": [whole(GOOD), in_chunks(GOOD), whole(GOOD)],
    "HTTP/1.0": [whole(GOOD, version="1.0")],
    "HTTP/1.0 that stays": [whole(GOOD, "Connection: keep-alive\r\n", version="1.0")],
    "chunks with extensions and trailers": [
        in_chunks(b'{"a"', b": 1}", extension=";a=b", trailers="X-A: b\r\n")
    ],
    "trailers that say what a head would": [
        in_chunks(
            GOOD,
            trailers=(
                f"Content-Encoding: gzip\r\nX-Siemtap-Secret: {SECRET[1:]}\r\nConnection:"
                " upgrade\r\nUpgrade: h2c\r\n"
            ),
        )
    ],
    "names in small letters": [
        whole(GOOD).replace(b"Host", b"host").replace(b"Content-Length", b"content-length")
    ],
    "the whole address as the target": [whole(GOOD, target=f"http://siem.example.com:8443{PATH}")],
    "two lengths that agree": [whole(GOOD, f"Content-Length: {len(GOOD)}\r\n")],
}


@BOTH
@pytest.mark.parametrize("case", SERVED)
@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_odd_and_right_is_kept(listener, spool, case, byte_by_byte):
    said = b"".join(SERVED[case])
    answers = ask(
        listener,
        [said[place : place + 1] for place in range(len(said))] if byte_by_byte else said,
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
    "no body, length 0": whole(b""),
    "no body, h2c": head(H2C),
    "no body, length 0, h2c": whole(b"", H2C),
    "no body in chunks": in_chunks(),
    "a body without a length": head(version="1.0") + GOOD,
    "lengths that differ": whole(GOOD, f"Content-Length: {len(GOOD) - 1}\r\n"),
    "a length that is no number": head("Content-Length: +8\r\n") + GOOD,
    "a length in hex": head("Content-Length: 0x8\r\n") + GOOD,
    "a length below zero": head("Content-Length: -8\r\n") + GOOD,
    "chunks of no size": head("Transfer-Encoding: chunked\r\n") + b"zz\r\n" + GOOD,
    "chunks that are longer than they say": (
        head("Transfer-Encoding: chunked\r\n") + b"2\r\n" + GOOD + b"\r\n0\r\n\r\n"
    ),
    "an unknown coding": head("Transfer-Encoding: gzip\r\n") + GOOD,
    "GET": whole(GOOD, method="GET"),
    "HEAD": whole(GOOD, method="HEAD"),
    "OPTIONS": whole(GOOD, method="OPTIONS"),
    "PUT": whole(GOOD, method="PUT"),
    "post": whole(GOOD, method="post"),
    "GET h2c": head(H2C, method="GET"),
    "HEAD h2c": whole(GOOD, H2C, method="HEAD"),
    "websocket's own": head(WEBSOCKET, method="GET"),
    "CONNECT": head(method="CONNECT", target="siem.example.com:443"),
    "CONNECT and a body": whole(GOOD, method="CONNECT", target=PATH),
    "CONNECT h2c": whole(GOOD, H2C, method="CONNECT", target="a:1"),
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 30,
    "HTTP/0.9": f"POST {PATH}\r\n\r\n".encode() + GOOD,
    "a header with a zero": head("X: a\0b\r\n", length=len(GOOD)) + GOOD,
    "a wrong secret, h2c": whole(GOOD, H2C, target=PATH[:-1]),
    "too large, h2c": whole(b"x" * 100_001, H2C),
    "too large in chunks, h2c": in_chunks(b"x" * 60_000, b"x" * 60_000, more=H2C),
}


@BOTH
@pytest.mark.parametrize("case", REFUSED)
def test_odd_and_wrong_is_neither_kept_nor_called_so(listener, spool, case):
    answers = ask(listener, REFUSED[case], 1)
    assert answers and all(400 <= answer < 500 for answer in answers) and bodies(spool) == []
    deadline = time.monotonic() + 5
    # the peer sees the end before the application does
    while listener.app.reading and time.monotonic() < deadline:
        time.sleep(0.01)
    assert listener.app.reading == 0


# read in one way or another by one parser or another; what is answered with 2xx is there, whichever
# it is
UNSURE = {
    "length and chunks": head("Transfer-Encoding: chunked\r\n", length=3) + chunked(GOOD),
    "chunks and length": in_chunks(GOOD, more="Content-Length: 3\r\n"),
    "a length among the trailers": in_chunks(GOOD, trailers="Content-Length: 3\r\n"),
    "folded": whole(GOOD, "X-A: b\r\n c\r\n"),
    "folded, h2c": whole(GOOD, "X-A: b\r\n c\r\n" + H2C),
    "a folded offer": whole(GOOD, "Connection: Upgrade\r\nUpgrade: h2c,\r\n h3\r\n"),
    "a list of lengths": head(f"Content-Length: {len(GOOD)}, {len(GOOD)}\r\n") + GOOD,
    "blanks around a length": head(f"Content-Length:   {len(GOOD)}   \r\n") + GOOD,
    "line feeds alone": whole(GOOD).replace(b"\r\n", b"\n"),
    "empty lines first": b"\r\n\r\n" + whole(GOOD),
    "a blank before the colon": whole(GOOD).replace(b"Host:", b"Host :"),
    "identity": whole(GOOD, "Transfer-Encoding: identity\r\n"),
    "codings": head("Transfer-Encoding: gzip, chunked\r\n") + chunked(GOOD),
    "chunked twice": (
        head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + chunked(GOOD)
    ),
    "HTTP/1.9": whole(GOOD, version="1.9"),
    "HTTP/1.0 in chunks": head("Transfer-Encoding: chunked\r\n", version="1.0") + chunked(GOOD),
    "two targets": whole(GOOD, target=f"{PATH} {PATH}"),
    "a target with a fragment": whole(GOOD, target=f"{PATH}#a"),
    "a target with a query": whole(GOOD, target=f"{PATH}?a=/b"),
    "longer than it says": whole(GOOD) + b"and more",
    "longer than it says, h2c": whole(GOOD, H2C) + b"and more",
    "HTTP/2 behind the offer": whole(GOOD, H2C) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an offer and a close": whole(
        GOOD, "Connection: close\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    ),
    "close, and one more": whole(GOOD, "Connection: close\r\n") + whole(GOOD),
    "h2c and an expectation that nobody meets": whole(GOOD, H2C + "Expect: 200-ok\r\n"),
}


@BOTH
@pytest.mark.parametrize("case", UNSURE)
def test_what_parsers_disagree_on_is_kept_if_it_is_called_so(listener, spool, case):
    answers = ask(listener, UNSURE[case], 1)
    assert answers and set(answers) <= {204, 400, 404, 405, 501}
    there = bodies(spool)
    assert (
        there[: answers.count(204)] == [GOOD] * answers.count(204)
        and set(there) <= {GOOD}
        and len(there) <= 2
    )


@BOTH
@pytest.mark.parametrize("more", ["", H2C, WEBSOCKET])
def test_an_expectation_is_met(listener, spool, more):
    assert ask(
        listener, head(more + "Expect: 100-continue\r\n", length=len(GOOD)), 1, pause=GOOD
    ) == [204] and bodies(spool) == [GOOD]


@BOTH
@pytest.mark.parametrize("more", ["", H2C])
@pytest.mark.parametrize(
    "said",
    [
        head(length=len(GOOD)) + GOOD[:-1],
        head("Transfer-Encoding: chunked\r\n") + b"8\r\n" + GOOD + b"\r\n",
    ],
)
def test_half_a_body_is_none(listener, spool, more, said):
    said = said.replace(b"Host: a\r\n", b"Host: a\r\n" + more.encode())
    with socket.create_connection(
        ("127.0.0.1", int(listener.address.rsplit(":", 1)[1])), timeout=10
    ) as peer:
        peer.sendall(said)
        peer.shutdown(socket.SHUT_WR)
        assert 204 not in statuses(peer.recv(65536)) and bodies(spool) == []


BODIES = st.binary(max_size=40) | st.sampled_from(
    [GOOD, b"x" * 5_000, b"POST / HTTP/1.1\r\n\r\n", b"0\r\n\r\n"]
)


@st.composite
def requests(draw):
    """(one request as it is sent, its body)"""
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
            in_chunks(
                *filter(None, (body[:cut], body[cut:])),
                more=more,
                extension=draw(st.sampled_from(["", ";a", ';a="b"'])),
                trailers=draw(st.sampled_from(["", "X-T: t\r\n", "Upgrade: h2c\r\n"])),
            ).replace(b"POST", method.encode(), 1),
            body,
        )
    return whole(body, more, method=method), body


@BOTH
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.integers(1, 30_000), max_size=6))
def test_any_row_of_requests(listener, spool, row, cuts):
    """In any pieces. An answer to each until one closes the connection; what is kept is what was
    answered with 204, in that order."""
    before = len(bodies(spool))
    said = b"".join(request for request, _ in row)
    places = sorted({0, *(cut for cut in cuts if cut < len(said)), len(said)})
    answers = ask(listener, [said[start:stop] for start, stop in zip(places, places[1:])], len(row))
    there = bodies(spool)[before:]
    taken = [body for (_, body), answer in zip(row, answers) if answer == 204]
    assert there[: len(taken)] == taken and all(
        body and request.startswith(b"POST")
        for (request, body), answer in zip(row, answers)
        if answer == 204
    )
    assert there[len(taken) :] in (
        [],
        *([body] for _, body in row),
    ), "what was kept and never answered comes once more, and is known"
    assert all(answer != 204 or place < len(row) for place, answer in enumerate(answers))


# By construction


def test_nothing_but_a_receipt_makes_a_success():
    """The only 2xx of the webhook stands in `kept`; only the spool's writer makes the receipt
    that it wants."""
    successes = [
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(listen)))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, int)
        and 200 <= node.value < 300
    ]
    # and the one that says which answer has no length
    assert inspect.getsource(kept).count("204") == 1 and successes.count(204) == 2
    assert (
        not re.search(r"\bReceipt\(", inspect.getsource(listen))
        and len(re.findall(r"\bReceipt\((?!N)", inspect.getsource(spools))) == 1
    )
    for status in (200, 204, 302):
        with pytest.raises(ValueError, match="no refusal"):
            refused(status)


@BOTH
def test_a_body_that_the_parser_lost_is_refused(listener, spool, monkeypatch):
    """Whatever a parser makes of a request: fewer or more bytes than were announced are no
    success."""
    really = listen.Webhook._body

    async def lost(self, door, headers, receive):
        body = await really(self, door, headers, receive)
        self.reading -= 1
        return body[:-1]

    monkeypatch.setattr(listen.Webhook, "_body", lost)
    assert (
        ask(listener, whole(GOOD), 1) == [400] and bodies(spool) == [] and listener.app.reading == 0
    )
    assert listener.app.doors[0].counts == {"broken_off": 1}


@BOTH
def test_a_disk_that_fails_is_no_success_either(listener, spool, monkeypatch):
    monkeypatch.setattr(spool, "_put", lambda data: Retry("the disk is full; nothing was kept"))
    assert ask(listener, whole(GOOD, H2C), 1) == [503] and bodies(spool) == []
