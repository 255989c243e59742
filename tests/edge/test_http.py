"""The client over real sockets, against a peer that misbehaves."""

import base64
import datetime
import gzip
import hashlib
import html
import json
import socket
import ssl
import threading
import time
import warnings
from urllib.parse import quote, urlencode

import pytest

from apptrana import simulator
from siemtap.core import bounds
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.forms import Connection
from siemtap.core.manifest import fill_in
from siemtap.edge import http as http_
from siemtap.edge.ahead import ahead
from siemtap.edge.http import Reply, Request, complaint, connect, refuse, wait
from siemtap.runners.simulate import Answer, Fault, Server


class Echo:
    """Answers what it was told to."""

    def __init__(self):
        self.next, self.seen = Answer(200, {"Content-Type": "application/json"}, b'{"ok": 1}'), []

    def answer(self, request, now):
        self.seen.append(request)
        return self.next


@pytest.fixture
def server():
    server = Server(Echo())
    yield server
    server.close()


def http(**settings):
    return connect(fill_in(Connection, {"timeout": "1s", **settings}))


def ask(server, client=None, **answer):
    server.simulated.next = Answer(**answer) if answer else server.simulated.next
    client = client or http()
    return client.json(client.get(f"{server.url}/x", {"secret": "s3cret"}))


def test_what_is_sent(server):
    client = http()
    client.json(client.post(f"{server.url}/x", {"a": "ü"}, {"Authorization": "Bearer t"}))
    client.json(client.form(f"{server.url}/x", {"a": "b c"}))
    post, form = server.simulated.seen
    assert (
        json.loads(post.body) == {"a": "ü"}
        and post.headers["Content-Type"] == "application/json"
        and post.headers["User-Agent"].startswith("siemtap/")
    )
    assert (
        form.body == b"a=b+c"
        and form.headers["Content-Type"] == "application/x-www-form-urlencoded"
        and "Authorization" not in form.headers
    )


@pytest.mark.parametrize("body", [b'{"ok": 1}', b'\xef\xbb\xbf{"ok": 1}'])
def test_json_with_and_without_a_mark(server, body):
    assert ask(server, status=200, body=body) == {"ok": 1}


@pytest.mark.parametrize(
    "answer,error,narrower",
    [
        ({"status": 401, "body": b'{"errorMessages":["no"]}'}, AuthError, None),
        ({"status": 403, "body": b"{}"}, AuthError, None),
        ({"status": 404}, ConfigError, None),
        ({"status": 405}, ConfigError, None),
        ({"status": 400, "body": b'{"errorMessages":"bad"}'}, ConfigError, None),
        ({"status": 413}, Retry, True),
        ({"status": 429}, Retry, False),
        ({"status": 500}, Retry, True),
        ({"status": 502}, Retry, False),
        ({"status": 503}, Retry, False),
        ({"status": 504}, Retry, True),
        ({"status": 302, "headers": {"Location": "/y"}}, Retry, False),
        ({"status": 200, "body": b"<html>"}, Retry, False),
        ({"status": 200, "body": b"{"}, Malformed, None),
        ({"status": 200, "body": b""}, Malformed, None),
        ({"status": 200, "body": b"\xff\xfe"}, Malformed, None),
        ({"status": 200, "body": b"[" * 100_000}, Malformed, None),
        ({"status": 200, "body": b'{"ok": 1}', "cut": 3}, Retry, False),
        ({"status": 200, "body": b'{"ok": 1}', "delay": 1.5}, Retry, True),
        ({"status": 200, "body": b'{"ok": 1}   ', "drip": 0.3}, Retry, True),
    ],
    ids=str,
)
def test_a_bad_answer_says_what_happens_next(server, answer, error, narrower):
    with pytest.raises(error) as caught:
        ask(server, **answer)
    assert "GET" in str(caught.value) and "s3cret" not in str(caught.value)
    if narrower is not None:
        assert caught.value.narrower is narrower


def test_a_drip_does_not_outlast_the_deadline(server):
    began = time.monotonic()
    with pytest.raises(Retry, match="no end of the answer within 1 s"):
        ask(server, status=200, body=b" " * 100, drip=0.1)
    assert time.monotonic() - began < 2.5


