"""The built add-ons on each of Splunk's Python versions, with nothing else installed.
`ci/bundle` builds them."""

import json
import random
import re
import signal
import subprocess
import time
from xml.etree import ElementTree

from built import PLUGINS, PYTHONS, SECRETS, each_plugin, each_python, unpacked
from splunk_addon import ids, indexed_of, log, start, stdin_of
from splunkd_stand_in import KEY

from siemtap import VERSION
from siemtap.core.manifest import describe
from siemtap.core.windows import MINUTE
from siemtap.render import registry
from siemtap.splunk.runtime.names import addon
from siemtap.testing import simulation
from siemtap.testing.simulation import Fault


@each_plugin
def test_pages_and_spec_have_every_setting(plugin, apps):
    app = apps / "etc/apps" / addon(plugin).name
    config = json.loads((app / "appserver/static/js/build/globalConfig.json").read_text())
    tabs = {tab.get("name") or tab["type"]: tab for tab in config["pages"]["configuration"]["tabs"]}
    account, service = (
        {entity["field"]: entity for entity in tabs["account"]["entity"]},
        {entity["field"]: entity for entity in config["pages"]["inputs"]["services"][0]["entity"]},
    )
    # Splunk adds `interval` itself
    for s in (s for s in describe(plugin.settings) if s["name"] != "interval"):
        if s.get("of") == "shipper":
            assert s["name"] not in {**account, **service}
            continue
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


@each_plugin
def test_sample_data_is_there_and_generates_nothing_by_itself(plugin, apps):
    app = apps / "etc/apps" / addon(plugin).name
    names = {path.name for path in (app / "samples").iterdir()}
    assert names == {"eventgen.conf", *(f"{dataset.name}.sample" for dataset in plugin.datasets)}
    assert not (app / "default/eventgen.conf").exists()


@each_python
@each_plugin
def test_scheme_and_validation(plugin, python, apps, splunk):
    out, err = start(apps, python, plugin, ["--scheme"]).communicate(timeout=300)
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
        stdin = (
            f"<items><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>x</checkpoint_dir><item"
            f' name="first">{params}</item></items>'
        )
        process = start(apps, python, plugin, ["--validate-arguments"], stdin)
        out, err = process.communicate(timeout=300)
        assert splunk.requests == [], "validation must not call the network: splunkd waits for it"
        assert process.returncode == (0 if good else 1) and (
            not out if good else b"nonsense" in out
        ), (out, err.decode())


@each_python
@each_plugin
def test_events_are_complete_after_faults_and_sigterm(plugin, python, apps, splunk):
    """After 429, 500, 401 and SIGTERM the events are complete, without duplicates."""
    vendor = simulation.Server(simulation.simulator(plugin.name, {}))
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
        started_at, outs = int(time.time() * 1000), []
        process = start(
            apps, python, plugin, stdin=stdin_of(splunk, apps, plugin, stanza, **settings)
        )
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
        outs.append(out)
        for _ in range(3):
            # the stored token is no longer accepted
            getattr(vendor.simulated, "tokens", {}).clear()
            process = start(
                apps, python, plugin, stdin=stdin_of(splunk, apps, plugin, stanza, **settings)
            )
            out, err = process.communicate(timeout=300)
            outs.append(out)
        assert process.returncode == 0, log(apps, plugin)[-2000:] + err.decode()
        indexed_events = [
            indexed for out in outs if out for indexed in indexed_of(out, apps, plugin)
        ]
        counts = ids(indexed_events)
        assert (
            indexed_events
            and max(counts.values()) == 1
            and {indexed.stanza for indexed in indexed_events} == {f"{plugin.name}://{stanza}"}
        )
        if "lookback" in own:
            must = vendor.simulated.ledger(
                started_at, started_at - 170 * MINUTE, started_at - 80 * MINUTE
            )
            assert len(must) > 20 and must <= set(counts)
        assert all(secret not in log(apps, plugin) for secret in ("demo-secret", "demo-access"))
    finally:
        vendor.close()


WRITER = """import json, sys
sys.path.insert(0, sys.argv[1])
from siemtap.edge.encode import encode
from siemtap.splunk.runtime.pipe import escape_line
for line in sys.stdin:
    sys.stdout.buffer.write(b"<data>" + escape_line(encode({"v": json.loads(line)})) + b"</data>\\n")
"""


