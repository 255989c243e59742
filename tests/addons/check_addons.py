"""The built add-ons, on every Python that Splunk has, with nothing else installed. `ci/bundle`
builds them and says where they are."""

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
from xml.sax.saxutils import escape

import pytest
from built import PLUGINS, PYTHONS, SECRETS, each_plugin, each_python, unpacked
from splunk_breaker import broken, props_of
from splunkd_stand_in import CUT, END, KEY, Splunkd
from tls import make

from siemtap import VERSION
from siemtap.core.manifest import describe
from siemtap.core.windows import MINUTE
from siemtap.runners import plugins, simulate
from siemtap.runners.names import addon, webhook
from siemtap.runners.simulate import Fault


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    """SPLUNK_HOME with all of them."""
    home = tmp_path_factory.mktemp("splunk")
    (home / "var/log/splunk").mkdir(parents=True)
    for plugin in PLUGINS:
        unpacked(plugin, home / "etc/apps")
    return home


@pytest.fixture
def splunk(request):
    server = Splunkd("", "")
    yield server
    server.close()


def start(home, python, plugin, words=(), said=""):
    app = addon(plugin)
    process = subprocess.Popen(
        [python, "-B", str(home / f"etc/apps/{app.name}/bin/{app.kind}.py"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"SPLUNK_HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd="/",
    )
    process.stdin.write(said.encode())
    process.stdin.close()
    process.stdin = None
    return process


def asked(splunk, home, plugin, stanza, **settings):
    params = "".join(
        f'<param name="{name}">{escape(str(value))}</param>'
        for name, value in {"interval": "60", "account": "main", **settings}.items()
    )
    return (
        '<?xml version="1.0"'
        f' encoding="UTF-8"?><input><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>{home}</checkpoint_dir><configuration><stanza'
        f' name="{plugin.name}://{stanza}"'
        f' app="{addon(plugin).name}">{params}</stanza></configuration></input>'
    )


def log(home, plugin):
    path = home / f"var/log/splunk/{addon(plugin).root}_{plugin.name}.log"
    return path.read_text() if path.exists() else ""


def indexed_of(out, home, plugin):
    """The events that splunkd makes of a stream, with the add-on's own props.conf; each one
    whole."""
    found = broken(
        out, props_of((home / f"etc/apps/{addon(plugin).name}/default/props.conf").read_text())
    )
    assert all(isinstance(json.loads(indexed.raw), dict) for indexed in found)
    return found


def ids(found):
    """How often each event came."""
    return collections.Counter(
        event.get("event.id") or event["event"]["id"]
        for event in (json.loads(indexed.raw) for indexed in found)
    )


@each_plugin
def test_what_is_on_the_pages(plugin, apps):
    app = apps / "etc/apps" / addon(plugin).name
    said = json.loads((app / "appserver/static/js/build/globalConfig.json").read_text())
    tabs = {tab.get("name") or tab["type"]: tab for tab in said["pages"]["configuration"]["tabs"]}
    account, service = (
        {entity["field"]: entity for entity in tabs["account"]["entity"]},
        {entity["field"]: entity for entity in said["pages"]["inputs"]["services"][0]["entity"]},
    )
    # Splunk's own
    for s in (s for s in describe(plugin.settings) if s["name"] != "interval"):
        place = account if s.get("of") == "account" else service
        assert (
            s["name"] in place
            and place[s["name"]]["help"] == s["help"].replace("`", "")
            and bool(place[s["name"]].get("encrypted")) == (s["kind"] == "secret")
        ), s["name"]
    spec = (app / "README/inputs.conf.spec").read_text()
    assert f"[{plugin.name}://<name>]" in spec and all(
        f"{name} = " in spec for name in service if name not in ("name",)
    )
    assert "python.version = python3" in (
        app / "default/inputs.conf"
    ).read_text() and "python.required = 3.13" in (app / "default/inputs.conf").read_text().replace(
        "3.9, ", ""
    )


@each_python
@each_plugin
def test_the_scheme_and_validation(plugin, python, apps, splunk):
    out, err = start(apps, python, plugin, ["--scheme"]).communicate(timeout=60)
    assert ElementTree.fromstring(out).findtext("streaming_mode") == "xml", err.decode()
    for params, good in (
        (
            (
                '<param name="account">main</param><param'
                f' name="{"lookback" if plugin.name != "centurylink_ips" else "our_url"}">{"1h" if plugin.name != "centurylink_ips" else "https://siem.example.com/x"}</param>'
            ),
            True,
        ),
        ('<param name="nonsense">1</param>', False),
    ):
        said = (
            f"<items><server_host>h</server_host><server_uri>https://192.0.2.1:8089</server_uri><session_key>{KEY}</session_key><checkpoint_dir>x</checkpoint_dir><item"
            f' name="first">{params}</item></items>'
        )
        began = time.monotonic()
        process = start(apps, python, plugin, ["--validate-arguments"], said)
        out, err = process.communicate(timeout=60)
        assert time.monotonic() - began < 20, (
            "whoever does not answer is not asked: splunkd waits half a minute, and no longer"
        )
        assert process.returncode == (0 if good else 1) and (
            not out if good else b"nonsense" in out
        ), (out, err.decode())


@each_python
@each_plugin
def test_a_stream_through_accidents_and_a_stop(plugin, python, apps, splunk):
    """429, 500, 401 (a token's end), SIGTERM in the middle, and on: the set of events is the
    truth."""
    vendor = simulate.Server(simulate.simulator(plugin.name, {}))
    app, stanza = addon(plugin), f"first_{PYTHONS.index(python)}"
    splunk.app, splunk.root = app.name, app.root
    splunk.documents[f"{app.root}_checkpoints"] = {}
    try:
        settings = {
            name: ",".join(value) if isinstance(value, list) else value
            for name, value in vendor.simulated.settings(vendor.url).items()
        }
        own = {s["name"]: s for s in describe(plugin.settings)}
        splunk.account(
            "main",
            {name: settings.pop(name) for name in SECRETS[plugin.name]},
            **{
                name: settings.pop(name)
                for name in list(settings)
                if own[name].get("of") == "account"
            },
        )
        if "lookback" in own:
            settings["lookback"] = "3h"
            vendor.simulated.faults.extend(
                [
                    Fault(call="", times=1, status=500),
                    Fault(call="", times=1, status=429, retry_after="1"),
                ]
            )
        else:
            settings.update(
                servers="VA1ACMEWEB01, VA1ACMEWEB02",
                our_url="https://siem.example.com/centurylink_ips/x",
            )
        began, outs = int(time.time() * 1000), []
        process = start(apps, python, plugin, said=asked(splunk, apps, plugin, stanza, **settings))
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        outs.append(out)
        for _ in range(3):
            # the one that was kept is no longer taken
            getattr(vendor.simulated, "tokens", {}).clear()
            process = start(
                apps, python, plugin, said=asked(splunk, apps, plugin, stanza, **settings)
            )
            out, err = process.communicate(timeout=120)
            outs.append(out)
        assert process.returncode == 0, log(apps, plugin)[-2000:] + err.decode()
        found = [indexed for out in outs if out for indexed in indexed_of(out, apps, plugin)]
        got = ids(found)
        assert (
            found
            and max(got.values()) == 1
            and {indexed.stanza for indexed in found} == {f"{plugin.name}://{stanza}"}
        )
        if "lookback" in own:
            must = vendor.simulated.ledger(began, began - 170 * MINUTE, began - 80 * MINUTE)
            assert len(must) > 20 and must <= set(got)
        assert all(secret not in log(apps, plugin) for secret in ("demo-secret", "demo-access"))
    finally:
        vendor.close()


SAYS = """import json, sys
sys.path.insert(0, sys.argv[1])
from siemtap.outputs.encode import encode
from siemtap.runners.splunk_pipe import escaped
for line in sys.stdin:
    sys.stdout.buffer.write(b"<data>" + escaped(encode({"v": json.loads(line)})) + b"</data>\\n")
"""


@each_python
def test_any_text_an_attacker_can_send_survives(python, apps):
    """By the bundle's own writer: what expat reads of it is the text again."""
    luck = random.Random(11)
    odd = [
        *map(chr, range(0x20)),
        "\x7f",
        "\x85",
        "\u2028",
        "\ufffe",
        "\uffff",
        "\ud800",
        "\udfff",
        "\ufeff",
        "😀",
        "ü",
        "<",
        "&",
        "]]>",
        '"',
        "\\",
        "\r\n",
        "</data>",
        "<!--",
        "&#0;",
    ]
    texts = [
        *odd,
        *(
            "".join(
                luck.choice([*odd, "a", chr(luck.randrange(0x110000))])
                for _ in range(luck.randrange(40))
            )
            for _ in range(2_000)
        ),
    ]
    asked_of = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run(
        [python, "-B", "-c", SAYS, str(apps / f"etc/apps/{addon(PLUGINS[0]).name}/lib")],
        input=asked_of.encode(),
        capture_output=True,
        timeout=120,
        check=True,
    )
    found = [
        json.loads(one.text)["v"]
        for one in ElementTree.fromstring(b"<stream>" + done.stdout + b"</stream>")
    ]
    assert found == [json.loads(json.dumps(text)) for text in texts]


@each_python
def test_an_alert_takes_clients_off_the_list(python, apps, splunk):
    vendor, plugin = (
        simulate.Server(simulate.simulator("pingintelligence", {"role": "admin"})),
        plugins.plugin("pingintelligence"),
    )
    app = addon(plugin)
    splunk.app, splunk.root = app.name, app.root
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {name: settings[name] for name in SECRETS[plugin.name]},
        role="admin",
        url=",".join(settings["url"]) if isinstance(settings["url"], list) else settings["url"],
    )

    def fired(**said):
        process = subprocess.Popen(
            [
                python,
                "-B",
                str(apps / f"etc/apps/{app.name}/bin/pingintelligence_unblock.py"),
                "--execute",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"SPLUNK_HOME": str(apps), "PATH": "/usr/bin:/bin"},
            cwd="/",
        )
        out, err = process.communicate(
            json.dumps(
                {
                    "server_uri": splunk.url,
                    "session_key": KEY,
                    "search_name": "Attackers",
                    "result": {},
                    "configuration": said,
                }
            ).encode(),
            timeout=60,
        )
        return process.returncode, err.decode()

    try:
        assert fired(account="main", ip="192.0.2.11, 192.0.2.12", username="$result.user$") == (
            0,
            "",
        )
        asked = [call for call in vendor.simulated.counts if "attacklist" in call]
        assert asked and "2 ips" in log(apps, plugin) and "Attackers" in log(apps, plugin)
        before = dict(vendor.simulated.counts)
        assert (
            fired(account="main", ip="", username="$result.user$") == (0, "")
            and vendor.simulated.counts == before
        ), "nobody is named: nothing is asked"
        code, err = fired(account="nobody", ip="192.0.2.11")
        assert code == 1 and 'there is no account "nobody"' in err
    finally:
        vendor.close()


@each_python
@each_plugin
def test_the_next_version_goes_on_where_this_one_was(plugin, python, tmp_path, splunk):
    """1.0.0 with local configuration and marks; the next version over it, as Splunk unpacks one."""
    app = addon(plugin)
    folder = unpacked(plugin, tmp_path / "etc/apps")
    for path in (folder / "app.manifest", folder / "default/app.conf"):
        path.write_text(path.read_text().replace(VERSION, "1.0.0"))
    (folder / "local").mkdir()
    (folder / "local/inputs.conf").write_text(
        f"[{plugin.name}://first]\naccount = main\ninterval = 60\n"
    )
    (folder / "default/retired.conf").write_text("[x]\n")
    vendor = simulate.Server(simulate.simulator(plugin.name, {}))
    splunk.app, splunk.root = app.name, app.root
    splunk.documents[f"{app.root}_checkpoints"] = {}
    try:
        own = {s["name"]: s for s in describe(plugin.settings)}
        settings = {
            name: ",".join(value) if isinstance(value, list) else value
            for name, value in vendor.simulated.settings(vendor.url).items()
        }
        splunk.account(
            "main",
            {name: settings.pop(name) for name in SECRETS[plugin.name]},
            **{
                name: settings.pop(name)
                for name in list(settings)
                if own[name].get("of") == "account"
            },
        )
        settings.update(
            {"lookback": "2h"}
            if "lookback" in own
            else {
                "servers": "VA1ACMEWEB01",
                "our_url": "https://siem.example.com/centurylink_ips/x",
            }
        )

        def cycle():
            out, err = start(
                tmp_path, python, plugin, said=asked(splunk, tmp_path, plugin, "first", **settings)
            ).communicate(timeout=120)
            return set(ids(indexed_of(out, tmp_path, plugin)))

        (tmp_path / "var/log/splunk").mkdir(parents=True)
        before, marks = cycle(), dict(splunk.documents[f"{app.root}_checkpoints"])
        unpacked(plugin, tmp_path / "etc/apps")
        assert (
            VERSION in (folder / "app.manifest").read_text()
            and "account = main" in (folder / "local/inputs.conf").read_text()
        )
        assert (
            before
            and set(splunk.documents[f"{app.root}_checkpoints"]) == set(marks)
            and cycle().isdisjoint(before)
        ), "from the marks of 1.0.0"
    finally:
        vendor.close()


class Receiver:
    """The webhook's process, its output read as splunkd does."""

    def __init__(self, python, home, plugin, said):
        self.home, self.plugin, self.app = home, plugin, webhook(addon(plugin))
        known = len(self.log())
        self.process = subprocess.Popen(
            [python, "-B", str(home / f"etc/apps/{self.app.name}/bin/{self.app.kind}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"SPLUNK_HOME": str(home), "PATH": "/usr/bin:/bin"},
            cwd="/",
        )
        self.process.stdin.write(said.encode())
        self.process.stdin.close()
        self.out = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        deadline = time.monotonic() + 30
        while not (
            found := re.search(r"listening at (https://127\.0\.0\.1:\d+)", self.log()[known:])
        ):
            assert time.monotonic() < deadline and self.process.poll() is None, self.log()
            time.sleep(0.05)
        self.url = f"{found[1]}/{plugin.name}/{SECRET}"

    def log(self):
        path = self.home / f"var/log/splunk/{self.app.root}_{self.app.kind}.log"
        return path.read_text() if path.exists() else ""

    def _read(self):
        while part := self.process.stdout.read1(65_536):
            self.out += part

    def post(self, body, headers, url=""):
        """The status, or 0 where there was no answer."""
        asked = urllib.request.Request(
            url or self.url, body, {"Content-Type": "application/json", **headers}, method="POST"
        )
        try:
            with urllib.request.urlopen(
                asked,
                timeout=10,
                context=ssl.create_default_context(cafile=str(self.home / "cert.pem")),
            ) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def end(self, how):
        self.process.send_signal(how)
        code = self.process.wait(30)
        self.reader.join(10)
        self.process.stdout.close()
        return code

    def ids(self):
        """Of the events that were whole when the process ended, however it did."""
        whole = (
            self.out[: self.out.rfind(b"</event>") + len(b"</event>")]
            if b"</event>" in self.out
            else b"<stream>"
        )
        return ids(indexed_of(whole + b"</stream>", self.home, self.plugin))


SECRET = "a-secret-of-the-webhook"
sys.setrecursionlimit(20_000)  # what strangers send is nested, and so is what is written of it
# What ended the process once, at every start again; each with a word of its own
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
def test_the_webhook_of_a_heavy_forwarder(python, apps, splunk):
    """What was answered with 204 is in the stream, whatever ends the process; what a sender
    repeats is there once."""
    plugin, stanza = plugins.plugin("centurylink_ips"), f"here_{PYTHONS.index(python)}"
    app = webhook(addon(plugin))
    splunk.app, splunk.root = app.name, app.root
    make(apps)
    realm = f"__REST_CREDENTIAL__#{app.name}#data/inputs/{app.kind}"
    splunk.password(realm, f"{stanza}{CUT}1", json.dumps({"secret": SECRET}) + END)
    said = (
        asked(
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
    sender, luck, now = (
        simulate.simulator(
            "centurylink_ips", {"formats": ("json", "array", "wrapper", "slack", "form")}
        ),
        random.Random(5),
        int(time.time() * 1000),
    )
    acknowledged, got, number, shown = set(), collections.Counter(), 0, ""
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        receiver = Receiver(python, apps, plugin, said)
        assert receiver.post(b"{}", {}, receiver.url + "x") == 404 and receiver.post(
            b"x" * 2**21, {}
        ) in (413, 0)
        assert {receiver.post(body, {}) for body in ODD} == {204}
        until = number + luck.randint(60, 120)
        while number < until:
            sent = sender.sent(number, now + number)
            number += 1
            for _ in range(1 + (number % 7 == 0)):  # some senders repeat
                if receiver.post(sent.body, dict(sent.headers)) == 204:
                    acknowledged |= set(sent.ids)
        time.sleep(luck.uniform(0, 0.4))
        code = receiver.end(how)
        assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL), receiver.log()[-2000:]
        if how == signal.SIGTERM:
            ElementTree.fromstring(receiver.out)  # whole, to the last tag
        got += receiver.ids()
        shown += receiver.out.decode("utf-8", "replace")
    receiver = Receiver(python, apps, plugin, said)
    time.sleep(1.5)
    assert receiver.end(signal.SIGTERM) == 0
    got += receiver.ids()
    assert len(acknowledged) > 200 and acknowledged <= set(got)
    assert not [number for number in range(len(ODD)) if f"odd-{number}" not in shown]
    assert sum(count - 1 for count in got.values()) <= 2 * 120, (
        "twice is only what was in the pipe when the process was killed"
    )
    assert SECRET not in receiver.log()
