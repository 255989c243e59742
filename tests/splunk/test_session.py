"""A splunkd that fails, or that no longer accepts the session key: what the log says, and that
nothing is lost or sent twice."""

import io
import re
import time
from types import SimpleNamespace

import pytest
from odd_input import definition
from processes import wait_for
from splunk_input import checkpoints, connect, events, ids, log, run, save_account, start
from splunkd_stand_in import KEY

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Mark, Unit
from siemtap.core.windows import MINUTE
from siemtap.render import registry
from siemtap.splunk.runtime import splunkd
from siemtap.splunk.runtime.names import App
from siemtap.splunk.runtime.pages import account_error
from siemtap.splunk.runtime.splunkd import SessionEnded
from siemtap.splunk.runtime.stored import checkpoints as kv_store
from siemtap.splunk.runtime.stored.checkpoints import KvCheckpoints
from siemtap.splunk.runtime.webhook import Webhook

UNIT = Unit("first", "apptrana.attack", "shop.example.com")
ALWAYS = 10_000


@pytest.mark.slow
def test_mask_without_its_secret_is_said_as_what_it_is(splunk, vendor, tmp_path):
    """A deployment server copies the conf file, and not the password."""
    save_account(splunk, vendor)
    splunk.passwords.clear()
    code, out, err = run(splunk, tmp_path, lookback="5m")
    assert code == 1 and events(out) == [] and not vendor.simulated.counts, "the mask is not sent"
    assert all(
        words in log(tmp_path)
        for words in (
            'account "main" has only the mask ****** of client_secret',
            "enter the secret",
        )
    )
    settings = vendor.simulated.settings(vendor.url)
    error = account_error(
        registry.plugin("apptrana"),
        connect(splunk),
        "main",
        {**settings, "client_secret": "******"},
    )
    assert "has only the mask" in error


def test_mask_that_was_stored_as_a_secret(splunk):
    """splunktaucclib 8.2.0 stores the mask itself once somebody opens the page without the secret
    (rest_handler/credentials.py, decrypt_for_get)."""
    splunk.account("main", {"client_secret": "******"})
    with pytest.raises(ConfigError, match="only the mask"):
        connect(splunk).read_stanza("account", "main")


def test_mask_of_the_webhook_secret(tmp_path):
    plugin = registry.plugin("centurylink_ips")
    stanza = {"listen": "127.0.0.1:0", "secret": "******", "plain_http": "1"}
    webhook = Webhook(
        plugin,
        App("TA-test", "ta_test", plugin.name),
        definition(plugin, tmp_path, **stanza),
        io.BytesIO(),
    )
    webhook.splunkd = SimpleNamespace(read_secrets=lambda endpoint, name: {})
    with pytest.raises(ConfigError, match='input "here" has only the mask .* of secret'):
        webhook.cycle()


def test_mask_of_the_proxy_password(splunk):
    tab = {
        "proxy_enabled": "1",
        "proxy_url": "proxy.example.com",
        "proxy_username": "me",
        "proxy_password": "******",
    }
    splunk.confs["ta_test_settings"] = {"proxy": tab}
    with pytest.raises(ConfigError, match="only the mask .* of proxy_password"):
        connect(splunk).read_connection({})
    tab["proxy_enabled"] = "0"
    assert not connect(splunk).read_connection({}).proxy, "a proxy that is off needs no password"


@pytest.mark.parametrize("status", [500, 503])
def test_passwords_that_fail_for_a_moment(splunk, status):
    splunk.account("main", {"client_secret": "s"})
    splunk.failing["storage/passwords"] = [status, 3]
    assert connect(splunk).read_stanza("account", "main")["client_secret"] == "s"
    assert splunk.failing["storage/passwords"][1] == 0


@pytest.mark.parametrize("status", [500, 503])
def test_passwords_that_go_on_failing(splunk, status, monkeypatch):
    monkeypatch.setattr(splunkd, "PATIENCE", 0)
    splunk.account("main", {"client_secret": "s"})
    splunk.failing["storage/passwords"] = [status, ALWAYS]
    with pytest.raises(
        Retry, match=rf"passwords of splunkd fails \(HTTP {status}\).*splunk.secret"
    ):
        connect(splunk).read_stanza("account", "main")


@pytest.mark.slow
def test_run_with_passwords_that_fail_ends_with_advice(splunk, vendor, tmp_path):
    save_account(splunk, vendor)
    splunk.failing["storage/passwords"] = [500, ALWAYS]
    code, out, err = run(splunk, tmp_path, lookback="5m")
    assert code == 1 and events(out) == [] and "Traceback" not in log(tmp_path) + err
    assert "storage/passwords of splunkd fails (HTTP 500)" in log(tmp_path)
    splunk.failing.clear()
    assert run(splunk, tmp_path, lookback="5m")[0] == 0
    assert "recovered after" in log(tmp_path)