@each_python
def test_any_text_is_written_as_valid_xml(python, apps):
    """expat reads each text back from the output of the add-on. Half of a surrogate pair, which no
    UTF-8 has, becomes U+FFFD."""
    rng = random.Random(11)
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
                rng.choice([*odd, "a", chr(rng.randrange(0x110000))])
                for _ in range(rng.randrange(40))
            )
            for _ in range(2_000)
        ),
    ]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run(
        [python, "-B", "-c", WRITER, str(apps / f"etc/apps/{addon(PLUGINS[0]).name}/lib")],
        input=lines.encode(),
        capture_output=True,
        timeout=300,
        check=True,
    )
    values = [
        json.loads(element.text)["v"]
        for element in ElementTree.fromstring(b"<stream>" + done.stdout + b"</stream>")
    ]
    assert values == [
        re.sub("[\ud800-\udfff]", "\ufffd", json.loads(json.dumps(text))) for text in texts
    ]


@each_python
def test_alert_action_unblocks_clients(python, apps, splunk):
    vendor, plugin = (
        simulation.Server(simulation.simulator("pingintelligence", {"role": "admin"})),
        registry.plugin("pingintelligence"),
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

    def run_action(**parameters):
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
                    "search_name": 'Attackers of "shop"',
                    "sid": "scheduler__admin__search__RMD5_at_1",
                    "app": "search",
                    "owner": "admin",
                    "result": {"rid": "0", "orig_sid": "scheduler__1", "orig_rid": "7"},
                    "configuration": parameters,
                }
            ).encode(),
            timeout=300,
        )
        return process.returncode, err.decode()

    try:
        assert run_action(
            account="main", ip="192.0.2.11, 192.0.2.12", username="$result.user$"
        ) == (
            0,
            "",
        )
        calls = [call for call in vendor.simulated.counts if "attacklist" in call]
        assert calls and "2 ips" in log(apps, plugin) and "Attackers" in log(apps, plugin)
        before = dict(vendor.simulated.counts)
        assert (
            run_action(account="main", ip="", username="$result.user$") == (0, "")
            and vendor.simulated.counts == before
        ), "without a value no request is sent"
        code, err = run_action(account="nobody", ip="192.0.2.11")
        assert code == 1 and 'there is no account "nobody"' in err
        lines = (apps / "var/log/splunk/pingintelligence_unblock_modalert.log").read_text()
        fields = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines.splitlines()[-3:]]
        statuses = [line.pop("action_status") for line in fields]
        assert statuses == ["success", "success", "failure"], lines
        assert {line.pop("signature") for line in fields} == {
            "the command succeeded",
            "the command failed",
        }
        assert (
            fields[0]
            == fields[2]
            == {
                "action_name": "pingintelligence_unblock",
                "search_name": "Attackers of shop ",
                "sid": "scheduler__admin__search__RMD5_at_1",
                "orig_sid": "scheduler__1",
                "rid": "0",
                "orig_rid": "7",
                "app": "search",
                "user": "admin",
                "action_mode": "saved",
            }
        )
    finally:
        vendor.close()


@each_python
@each_plugin
def test_upgrade_keeps_settings_and_checkpoints(plugin, python, tmp_path, splunk):
    """A newer version is unpacked over 1.0.0."""
    app = addon(plugin)
    folder = unpacked(plugin, tmp_path / "etc/apps")
    for path in (folder / "app.manifest", folder / "default/app.conf"):
        path.write_text(path.read_text().replace(VERSION, "1.0.0"))
    (folder / "local").mkdir()
    (folder / "local/inputs.conf").write_text(
        f"[{plugin.name}://first]\naccount = main\ninterval = 60\n"
    )
    (folder / "default/retired.conf").write_text("[x]\n")
    vendor = simulation.Server(simulation.simulator(plugin.name, {}))
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
                tmp_path,
                python,
                plugin,
                stdin=stdin_of(splunk, tmp_path, plugin, "first", **settings),
            ).communicate(timeout=300)
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
        ), "continues from the checkpoints of 1.0.0"
    finally:
        vendor.close()
