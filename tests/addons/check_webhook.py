"""The webhook of a built add-on with malformed payloads, stops and kills."""

import collections
import json
import random
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from xml.etree import ElementTree

from built import PYTHONS, each_python
from splunk_addon import ids, indexed_of, stdin_of
from splunkd_stand_in import CUT, END
from tls import make

from siemtap.render import registry
from siemtap.splunk.runtime.names import addon, webhook_app
from siemtap.testing import simulation


class Receiver:
    """The process of a webhook, with its output."""

    def __init__(self, python, home, plugin, stdin):
        self.home, self.plugin, self.app = home, plugin, webhook_app(addon(plugin))
        known = len(self.log())
        self.process = subprocess.Popen(
            [python, "-B", str(home / f"etc/apps/{self.app.name}/bin/{self.app.kind}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"SPLUNK_HOME": str(home), "PATH": "/usr/bin:/bin"},
            cwd="/",
        )
        self.process.stdin.write(stdin.encode())
        self.process.stdin.close()
        self.out = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        deadline = time.monotonic() + 300
        while not (
            match := re.search(r"listening at (https://127\.0\.0\.1:\d+)", self.log()[known:])
        ):
            assert time.monotonic() < deadline and self.process.poll() is None, self.log()
            time.sleep(0.05)
        self.url = f"{match[1]}/{plugin.name}/{SECRET}"

    def log(self):
        path = self.home / f"var/log/splunk/{self.app.root}_{self.app.kind}.log"
        return path.read_text() if path.exists() else ""

    def _read(self):
        while part := self.process.stdout.read1(65_536):
            self.out += part

    def post(self, body, headers, url=""):
        """Post a payload, and return the status; 0 if there is no answer."""
        request = urllib.request.Request(
            url or self.url, body, {"Content-Type": "application/json", **headers}, method="POST"
        )
        try:
            with urllib.request.urlopen(
                request,
                timeout=300,
                context=ssl.create_default_context(cafile=str(self.home / "cert.pem")),
            ) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def end(self, how):
        self.process.send_signal(how)
        code = self.process.wait(300)
        self.reader.join(300)
        self.process.stdout.close()
        return code

    def ids(self):
        """Return how often each event id is there, of completely written events."""
        whole = (
            self.out[: self.out.rfind(b"</event>") + len(b"</event>")]
            if b"</event>" in self.out
            else b"<stream>"
        )
        return ids(indexed_of(whole + b"</stream>", self.home, self.plugin))


SECRET = "a-secret-of-the-webhook"
sys.setrecursionlimit(
    20_000
)  # senders may send nested JSON, which is then nested in the event as well
# Payloads that once ended the process at every start; each contains a word to find it by
ODD = [
    json.dumps(
        {"reason": f"odd-{number}", "sourceIP": "192.0.2.1", "hostName": "VA1ACMEWEB01", **more}
    ).encode()
    for number, more in enumerate(
        (
            *(
                {name: time for name in ("startTime", "endTime", "driverTime")}
                for time in (
                    "Thu Mar 05 03:39:12 UTC 0999",
                    "Thu Mar 05 03:39:12 UTC 0001",
                    "Fri Dec 31 23:59:59 PST 9999",
                    "0999-03-05T03:39:12Z",
                )
            ),
            {"data": "\ud800", "hostName": "\udfff"},
            {"tags": "\x00\ufffe"},
            {"severity": 10**400},
        )
    )
]
ODD.append(b'{"reason":"odd-' + b"%d" % len(ODD) + b'","tags":' + b"[" * 960 + b"]" * 960 + b"}")
ODD.append(
    b'{"reason":"odd-' + b"%d" % len(ODD) + b'","tags":' + b'{"a":' * 3_000 + b"1" + b"}" * 3_001
)


@each_python
def test_webhook_of_a_heavy_forwarder(python, apps, splunk):
    """Each payload answered with 204 is in the stream, even after a kill, and a repeated one is
    there once."""
    plugin, stanza = registry.plugin("centurylink_ips"), f"here_{PYTHONS.index(python)}"
    app = webhook_app(addon(plugin))
    splunk.app, splunk.root = app.name, app.root
    make(apps)
    realm = f"__REST_CREDENTIAL__#{app.name}#data/inputs/{app.kind}"
    splunk.password(realm, f"{stanza}{CUT}1", json.dumps({"secret": SECRET}) + END)
    stdin = (
        stdin_of(
            splunk,
            apps,
            plugin,
            stanza,
            listen="127.0.0.1:0",
            secret="******",
            certificate=str(apps / "cert.pem"),
            key=str(apps / "key.pem"),
            interval="10",
        )
        .replace(f"{plugin.name}://", f"{app.kind}://")
        .replace('<param name="account">main</param>', "")
    )
    sender, rng, now = (
        simulation.simulator(
            "centurylink_ips", {"formats": ("json", "array", "wrapper", "slack", "form")}
        ),
        random.Random(5),
        int(time.time() * 1000),
    )
    acknowledged, got, number, shown = set(), collections.Counter(), 0, ""
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        receiver = Receiver(python, apps, plugin, stdin)
        assert receiver.post(b"{}", {}, receiver.url + "x") == 404 and receiver.post(
            b"x" * 2**21, {}
        ) in (413, 0)
        assert {receiver.post(body, {}) for body in ODD} == {204}
        until = number + rng.randint(60, 120)
        while number < until:
            sent = sender.sent(number, now + number)
            number += 1
            for _ in range(1 + (number % 7 == 0)):  # some senders repeat a payload
                if receiver.post(sent.body, dict(sent.headers)) == 204:
                    acknowledged |= set(sent.ids)
        time.sleep(rng.uniform(0, 0.4))
        code = receiver.end(how)
        assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL), receiver.log()[-2000:]
        if how == signal.SIGTERM:
            ElementTree.fromstring(receiver.out)  # complete, up to the last tag
        got += receiver.ids()
        shown += receiver.out.decode("utf-8", "replace")
    receiver = Receiver(python, apps, plugin, stdin)
    time.sleep(1.5)
    assert receiver.end(signal.SIGTERM) == 0
    got += receiver.ids()
    assert len(acknowledged) > 200 and acknowledged <= set(got)
    assert not [number for number in range(len(ODD)) if f"odd-{number}" not in shown]
    assert sum(count - 1 for count in got.values()) <= 2 * 120, (
        "only events in the pipe at the kill may be duplicated"
    )
    assert SECRET not in receiver.log()