@pytest.mark.slow
def test_session_key_that_dies_in_a_run(splunk, vendor, tmp_path):
    """The run ends, its stream is complete, and the next run goes on: nothing twice."""
    save_account(splunk, vendor)
    vendor.simulated.knobs.delay = 0.1
    started_at = int(time.time() * 1000)
    process = start(splunk, tmp_path, lookback="2h", concurrency="1")
    wait_for(lambda: any(splunk.documents["ta_test_checkpoints"].values()))
    splunk.keys.clear()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and b"</stream>" in out, err
    assert "no longer accepts the session key of this run (HTTP 401)" in log(tmp_path)
    assert "Traceback" not in log(tmp_path) and "ERROR" not in log(tmp_path)
    splunk.keys.add(KEY)
    vendor.simulated.knobs.delay = 0.0
    code, second, _ = run(splunk, tmp_path, lookback="2h")
    got = ids(out, second)
    assert code == 0 and events(out)
    assert max(got.values()) == 1, "the mark that the KV store refused was kept beside it"
    now = int(time.time() * 1000)
    assert vendor.simulated.ledger(now, started_at - 115 * MINUTE, started_at - 20_000) <= set(got)


def test_session_key_that_is_refused_from_the_start(splunk):
    splunk.keys.clear()
    with pytest.raises(SessionEnded, match="sessionTimeout"):
        connect(splunk).read_stanza("account", "main")
    with pytest.raises(SessionEnded):
        checkpoints(splunk).load(UNIT)


# A mark that the KV store did not take


def marks(splunk, folder, generation=""):
    return KvCheckpoints(connect(splunk), "apptrana://first", generation, folder / "aside.json")


@pytest.fixture
def refusing(splunk, monkeypatch):
    """Return a splunkd whose KV store takes no document until `failing` is cleared."""
    monkeypatch.setattr(kv_store, "KV_STORE_START", 0)
    splunk.failing["storage/collections"] = [503, ALWAYS]
    return splunk


def test_refused_mark_is_used_by_the_next_run(splunk, tmp_path, monkeypatch):
    monkeypatch.setattr(kv_store, "KV_STORE_START", 0)
    store = marks(splunk, tmp_path)
    store.load(UNIT)
    store.save(UNIT, Mark({"until": 5}))
    splunk.failing["storage/collections"] = [503, ALWAYS]
    with pytest.raises(Retry, match="kvstore-status"):
        store.save(UNIT, Mark({"until": 6}, {"a" * 32: 6}))
    splunk.failing.clear()
    again = marks(splunk, tmp_path)
    assert again.load(UNIT) == Mark({"until": 6}, {"a" * 32: 6})
    again.save(UNIT, Mark({"until": 7}))
    assert not (tmp_path / "aside.json").exists()
    assert marks(splunk, tmp_path).load(UNIT) == Mark({"until": 7})


def test_refused_first_mark_is_used_too(refusing, tmp_path):
    with pytest.raises(Retry):
        marks(refusing, tmp_path).save(UNIT, Mark({"until": 6}))
    refusing.failing.clear()
    assert marks(refusing, tmp_path).load(UNIT) == Mark({"until": 6})


def test_refused_mark_does_not_outlive_its_predecessor(splunk, tmp_path, monkeypatch):
    """The input ran elsewhere meanwhile, or was reset: the KV store is right."""
    monkeypatch.setattr(kv_store, "KV_STORE_START", 0)
    store = marks(splunk, tmp_path)
    store.load(UNIT)
    splunk.failing["storage/collections"] = [503, ALWAYS]
    with pytest.raises(Retry):
        store.save(UNIT, Mark({"until": 6}))
    splunk.failing.clear()
    assert marks(splunk, tmp_path, "2").load(UNIT) == Mark(), "reset"
    checkpoints(splunk).save(UNIT, Mark({"until": 9}))
    assert marks(splunk, tmp_path).load(UNIT) == Mark({"until": 9})


@pytest.mark.parametrize("text", ["", "[]", '{"x": 5}', "\x00"])
def test_damaged_file_of_marks_counts_as_none(splunk, tmp_path, text):
    (tmp_path / "aside.json").write_text(text)
    assert marks(splunk, tmp_path).load(UNIT) == Mark()


@pytest.mark.slow
def test_log_level_takes_effect(splunk, vendor, tmp_path):
    save_account(splunk, vendor)
    levels = {}
    for level in ("INFO", "DEBUG", "ERROR"):
        splunk.confs["ta_test_settings"] = {"logging": {"loglevel": level}}
        folder = tmp_path / level
        folder.mkdir()
        assert run(splunk, folder, lookback="5m")[0] == 0
        file = folder / "var/log/splunk/ta_test_apptrana.log"
        levels[level] = set(
            re.findall(r"(?m)^\S+ ([A-Z]+) pid=", file.read_text() if file.exists() else "")
        )
    assert "INFO" in levels["INFO"] and "DEBUG" not in levels["INFO"]
    assert levels["DEBUG"] >= {"INFO", "DEBUG"} and levels["ERROR"] == set()


@pytest.mark.slow
def test_events_are_reported_for_the_monitoring_dashboard(splunk, vendor, tmp_path):
    """As solnlib's `events_ingested` writes it; UCC's panels search action, n_events and others."""
    save_account(splunk, vendor)
    _, out, _ = run(splunk, tmp_path, lookback="30m", index="security")
    fields = dict(
        word.split("=", 1)
        for line in log(tmp_path).splitlines()
        if "action=events_ingested" in line
        for word in line.partition(" input=")[2].split()[1:]
    )
    assert fields == {
        "action": "events_ingested",
        "modular_input_name": "apptrana://first",
        "sourcetype_ingested": "apptrana:attack",
        "n_events": str(len(events(out))),
        "event_input": "first",
        "event_index": "security",
        "event_account": "main",
    }
