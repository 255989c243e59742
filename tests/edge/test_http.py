"""The HTTP client over real sockets, against a server that misbehaves."""

import base64
import datetime
import gzip
import hashlib
import json
import socket
import ssl
import threading
import warnings

import pytest
from edge import echo_server
from edge.echo_server import EchoServer, ask, http

from apptrana import simulator
from siemtap.core import bounds
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.edge.client import sender
from siemtap.edge.client.messages import Reply
from siemtap.testing.simulation import Server

# fixtures
server = echo_server.server


def test_requests_have_body_and_headers(server):
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
def test_json_with_and_without_a_byte_order_mark(server, body):
    assert ask(server, status=200, body=body) == {"ok": 1}


@pytest.mark.slow
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
def test_each_bad_answer_has_its_error(server, answer, error, narrower):
    with pytest.raises(error) as caught:
        ask(server, **answer)
    assert "GET" in str(caught.value) and "s3cret" not in str(caught.value)
    if narrower is not None:
        assert caught.value.narrower is narrower


def test_slow_answer_does_not_outlast_the_deadline(server):
    with pytest.raises(Retry, match="the answer did not end within 1 s"):
        ask(server, status=200, body=b" " * 100, drip=0.1)


@pytest.mark.slow
def test_answer_that_is_too_large_is_requested_in_parts(server, monkeypatch):
    """Bytes and values are counted while they are read. The answer is not kept by the error."""
    monkeypatch.setattr(bounds, "MAX_VALUES", 1_000)
    monkeypatch.setattr(sender, "LARGEST_REPLY", 2 * 1024**2)
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


def test_concurrent_large_answers_share_a_limit(server, monkeypatch):
    monkeypatch.setattr(sender, "SMALL_REPLY", 1_000_000)
    monkeypatch.setattr(sender, "LARGE_REPLIES", 3_000_000)
    large = b'"' + b"x" * 3_000_000 + b'"'
    assert len(ask(server, status=200, body=large)) == 3_000_000 and sender.LARGE.bytes == 0
    sender.LARGE.add(1_500_000)
    try:
        with pytest.raises(Retry, match="in all answers that are being read") as caught:
            ask(server, status=200, body=large)
        assert caught.value.narrower and sender.LARGE.bytes == 1_500_000
        assert len(ask(server, status=200, body=b'"' + b"x" * 900_000 + b'"')) == 900_000, (
            "small answers must pass"
        )
    finally:
        sender.LARGE.add(-1_500_000)


def test_answer_shorter_than_its_length_is_an_error(server):
    """Content-Length is larger than the body, and the connection is closed normally."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = listener.accept()
        peer.recv(65536)
        peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok": 1}')
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = http()
    with pytest.raises(Retry, match="was interrupted"):
        client.json(client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
    thread.join()
    listener.close()


def test_connection_refused_is_retried():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = http()
    with pytest.raises(Retry, match="the connection failed"):
        client.json(client.get(f"http://127.0.0.1:{port}/"))


def test_proxy_and_netrc_of_the_environment_are_ignored(server, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert ask(server) == {"ok": 1}
    assert "Authorization" not in server.simulated.seen[0].headers


@pytest.mark.parametrize(
    "password", ["a:b@/c%", "caf\xe9", "\u20ac", "\u5bc6\u7801 \U0001f600", "a%20b+c"], ids=ascii
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_password_with_special_characters(scheme, password):
    """It is sent in UTF-8, to a proxy for HTTP and to one that tunnels."""
    seen = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = listener.accept()
        seen.append(peer.recv(65536))
        answer = b"200 OK" if scheme == "http" else b"502 Bad Gateway"
        peer.sendall(
            b"HTTP/1.1 " + answer + b'\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{"ok": 2}'
        )
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = http(
        proxy=f"http://127.0.0.1:{listener.getsockname()[1]}",
        proxy_user="me",
        proxy_password=password,
    )
    request = client.get(f"{scheme}://vendor.example.com/x")
    if scheme == "http":
        assert client.json(request) == {"ok": 2}
    else:
        with pytest.raises(Retry, match="the proxy failed"):
            client.json(request)
    thread.join()
    listener.close()
    first = b"GET http://vendor.example.com/x" if scheme == "http" else b"CONNECT vendor"
    header = b"Proxy-Authorization: Basic " + base64.b64encode(f"me:{password}".encode())
    assert seen[0].startswith(first) and header + b"\r\n" in seen[0]


def test_cookies_are_not_kept(server):
    client = http()
    ask(server, client, status=200, headers={"Set-Cookie": "a=b"}, body=b"{}")
    ask(server, client)
    assert "Cookie" not in server.simulated.seen[1].headers


def test_gzip_answer():
    simulated = simulator.Simulator(simulator.Knobs(gzip=True))
    server = Server(simulated)
    client = http()
    body = client.json(
        client.form(
            f"{server.url}/siem/v1/getAuthToken",
            {
                "client_id": "demo",
                "client_secret": "demo-secret",
                "grant_type": "client_credentials",
            },
        )
    )
    assert body["token_type"] == "Bearer"
    server.close()


def test_faults_of_the_simulator_over_http():
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
    """Return a self-signed certificate for 127.0.0.1."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
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
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return tmp_path


def test_tls_is_verified_unless_switched_off(certificate):
    server = Server(EchoServer())
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
    for fingerprint in (pin, ":".join(pin[i : i + 2] for i in range(0, 64, 2)).upper()):
        client = http(fingerprint=fingerprint)
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