def test_an_answer_of_very_much_is_asked_for_in_parts(server, monkeypatch):
    """Bytes and values are counted while they come; what is over is dropped, not kept by an
    error."""
    monkeypatch.setattr(bounds, "ELEMENTS", 1_000)
    monkeypatch.setattr(http_, "LARGEST_REPLY", 2 * 1024**2)
    packed = {"Content-Encoding": "gzip"}
    for body, headers, sentence in (
        (b"[" + b"{}," * 5_000 + b"0]", {}, "more than 1,000 values"),
        (gzip.compress(b"[" + b"{}," * 9_000_000 + b"0]"), packed, "more than 2 MiB in one"),
        (b" " * 3 * 1024**2, {}, "more than 2 MiB in one"),
        (gzip.compress(b" " * 90 * 1024**2), packed, "more than 2 MiB in one"),
    ):
        with pytest.raises(Malformed, match=sentence) as caught:
            ask(server, status=200, body=body, headers=headers)
        assert (
            "GET" in str(caught.value)
            and caught.traceback[-1].frame.f_locals.get("parts", []) == []
        )
    assert (
        ask(server, status=200, body=gzip.compress(b"[" + b"0," * 500 + b"0]"), headers=packed)
        == [0] * 501
    )
    with pytest.raises(Malformed, match="more than 1,000 values"):
        Reply(200, {}, b"[" + b"0," * 2_000 + b"0]").json()


def test_large_answers_share_their_room(server, monkeypatch):
    monkeypatch.setattr(http_, "SMALL_REPLY", 1_000_000)
    monkeypatch.setattr(http_, "LARGE_REPLIES", 3_000_000)
    large = b'"' + b"x" * 3_000_000 + b'"'
    assert len(ask(server, status=200, body=large)) == 3_000_000 and http_.LARGE.bytes == 0
    http_.LARGE.add(1_500_000)
    try:
        with pytest.raises(Retry, match="in all answers that are being read") as caught:
            ask(server, status=200, body=large)
        assert caught.value.narrower and http_.LARGE.bytes == 1_500_000
        assert len(ask(server, status=200, body=b'"' + b"x" * 900_000 + b'"')) == 900_000, (
            "small ones always pass"
        )
    finally:
        http_.LARGE.add(-1_500_000)


def test_an_answer_cut_short_is_not_an_answer(server):
    """Content-Length says more than came, and the connection ends cleanly."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = listener.accept()
        peer.recv(65536)
        peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok": 1}')
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = http()
    with pytest.raises(Retry, match="broke off"):
        client.json(client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
    thread.join()
    listener.close()


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = http()
    with pytest.raises(Retry, match="the connection failed"):
        client.json(client.get(f"http://127.0.0.1:{port}/"))


def test_nothing_from_the_environment(server, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert ask(server) == {"ok": 1}
    assert "Authorization" not in server.simulated.seen[0].headers


def test_a_proxy_with_a_password_full_of_signs(server):
    seen = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = listener.accept()
        seen.append(peer.recv(65536))
        peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{"ok": 2}')
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = http(
        proxy=f"http://127.0.0.1:{listener.getsockname()[1]}",
        proxy_user="me",
        proxy_password="a:b@/c%",
    )
    assert client.json(client.get("http://vendor.example.com/x")) == {"ok": 2}
    thread.join()
    listener.close()
    assert (
        b"GET http://vendor.example.com/x" in seen[0]
        and b"Proxy-Authorization: Basic bWU6YTpiQC9jJQ==" in seen[0]
    )


def test_no_cookie_is_kept(server):
    client = http()
    ask(server, client, status=200, headers={"Set-Cookie": "a=b"}, body=b"{}")
    ask(server, client)
    assert "Cookie" not in server.simulated.seen[1].headers


def test_gzip_of_the_real_kind():
    simulated = simulator.Simulator(simulator.Knobs(gzip=True))
    server = Server(simulated)
    client = http()
    said = client.json(
        client.form(
            f"{server.url}/siem/v1/getAuthToken",
            {
                "client_id": "demo",
                "client_secret": "demo-secret",
                "grant_type": "client_credentials",
            },
        )
    )
    assert said["token_type"] == "Bearer"
    server.close()


def test_faults_on_request_over_the_wire():
    import urllib.request

    server = Server(simulator.Simulator())
    fault = json.dumps(
        [{"call": "getAuthToken", "times": 1, "status": 503, "retry_after": "9"}]
    ).encode()
    urllib.request.urlopen(f"{server.url}/_simulator/faults", fault).close()
    client = http()
    with pytest.raises(Retry) as caught:
        client.json(client.form(f"{server.url}/siem/v1/getAuthToken", {}))
    assert caught.value.after == 9000
    with urllib.request.urlopen(f"{server.url}/_simulator/counts") as answer:
        assert json.load(answer) == {"getAuthToken": 1}
    server.close()


@pytest.fixture
def certificate(tmp_path):
    """A certificate of our own for 127.0.0.1."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return tmp_path


