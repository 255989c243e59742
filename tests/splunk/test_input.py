"""The modular input as a process, against a stand-in for splunkd and the vendor's simulator: the
set of events is the truth."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from splunk_breaker import broken
from splunkd_stand_in import KEY, POOR

from siemtap import contract
from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import ConfigError
from siemtap.core.mapping import Dataset, rfc3339
from siemtap.core.model import Mark, Unit
from siemtap.core.windows import MINUTE
from siemtap.edge.bearer import Kept
from siemtap.outputs.compact import compact, reads
from siemtap.outputs.encode import encode
from siemtap.render.splunk import props
from siemtap.runners import plugins, simulate, splunkd
from siemtap.runners.names import App
from siemtap.runners.simulate import Fault, Server
from siemtap.runners.splunk_pages import begun, forget_input, trouble
from siemtap.runners.splunk_pipe import escaped
from siemtap.runners.splunkd import proxy

ROOT = Path(__file__).parents[2]
CIM = contract.read("cim.json")
PROPS = {
    stanza: settings
    for plugin in plugins.installed().values()
    for stanza, settings in props(plugin, contract.read("event.schema.json"), CIM).items()
}


def start(splunk, home, kind="apptrana", words=(), said=None, **settings):
    params = "".join(
        f'<param name="{name}">{escape(str(value))}</param>'
        for name, value in {"interval": "60", "account": "main", **settings}.items()
    )
    if said is None:
        said = (
            '<?xml version="1.0"'
            f' encoding="UTF-8"?><input><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>{home}</checkpoint_dir><configuration><stanza'
            f' name="{kind}://first" app="TA-test">{params}</stanza></configuration></input>'
        )
    (home / "var/log/splunk").mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("start.py")), kind, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "SPLUNK_HOME": str(home)},
    )
    process.stdin.write(said.encode())
    process.stdin.close()
    process.stdin = None
    return process


def run(*words, **more):
    """(exit status, standard output, standard error)"""
    process = start(*words, **more)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err.decode()


def events(out):
    """(what Splunk indexes, its fields) of each event that splunkd makes of a stream."""
    return [(indexed, json.loads(indexed.raw)) for indexed in broken(out, PROPS)]


def ids(*outs):
    return collections.Counter(
        event.get("event.id") or event["event"]["id"] for out in outs for _, event in events(out)
    )


def log(home, kind="apptrana"):
    return (home / f"var/log/splunk/ta_test_{kind}.log").read_text()


def test_one_cycle_and_the_next_goes_on_where_it_ended(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    began = int(time.time() * 1000)
    code, first, _ = run(splunk, tmp_path, lookback="30m")
    assert code == 0, log(tmp_path)
    (indexed, event), *_ = events(first)
    assert (
        indexed.stanza == indexed.source == "apptrana://first"
        and indexed.sourcetype == "apptrana:attack"
        and b"<index>" not in first
    )
    assert (
        round(indexed.time * 1000) == millis_of(event["@timestamp"]) and "data_stream" not in event
    )
    time.sleep(2)
    _, second, _ = run(splunk, tmp_path, lookback="30m")
    got = ids(first, second)
    assert (
        vendor.simulated.ledger(int(time.time() * 1000), began - 29 * MINUTE, began - 15_000)
        <= set(got)
        and max(got.values()) == 1
    )
    (document,) = splunk.documents["ta_test_checkpoints"].values()
    assert (
        len(document["_key"]) == 16
        and document["input"] == "apptrana://first"
        and document["unit"].startswith("first/apptrana.attack")
    )
    assert "demo-secret" not in log(tmp_path) + first.decode() and "events" in log(tmp_path)


def test_accidents_a_stop_and_a_kill_cost_nothing(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    vendor.simulated.faults.extend(
        [
            Fault(call="getAttackInfo", times=1, status=429, retry_after="1"),
            Fault(call="getAttackInfo", times=1, status=500),
            Fault(call="getAttackInfo", times=1, status=401),
        ]
    )
    vendor.simulated.knobs.delay = 0.05
    began, outs, luck = int(time.time() * 1000), [], random.Random(3)
    for _ in range(6):
        process = start(splunk, tmp_path, lookback="4h", concurrency="1")
        time.sleep(luck.uniform(0.7, 1.5))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        # before it was there to be told
        assert process.returncode == 0 or (process.returncode, out) == (-signal.SIGTERM, b""), err
        outs.append(out)
    code, out, _ = run(splunk, tmp_path, lookback="4h", concurrency="4")
    assert code == 0 and "told to stop" in log(tmp_path)
    got = ids(*filter(None, [*outs, out]))
    assert (
        vendor.simulated.ledger(int(time.time() * 1000), began - 235 * MINUTE, began - 20_000)
        <= set(got)
        and max(got.values()) == 1
    )


def test_a_reader_that_goes_away(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    vendor.simulated.knobs.rate = 200.0
    process = start(splunk, tmp_path, lookback="2h")
    process.stdout.read(1000)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == 1 and "splunkd reads no more" in log(tmp_path)


def test_an_orphan_ends(splunk, vendor, tmp_path):
    """Its parent is killed; it is not told."""
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    vendor.simulated.knobs.delay = 20.0
    code = (
        "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:], stdin=open(0),"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(p.pid, flush=True);"
        " time.sleep(60)"
    )
    said = (
        f"<input><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>x</checkpoint_dir><configuration><stanza"
        ' name="apptrana://first" app="a"><param'
        ' name="account">main</param></stanza></configuration></input>'
    )
    (tmp_path / "said.xml").write_text(said)
    (tmp_path / "var/log/splunk").mkdir(parents=True)
    with open(tmp_path / "said.xml") as file:
        parent = subprocess.Popen(
            [
                sys.executable,
                "-c",
                code,
                sys.executable,
                str(Path(__file__).with_name("start.py")),
                "apptrana",
            ],
            stdin=file,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "SPLUNK_HOME": str(tmp_path)},
        )
    child = int(parent.stdout.readline())
    time.sleep(2)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 15
    while (
        Path(f"/proc/{child}").exists()
        and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_many_units_of_another_vendor(splunk, tmp_path):
    from pingintelligence import simulator as abs_simulator

    server = Server(abs_simulator.Simulator(abs_simulator.Knobs(rate=0.01, apis=5)))
    try:
        settings = server.simulated.settings(server.url)
        splunk.account(
            "main", {name: settings.pop(name) for name in ("access_key", "secret_key")}, **settings
        )
        code, out, _ = run(splunk, tmp_path, kind="pingintelligence", lookback="2h")
        assert code == 0, log(tmp_path, "pingintelligence")
        now = int(time.time() * 1000)
        assert (
            server.simulated.ledger(now, now - 115 * MINUTE, now - 80 * MINUTE) <= set(ids(out))
            and len(splunk.documents["ta_test_checkpoints"]) == 8
        )
        assert {indexed.sourcetype for indexed, _ in events(out)} == {
            "pingintelligence:attack",
            "pingintelligence:attacklist",
            "pingintelligence:report",
        } and b"SECRET-" not in out
    finally:
        server.close()


def test_what_a_person_must_do_is_in_the_log(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    code, out, _ = run(splunk, tmp_path)
    assert code == 1 and 'there is no account "main"' in log(tmp_path) and events(out) == []
    splunk.account(
        "main", {"client_secret": "wrong-one"}, url=settings["url"], client_id=settings["client_id"]
    )
    code, out, _ = run(splunk, tmp_path)
    assert code == 1 and "AuthError" in log(tmp_path) and "wrong-one" not in log(tmp_path)


def test_the_scheme(splunk, tmp_path):
    for kind in ("apptrana", "centurylink_ips", "pingintelligence"):
        code, out, _ = run(splunk, tmp_path, kind=kind, words=["--scheme"], said="")
        names = [arg.get("name") for arg in ElementTree.fromstring(out).iter("arg")]
        assert (
            code == 0
            and "account" in names
            and not {"client_secret", "secret_key", "password", "interval"} & set(names)
            and len(names) == len(set(names))
        )


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({}, ""),
        ({"lookback": "7d", "websites": "a.example.com, b.example.com"}, ""),
        ({"lookback": "soon"}, "is no duration"),
        ({"lookback": "31d"}, "lookback"),
        ({"nonsense": "1"}, "no setting nonsense"),
        ({"severity_map": '{"2": 73}'}, ""),
        ({"severity_map": "2=73"}, "is no JSON object"),
        ({"event_type": "Blocked"}, "did you mean"),
        ({"lookback": "<&>"}, "<&>"),
    ],
)
def test_validation(splunk, tmp_path, settings, sentence):
    params = "".join(
        f'<param name="{name}">{escape(value)}</param>'
        for name, value in {
            "account": "main",
            "interval": "60",
            "index": "main",
            **settings,
        }.items()
    )
    said = (
        f"<items><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>x</checkpoint_dir><item"
        f' name="first">{params}</item></items>'
    )
    code, out, _ = run(splunk, tmp_path, words=["--validate-arguments"], said=said)
    assert (
        (code, out) == (0, b"")
        if not sentence
        else (code == 1 and sentence in ElementTree.fromstring(out).findtext("message"))
    )


def test_what_splunkd_never_says(splunk, tmp_path):
    assert run(splunk, tmp_path, words=["--nonsense"], said="")[0] == 1
    code, out, err = run(splunk, tmp_path, said="this is no XML")
    assert code == 1 and out == b"" and err.startswith("ERROR ")


# The KV store


def checkpoints(splunk):
    return splunkd.KvCheckpoints(
        splunkd.Splunkd(App("TA-test", "ta_test", "apptrana"), splunk.url, KEY),
        "apptrana://first",
        sleep=lambda seconds: None,
    )


UNIT = Unit("first", "apptrana.attack", "shop.example.com")


def test_a_mark_comes_back_as_it_was(splunk):
    kept, mark = checkpoints(splunk), Mark({"until": 5}, {"a" * 32: 4, "b" * 32: 5})
    assert kept.load(UNIT) == Mark()
    kept.save(UNIT, mark)
    assert checkpoints(splunk).load(UNIT) == mark
    kept.forget()
    assert kept.load(UNIT) == Mark()


def test_the_kv_store_comes_up_late_and_without_the_collection(splunk):
    splunk.documents.clear()
    splunk.kv_starts_after = 3
    kept = checkpoints(splunk)
    kept.save(UNIT, Mark({"until": 5}))
    assert kept.load(UNIT) == Mark({"until": 5}) and "ta_test_checkpoints" in splunk.documents


def test_a_kv_store_that_is_switched_off(splunk):
    splunk.kv_off = True
    with pytest.raises(ConfigError, match="seems to be switched off"):
        checkpoints(splunk).load(UNIT)


def test_a_checkpoint_in_a_file_where_an_admin_chose_it(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    splunk.kv_off = True
    code, out, _ = run(splunk, tmp_path, lookback="30m")
    assert code == 1 and "seems to be switched off" in log(tmp_path) and events(out) == []
    first, second = (
        run(splunk, tmp_path, lookback="30m", checkpoint="file"),
        run(splunk, tmp_path, lookback="30m", checkpoint="file"),
    )
    assert (
        first[0] == second[0] == 0
        and len(ids(first[1])) > 50
        and max(ids(first[1], second[1]).values()) == 1
        and (tmp_path / "first.db").exists()
    )


def test_one_login_serves_many_intervals_until_the_account_changes(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    for _ in range(3):
        assert run(splunk, tmp_path, lookback="5m")[0] == 0
    assert vendor.simulated.counts["getAuthToken"] == 1
    (token,) = [
        content["clear_password"]
        for content in splunk.passwords.values()
        if content["realm"] == "ta_test_token"
    ]
    assert (
        json.loads(token)["token"] in [text for text, _ in vendor.simulated.tokens.values()]
        and "demo-secret" not in token
    )
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"] + "/",
        client_id=settings["client_id"],
    )
    assert (
        run(splunk, tmp_path, lookback="5m")[0] == 0
        and vendor.simulated.counts["getAuthToken"] == 2
    )
    vendor.simulated.tokens.clear()  # taken back by the vendor
    assert (
        run(splunk, tmp_path, lookback="5m")[0] == 0
        and vendor.simulated.counts["getAuthToken"] == 3
    )
    assert (
        run(splunk, tmp_path, lookback="5m")[0] == 0
        and vendor.simulated.counts["getAuthToken"] == 3
    )


def test_a_token_longer_than_a_password_may_be_and_one_that_has_ended(splunk):
    session = splunkd.Splunkd(App("TA-test", "ta_test", "apptrana"), splunk.url, KEY)
    tokens = splunkd.Tokens(session, "main", {"a": "1"})
    assert tokens.recall() is None
    for text in ("t" * 1_500, "short", "u" * 600):
        tokens.keep(Kept(text, 5))
        assert (
            tokens.recall() == Kept(text, 5)
            and splunkd.Tokens(session, "main", {"a": "2"}).recall() is None
            and splunkd.Tokens(session, "mai", {"a": "1"}).recall() is None
        )
    tokens.drop()
    assert tokens.recall() is None and not splunk.passwords
    poor = splunkd.Tokens(
        splunkd.Splunkd(App("TA-test", "ta_test", "apptrana"), splunk.url, POOR), "main", {"a": "1"}
    )
    poor.keep(Kept("t", 5))
    assert poor.recall() is None, "who may not keep it logs in again, and goes on"


def test_a_start_a_reset_and_a_removal(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    now = int(time.time() * 1000)
    start_at = rfc3339(now - 40 * MINUTE)[:16] + "Z"

    def read(**more):
        code, out, _ = run(splunk, tmp_path, lookback="5m", **more)
        assert code == 0, log(tmp_path)
        return set(ids(out))

    first = read(start=start_at)
    assert vendor.simulated.ledger(now, now - 39 * MINUTE, now - 15_000) <= first and read(
        start=start_at
    ).isdisjoint(first)
    assert read(start=start_at, generation="1") >= first, "reset: from the start again"
    assert read(start=start_at, generation="1").isdisjoint(first)
    fewer = read(start=rfc3339(now - 20 * MINUTE)[:16] + "Z", generation="1")
    assert fewer and len(fewer & first) < len(first) * 0.7
    for word, new, kept in (("", False, ""), ("1", False, "more"), ("", True, "more")):
        said = {"name": "x", "reset": word, "generation": ""}
        begun(said, new)
        assert "reset" not in said and bool(said["generation"]) == bool(kept)
    forget_input(
        splunkd.Splunkd(App("TA-test", "ta_test", "apptrana"), splunk.url, KEY), "apptrana://first"
    )
    assert splunk.documents["ta_test_checkpoints"] == {}
    code, out, _ = run(
        splunk,
        tmp_path,
        words=["--validate-arguments"],
        said=(
            '<items><item name="first"><param name="account">main</param><param'
            ' name="start">yesterday</param></item></items>'
        ),
    )
    assert code == 1 and b"a day or a moment in UTC" in out


def test_a_mark_that_is_too_large_forgets_the_oldest(splunk, monkeypatch, caplog):
    monkeypatch.setattr(splunkd, "LARGEST", 20_000)
    luck = random.Random(1)
    seen = {f"{luck.getrandbits(128):032x}": number // 100 for number in range(2_000)}
    kept = checkpoints(splunk)
    kept.save(UNIT, Mark({"until": 20}, seen))
    back = kept.load(UNIT)
    assert (
        back.cursor == {"until": 20}
        and 0 < len(back.seen) < 2_000
        and max(back.seen.values()) == 19
        and "do not fit" in caplog.text
    )


def test_a_secret_longer_than_a_password_may_be(splunk):
    secret = "s" * 700 + '"ü\\'
    splunk.account("main", {"client_secret": secret}, client_id="x")
    splunk.account("mainly", {"client_secret": "other"})
    found = splunkd.Splunkd(App("TA-test", "ta_test", "apptrana"), splunk.url, KEY).stanza(
        "account", "main"
    )
    assert found["client_secret"] == secret and found["client_id"] == "x"


def test_an_account_is_tried_before_it_is_kept(splunk, vendor):
    plugin, session = (
        plugins.plugin("apptrana"),
        splunkd.Splunkd(App("TA-test", "ta_test", "apptrana"), splunk.url, KEY),
    )
    settings = vendor.simulated.settings(vendor.url)
    assert trouble(plugin, session, "main", settings) == ""
    said = trouble(plugin, session, "main", {**settings, "client_secret": "wrong-one"})
    assert (
        "no token by `auth: client_credentials`" in said
        and "401" in said
        and "Save without a test" in said
        and "wrong-one" not in said
    )
    assert (
        trouble(
            plugin, session, "main", {**settings, "client_secret": "wrong-one", "skip_test": "1"}
        )
        == ""
    )
    assert "must look like https" in trouble(
        plugin, session, "main", {**settings, "url": "nowhere"}
    )
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    assert trouble(plugin, session, "main", {**settings, "client_secret": "******"}) == "", (
        "an edit that leaves the secret as it is"
    )
    assert (
        trouble(plugin, session, "main", {**settings, "client_secret": "w\u20acrong-one"}) != ""
    ), "a sentence, whatever was entered"
    splunk.confs["ta_test_settings"] = {
        "proxy": {"proxy_enabled": "1", "proxy_url": "127.0.0.1", "proxy_port": "9"}
    }
    assert "proxy failed" in trouble(plugin, session, "main", settings)


def test_every_vendor_can_be_greeted(splunk):
    session = splunkd.Splunkd(App("TA-test", "ta_test", "x"), splunk.url, KEY)
    for plugin in plugins.installed().values():
        server = Server(simulate.simulator(plugin.name, {}))
        try:
            settings = {
                name: ",".join(value) if isinstance(value, list) else value
                for name, value in server.simulated.settings(server.url).items()
            }
            assert trouble(plugin, session, "main", settings) == ""
            assert sum(server.simulated.counts.values()) == 1, "one call"
            wrong = {
                name: "wrong-one" if name in ("client_secret", "password", "secret_key") else value
                for name, value in settings.items()
            }
            assert "wrong-one" not in trouble(plugin, session, "main", wrong) != ""
        finally:
            server.close()


@pytest.mark.parametrize(
    "said, made",
    [
        ({}, {}),
        ({"proxy_enabled": "0", "proxy_url": "p"}, {}),
        (
            {
                "proxy_enabled": "1",
                "proxy_url": "proxy.example.com",
                "proxy_port": "3128",
                "proxy_username": "ü:@",
                "proxy_password": "p@ss:/w",
            },
            {
                "proxy": "http://proxy.example.com:3128",
                "proxy_user": "ü:@",
                "proxy_password": "p@ss:/w",
            },
        ),
        (
            {
                "proxy_enabled": "1",
                "proxy_type": "socks5",
                "proxy_rdns": "1",
                "proxy_url": "2001:db8::1",
                "proxy_port": "1080",
            },
            {"proxy": "socks5h://[2001:db8::1]:1080", "proxy_user": "", "proxy_password": ""},
        ),
    ],
)
def test_the_proxy_page(said, made):
    assert proxy(said) == made


# The event in _raw


def test_what_is_long_stands_last_and_is_named_the_same():
    small = compact(Dataset("acme.event", None, (), (), {"observer.type": "waf"}), {})
    event = {
        "@timestamp": "2026-03-04T10:02:13.417Z",
        "observer": {"type": "waf", "name": "a"},
        "event": {"id": "1"},
        "acme": {"body": "x" * 500, "short": "y", "longest": "z" * 900},
        "related": {"ip": ["192.0.2.1"]},
    }
    made = small(event)
    assert (
        list(made)[-2:] == ["acme.body", "acme.longest"]
        and made["acme.short"] == "y"
        and made["observer.name"] == "a"
        and made["event.id"] == "1"
        and "related" not in made
    )


def test_every_field_that_cim_needs_ends_early():
    """Before byte 5,000, of every case; a value that is longer by itself ends before what the
    CIM does not need begins."""
    from cases import folders, play

    for folder in folders():
        plugin = plugins.plugin(folder.parents[1].name)
        for event in play(folder, plugin)[0]:
            rules = CIM["datasets"].get(event["event"]["dataset"], {})
            line = encode(compact(plugin.dataset(event["event"]["dataset"]), rules)(event))
            if event["event"].get("kind") == "pipeline_error":
                continue
            assert line.index(b'id":"' + event["event"]["id"].encode()) < 5_000 and json.loads(
                line
            )["@timestamp"] == event["@timestamp"] == instant(event["@timestamp"])
            ends = {
                path: line.index(encode(path) + b":") + len(encode(path)) + 1 + len(encode(value))
                for path, value in json.loads(line).items()
                if path in set(reads(rules)) and len(encode(value)) > 200
            }
            assert all(end < 5_000 for end in ends.values()), (folder.name, ends)


def test_what_the_cim_reads_stands_before_what_is_merely_shorter():
    dataset = plugins.plugin("apptrana").dataset("apptrana.attack")
    event = {
        "@timestamp": "2026-03-04T10:02:13.417Z",
        "event": {"id": "1"},
        "apptrana": {"attack_data": "x" * 300},
        "url": {"original": "/" + "y" * 3_000},
    }
    assert list(compact(dataset, CIM["datasets"][dataset.name])(event))[-2:] == [
        "url.original",
        "apptrana.attack_data",
    ]


@given(st.text())
def test_any_text_survives_xml_and_json(text):
    line = escaped(encode({"a": text, text: 1}))
    back = ElementTree.fromstring(
        b"<stream><event><data>" + line + b"</data></event></stream>"
    ).findtext("event/data")
    said = json.loads(back)
    assert said["a"] == text or text == "a"


@given(st.text(st.characters(categories=["Cs", "Cc", "Cn"])))
def test_what_xml_cannot_carry_survives_it(text):
    back = ElementTree.fromstring(b"<data>" + escaped(encode({"value": text})) + b"</data>").text
    assert json.loads(back)["value"] == text
