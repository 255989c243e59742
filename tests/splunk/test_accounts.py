"""Accounts of an add-on: secrets, stored tokens, the login check, the proxy."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from splunk_input import connect, log, run, save_account
from splunkd_stand_in import POOR

from siemtap.core.manifest import describe, kind_of
from siemtap.edge.client.tokens import Token
from siemtap.render import registry
from siemtap.splunk.runtime.pages import account_error, input_error, removal_error
from siemtap.splunk.runtime.splunkd import proxy_of_tab
from siemtap.splunk.runtime.stored.tokens import TokenPasswords
from siemtap.testing import simulation
from siemtap.testing.simulation import Server


@pytest.mark.slow
def test_token_is_reused_until_the_account_changes(splunk, vendor, tmp_path):
    settings = vendor.simulated.settings(vendor.url)
    save_account(splunk, vendor)
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
    vendor.simulated.tokens.clear()  # revoked by the vendor
    assert (
        run(splunk, tmp_path, lookback="5m")[0] == 0
        and vendor.simulated.counts["getAuthToken"] == 3
    )
    assert (
        run(splunk, tmp_path, lookback="5m")[0] == 0
        and vendor.simulated.counts["getAuthToken"] == 3
    )


def test_long_tokens_are_stored_in_parts_and_expired_ones_ignored(splunk):
    session = connect(splunk)
    tokens = TokenPasswords(session, "main", {"a": "1"})
    assert tokens.load() is None
    for text in ("t" * 1_500, "short", "u" * 600):
        tokens.save(Token(text, 5))
        assert (
            tokens.load() == Token(text, 5)
            and TokenPasswords(session, "main", {"a": "2"}).load() is None
            and TokenPasswords(session, "mai", {"a": "1"}).load() is None
        )
    tokens.delete()
    assert tokens.load() is None and not splunk.passwords
    poor = TokenPasswords(connect(splunk, POOR), "main", {"a": "1"})
    poor.save(Token("t", 5))
    assert poor.load() is None, "without the capability to store the token each run logs in"


def test_long_secrets_are_read_from_their_parts(splunk):
    secret = "s" * 700 + '"ü\\+%26&=\u20ac '
    splunk.account("main", {"client_secret": secret}, client_id="x")
    splunk.account("mainly", {"client_secret": "other"})
    account = connect(splunk).read_stanza("account", "main")
    assert account["client_secret"] == secret and account["client_id"] == "x"


def test_account_is_checked_before_it_is_saved(splunk, vendor):
    plugin, session = (
        registry.plugin("apptrana"),
        connect(splunk),
    )
    settings = vendor.simulated.settings(vendor.url)
    assert account_error(plugin, session, "main", settings) == ""
    error = account_error(plugin, session, "main", {**settings, "client_secret": "wrong-one"})
    assert (
        "no token by `auth: client_credentials`" in error
        and "401" in error
        and "Save without a test" in error
        and "wrong-one" not in error
    )
    assert (
        account_error(
            plugin, session, "main", {**settings, "client_secret": "wrong-one", "skip_test": "1"}
        )
        == ""
    )
    assert "must look like https" in account_error(
        plugin, session, "main", {**settings, "url": "nowhere"}
    )
    save_account(splunk, vendor)
    assert account_error(plugin, session, "main", {**settings, "client_secret": "******"}) == "", (
        "an edit keeps the secret"
    )
    assert (
        account_error(plugin, session, "main", {**settings, "client_secret": "w\u20acrong-one"})
        != ""
    ), "a message for any input"
    splunk.confs["ta_test_settings"] = {
        "proxy": {"proxy_enabled": "1", "proxy_url": "127.0.0.1", "proxy_port": "9"}
    }
    assert "proxy failed" in account_error(plugin, session, "main", settings)


def test_every_vendor_has_a_login_check(splunk):
    session = connect(splunk)
    for plugin in registry.installed().values():
        server = Server(simulation.simulator(plugin.name, {}))
        try:
            settings = {
                name: ",".join(value) if isinstance(value, list) else value
                for name, value in server.simulated.settings(server.url).items()
            }
            assert account_error(plugin, session, "main", settings) == ""
            assert sum(server.simulated.counts.values()) == 1, "one call"
            secrets = {s["name"] for s in describe(plugin.settings) if kind_of(s).is_secret}
            wrong = {
                name: "wrong-one" if name in secrets else value for name, value in settings.items()
            }
            assert "wrong-one" not in account_error(plugin, session, "main", wrong) != ""
        finally:
            server.close()


@pytest.mark.parametrize(
    "tab, settings",
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
def test_proxy_settings(tab, settings):
    assert proxy_of_tab(tab) == settings


def test_account_that_inputs_use_is_not_deleted(splunk):
    session = connect(splunk)
    splunk.account("main", {"client_secret": "s"})
    assert removal_error(session, "main") == ""
    splunk.inputs["apptrana"] = {
        f"input_{number:02}": {"account": "main" if number % 2 else "other"} for number in range(80)
    }
    error = removal_error(session, "main")
    assert "used by 40 inputs: input_01, input_03" in error and "input_79" in error
    assert "input_02" not in error
    splunk.failing["data/inputs"] = [403, 1]
    assert "does not say which inputs" in removal_error(session, "main")
    splunk.failing["data/inputs"] = [404, 1]
    assert removal_error(session, "main") == "", "splunkd did not load the input on this instance"


def test_input_needs_an_account_that_exists(splunk):
    session = connect(splunk)
    splunk.account("main", {"client_secret": "s"})
    assert input_error(session, {"account": "main"}) == ""
    assert input_error(session, {"disabled": "1"}) == "", "other settings alone"
    assert 'There is no account "mian" on this instance' in input_error(
        session, {"account": "mian"}
    )
    assert '"61" is no minute' in input_error(session, {"interval": "61 * * * *"})
    splunk.failing["configs"] = [403, 1]
    assert "does not say whether" in input_error(session, {"account": "main"})


@contextmanager
def proxy():
    """A proxy that refuses every request. Yield (its address, its requests)."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.command, self.path, self.headers.get("Proxy-Authorization", "")))
            self.send_response(502)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_CONNECT = do_GET

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()


