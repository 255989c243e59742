"""The listeners with real clients: rsyslog, curl, openssl, Java; and with thousands of idle
connections."""

import contextlib
import json
import re
import resource
import shutil
import socket
import subprocess
import time
import urllib.request

import bench_receive
import pytest
from centurylink_ips.simulator import Knobs, Simulator
from processes import HANG, Process, wait_for
from tls import make

pytestmark = pytest.mark.slow
SECRET = "a-secret-of-sixteen-and-more"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def receiver(tmp_path, **more):
    """Run a receiver that writes events into files; yield (process, its addresses)."""
    settings = {
        "listen": "127.0.0.1:0",
        "secret": SECRET,
        "syslog": ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"],
        **more,
    }
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.enabled: false\noutput.file: {{path:"
        f" {tmp_path}/out}}\ninputs:\n  - type: centurylink_ips\n"
        + "".join(f"    {name}: {json.dumps(value)}\n" for name, value in settings.items())
    )
    process = Process(path)
    try:
        yield (
            process,
            process.until(r"listening at (.*)\n")[1].replace("<secret>", SECRET).split(", "),
        )
    finally:
        assert process.end() == 0


def events(tmp_path):
    return [
        json.loads(line)
        for file in (tmp_path / "out").glob("*.ndjson*")
        for line in file.read_bytes().splitlines()
    ]


def messages(number, *formats):
    """Return the events that the vendor sends in so many seconds."""
    return list(
        Simulator(Knobs(rate=1.0, formats=formats)).pushed(
            1_772_618_400_000, 1_772_618_400_000 + number * 1000
        )
    )


@pytest.mark.parametrize("protocol, framing", [("udp", ""), ("tcp", ""), ("tcp", "octet-counted")])
def test_rsyslog_as_a_relay(tmp_path, protocol, framing):
    assert shutil.which("rsyslogd"), "rsyslog is missing: ci/tools installs it"
    pushed = messages(200, "cef_line")
    with receiver(tmp_path) as (_, addresses):
        port = next(address for address in addresses if address.startswith(protocol)).rsplit(
            ":", 1
        )[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            entry = free.getsockname()[1]
        newline = "" if framing else "\\n"
        template = (
            'template(name="t" type="string" string="<%PRI%>%TIMESTAMP% %HOSTNAME%'
            f' %syslogtag%%msg%{newline}")'
        )
        (tmp_path / "rsyslog.conf").write_text(
            f'global(workDirectory="{tmp_path}"'
            ' maxMessageSize="64k")\nmodule(load="imudp")\ninput(type="imudp" address="127.0.0.1"'
            f' port="{entry}")\n{template}\naction(type="omfwd" target="127.0.0.1" port="{port}"'
            f' protocol="{protocol}"'
            f' template="t"{f" TCP_Framing={chr(34)}{framing}{chr(34)}" if framing else ""})\n'
        )
        relay = subprocess.Popen(
            [
                shutil.which("rsyslogd"),
                "-n",
                "-f",
                str(tmp_path / "rsyslog.conf"),
                "-i",
                str(tmp_path / "rsyslog.pid"),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(1.0)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                for number, message in enumerate(pushed):
                    out.sendto(b"<134>Mar  4 10:02:13 dsm01 " + message.body, ("127.0.0.1", entry))
                    if number % 50 == 49:
                        time.sleep(0.05)
            wait_for(lambda: len(events(tmp_path)) >= 200)
        finally:
            relay.terminate()
            relay.wait(HANG)
    delivered = events(tmp_path)
    assert len(delivered) == 200
    assert {event["centurylink_ips"]["data"] for event in delivered} == {
        re.search(r"PacketData=(\S+)", message.body.decode())[1].replace("\\=", "=")
        for message in pushed
    }
    assert {
        (
            event["log"]["syslog"]["facility"]["code"],
            event["log"]["syslog"]["hostname"],
            event["centurylink_ips"]["channel"],
        )
        for event in delivered
    } == {(16, "dsm01", "cef")}


def test_curl_and_openssl(tmp_path, certificate):
    message, other = messages(2, "json")
    with receiver(
        tmp_path,
        certificate=str(certificate / "cert.pem"),
        key=str(certificate / "key.pem"),
        syslog=["tls://127.0.0.1:0"],
    ) as (_, addresses):

        def curl(*arguments):
            return subprocess.run(
                [
                    "curl",
                    "-sS",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code}",
                    "--noproxy",
                    "*",
                    "--cacert",
                    str(certificate / "cert.pem"),
                    *arguments,
                ],
                capture_output=True,
                text=True,
                timeout=300,
            ).stdout

        webhook, tls = addresses
        (tmp_path / "body").write_bytes(message.body)
        assert (
            curl(
                "-X",
                "POST",
                "--data-binary",
                f"@{tmp_path}/body",
                "-H",
                "Content-Type: application/json",
                webhook,
            )
            == "204"
        )
        assert (
            curl(
                "-X",
                "POST",
                "--data-binary",
                f"@{tmp_path}/body",
                "-H",
                "Transfer-Encoding: chunked",
                "-H",
                "Expect: 100-continue",
                "--http1.1",
                webhook,
            )
            == "204"
        )
        assert (
            curl(
                "--http1.0",
                "-X",
                "POST",
                "--data-binary",
                other.body.decode(),
                "-H",
                f"X-Siemtap-Secret: {SECRET}",
                webhook.replace(f"/{SECRET}", ""),
            )
            == "204"
        )
        assert (curl(webhook), curl("-X", "POST", "-d", "{}", webhook[:-1])) == ("405", "404")
        host = tls.partition("://")[2]
        openssl = subprocess.run(
            [
                "openssl",
                "s_client",
                "-quiet",
                "-no_ign_eof",
                "-connect",
                host,
                "-CAfile",
                str(certificate / "cert.pem"),
                "-verify_return_error",
            ],
            input=messages(3, "cef")[2].body + b"\n",
            capture_output=True,
            timeout=300,
        )
        wait_for(lambda: len(events(tmp_path)) == 3)
        assert b"error" not in openssl.stderr.lower()
    assert sorted(event["centurylink_ips"]["channel"] for event in events(tmp_path)) == [
        "cef",
        "webhook",
        "webhook",
    ]


JAVA = """
import java.net.URI;
import java.net.http.*;
public class Post {
    public static void main(String[] words) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int number = 1; number < words.length; number++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(words[0])).POST(HttpRequest.BodyPublishers.ofString(words[number])).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version());
        }
    }
}
"""


def test_clients_that_offer_http_2(tmp_path):
    """curl --http2 and Java's HttpClient offer h2c with every request to http://. A request
    answered with 204 is delivered."""
    pushed = messages(6, "json")
    with receiver(tmp_path, syslog=[]) as (_, addresses):
        for message in pushed[:3]:
            (tmp_path / "body").write_bytes(message.body)
            done = subprocess.run(
                [
                    "curl",
                    "-sSv",
                    "--http2",
                    "--noproxy",
                    "*",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code} %{http_version}",
                    "--data-binary",
                    f"@{tmp_path}/body",
                    addresses[0],
                ],
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.stdout == "204 1.1" and "> Upgrade: h2c" in done.stderr
        assert shutil.which("java"), "java is missing: ci/tools installs it"
        (tmp_path / "Post.java").write_text(JAVA)
        done = subprocess.run(
            [
                "java",
                str(tmp_path / "Post.java"),
                addresses[0],
                *(message.body.decode() for message in pushed[3:]),
            ],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.stdout.split("\n") == ["204 HTTP_1_1"] * 3 + [""], done.stderr
        wait_for(lambda: len(events(tmp_path)) == 6)
    assert {event["event"]["id"] for event in events(tmp_path)} == {
        id for message in pushed for id in message.ids
    }


def test_two_thousand_idle_connections_do_not_block_others(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    number = min(2_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    with receiver(tmp_path) as (_, addresses), contextlib.ExitStack() as stack:
        webhook, _, tcp = addresses
        for place in (webhook.split("/")[2], tcp.partition("://")[2]):
            host, port = place.split(":")
            for _ in range(number // 2):
                stack.enter_context(socket.create_connection((host, int(port))))
        for message in messages(40, "json"):
            assert (
                urllib.request.urlopen(
                    urllib.request.Request(webhook, message.body, method="POST"), timeout=300
                ).status
                == 204
            )
        wait_for(lambda: len(events(tmp_path)) == 40)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert number == 2_000, f"only {number} connections: the limit of open files is too low"


# A short version of ci/bench receive: nothing may be lost. Speed is not tested.


def test_acknowledged_events_are_delivered(capsys):
    _, _, taken, missing, memory = bench_receive.webhook(rate=300, seconds=4)
    assert taken > 0 and missing == 0 and memory < 200


def test_acknowledged_events_are_delivered_after_kill_9():
    taken, missing, twice = bench_receive.killed(rate=200, kills=4)
    assert taken > 0 and (missing, twice) == (0, 0)


def test_datagrams_are_delivered():
    """No more than the kernel holds for a receiver that does not run at the time."""
    sent, arrived = bench_receive.udp(rate=300, seconds=1)
    assert sent == arrived > 0