def test_tls_is_verified_unless_a_person_says_no(certificate):
    server = Server(Echo())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:") + "/x"
    client = http()
    with pytest.raises(Retry, match="TLS failed: .*ca_file"):
        client.json(client.get(url))
    client = http(ca_file=str(certificate / "cert.pem"))
    assert client.json(client.get(url)) == {"ok": 1}
    client = http(ca_file=str(certificate / "nowhere.pem"))
    with pytest.raises(ConfigError, match="ca_file"):
        client.json(client.get(url))
    pin = hashlib.sha256(
        ssl.PEM_cert_to_DER_cert((certificate / "cert.pem").read_text())
    ).hexdigest()
    for spelled in (pin, ":".join(pin[i : i + 2] for i in range(0, 64, 2)).upper()):
        client = http(fingerprint=spelled)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert client.json(client.get(url)) == {"ok": 1}
    client = http(fingerprint="0" * 64, verify="false")
    with pytest.raises(ConfigError, match="another certificate"):
        client.json(client.get(url))
    import urllib3

    client = http(verify="false")
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert client.json(client.get(url)) == {"ok": 1}
    server.close()


@pytest.mark.parametrize(
    "said,millis",
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
def test_retry_after(said, millis):
    assert wait(said, 1_772_625_600_000) == millis


@pytest.mark.parametrize(
    "body,said",
    [
        (b'{"errorMessages":["a","b"]}', "a; b"),
        (b'{"errorMessages":"a"}', "a"),
        (b'{"message":{"x":1}}', "{'x': 1}"),
        (b"[]", ""),
        (b"", ""),
        (b"\xff", ""),
        (b'{"error":null}', ""),
    ],
)
def test_what_an_error_says(body, said):
    request = Request("GET", "http://x")
    assert complaint(request, Reply(400, {}, b"[" * 2_000_000)) == ""
    assert complaint(request, Reply(400, {}, body)) == said


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
def test_an_error_that_quotes_the_request_shows_no_secret(sent, name):
    """As it is, and as JSON, a form, a page or Python spells it; in other letters; cut short by
    the other side, or by us."""
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
        said = complaint(
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
            "token-of" not in said.lower()
            and "ZGVtbzpl" not in said
            and "abs_ak" not in said
            and len(said) <= 300
        ), said
    assert (
        "of application/json"
        in complaint(request, Reply(400, {}, json.dumps({name: quoted[0]}).encode()))
        or len(quoted[0]) > 280
    )
    assert (
        complaint(
            request, Reply(400, {}, b'{"message": "startTime is no time; bearer of the key"}')
        )
        == "startTime is no time; bearer of the key"
    )


def test_an_error_that_quotes_a_password_of_signs_shows_it_in_no_spelling():
    request = SENT["form"]
    for text in (
        PASSWORD,
        quote(PASSWORD),
        json.dumps(PASSWORD),
        html.escape(PASSWORD),
        request.body.decode(),
    ):
        said = complaint(request, Reply(400, {}, json.dumps({"message": f"a {text} b"}).encode()))
        assert (
            "REDACTED" in said
            and 'p"w' not in said
            and "p%22" not in said
            and "p\\" not in said
            and "p&quot;" not in said
        )


def test_a_success_is_not_refused():
    refuse(Request("GET", "http://x"), Reply(200, {}, b"{}"), 0)


@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_ahead_keeps_the_order_and_bounds_what_flies(n):
    flying, most, lock = [0], [0], threading.Lock()

    def call(number):
        with lock:
            flying[0] += 1
            most[0] = max(most[0], flying[0])
        time.sleep(0.002 * (number % 3))
        with lock:
            flying[0] -= 1
        return number

    assert list(ahead(n, [lambda number=number: call(number) for number in range(40)])) == list(
        range(40)
    )
    assert most[0] <= n


def test_ahead_gives_what_came_before_an_error():
    def bad():
        raise Retry("no")

    got = []
    with pytest.raises(Retry):
        for result in ahead(3, [lambda: 1, lambda: 2, bad, lambda: 4]):
            got.append(result)
    assert got == [1, 2]


def test_a_fault_is_what_it_says():
    assert Fault(status=503, retry_after="5").answer(0).headers["Retry-After"] == "5"
    assert (
        Fault(retry_after="date:5").answer(1_772_625_600_000).headers["Retry-After"]
        == "Wed, 04 Mar 2026 12:00:05 GMT"
    )