def credentials(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.slow
def test_an_accounts_own_proxy_wins(splunk, vendor):
    """It is used with its own login, or without one: the user of the tab Proxy is not sent to it."""
    with proxy() as (of_tab, asked_of_tab), proxy() as (own, asked):
        host, port = of_tab[len("http://") :].split(":")
        tab = {"proxy_enabled": "1", "proxy_url": host, "proxy_port": port}
        tab.update(proxy_username="all", proxy_password="t4b")
        splunk.confs["ta_test_settings"] = {"proxy": tab}
        session, plugin = connect(splunk), registry.plugin("apptrana")
        account = vendor.simulated.settings(vendor.url)
        assert account_error(plugin, session, "main", account)
        assert asked_of_tab.pop()[2] == credentials("all", "t4b") and not asked
        del asked_of_tab[:]
        account["proxy"] = own
        assert account_error(plugin, session, "main", account)
        assert asked.pop()[2] == "" and not asked_of_tab
        account.update(proxy_user="me", proxy_password="0wn")
        assert account_error(plugin, session, "main", account)
        assert asked.pop()[2] == credentials("me", "0wn") and not asked_of_tab


@pytest.mark.slow
def test_an_input_collects_through_its_accounts_proxy(splunk, vendor, tmp_path):
    with proxy() as (own, asked):
        settings = vendor.simulated.settings(vendor.url)
        secrets = {"client_secret": settings["client_secret"], "proxy_password": "0wn"}
        splunk.account(
            "main",
            secrets,
            url=settings["url"],
            client_id=settings["client_id"],
            proxy=own,
            proxy_user="me",
        )
        assert run(splunk, tmp_path, lookback="5m")[0] == 1
        assert asked[-1][2] == credentials("me", "0wn")
        assert "502" in log(tmp_path) and "0wn" not in log(tmp_path)
        assert not vendor.simulated.counts


def test_a_proxys_password_is_sent_to_no_other_proxy(splunk, vendor):
    """A saved password is masked on the page: whoever changes the address enters it again."""
    session, plugin = connect(splunk), registry.plugin("apptrana")
    settings = vendor.simulated.settings(vendor.url)
    with proxy() as (own, asked), proxy() as (other, asked_of_other):
        secrets = {"client_secret": settings["client_secret"], "proxy_password": "0wn"}
        plain = {"url": settings["url"], "client_id": settings["client_id"]}
        splunk.account("main", secrets, **plain, proxy=own, proxy_user="me")
        masked = {**plain, "proxy_user": "me", **dict.fromkeys(secrets, "******")}
        error = account_error(plugin, session, "main", {**masked, "proxy": other})
        assert other in error and "Enter the secret again" in error and not asked_of_other
        entered = {**masked, "client_secret": settings["client_secret"], "proxy": other}
        assert "Enter the secret again" in account_error(plugin, session, "main", entered)
        assert not asked_of_other
        entered["proxy_password"] = "n3w"
        account_error(plugin, session, "main", entered)
        assert asked_of_other.pop()[2] == credentials("me", "n3w")
        account_error(plugin, session, "main", {**masked, "proxy": own})
        assert asked.pop()[2] == credentials("me", "0wn"), "the saved password, to its own proxy"
        without = {**masked, "proxy": "", "proxy_user": "", "proxy_password": ""}
        assert account_error(plugin, session, "main", without) == ""
