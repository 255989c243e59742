"""The REST handlers of the add-ons' pages, with a simulator of Splunk. `ci/bundle` builds the add-ons."""

import json
import os
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from built import PLUGINS, PYTHONS, SECRETS, each_plugin, each_python
from splunk_addon import account_of
from splunkd_stand_in import KEY, POOR

from siemtap.splunk.runtime.names import addon

WITH_TOKEN = ("apptrana", "centurylink_ips")  # a login returns a token; the others send a key


class Rest:
    """A client of the management port."""

    def __init__(self, web):
        self.web = web

    def __call__(self, endpoint, fields=None, method="", key=KEY, **query):
        """Return (status, {name: content}), or (status, error message)."""
        url = f"{self.web.url}/servicesNS/nobody/{self.web.app}/{self.web.root}_{endpoint}?{urlencode({'output_mode': 'json', **query})}"
        request = Request(
            url,
            urlencode(fields).encode() if fields is not None else None,
            {"Authorization": f"Splunk {key}"},
            method=method or ("GET" if fields is None else "POST"),
        )
        try:
            with urlopen(request) as answer:
                return answer.status, {
                    entry["name"]: entry["content"] for entry in json.loads(answer.read())["entry"]
                }
        except HTTPError as error:
            return error.code, json.loads(error.read())["messages"][0]["text"]


@each_python
@each_plugin
def test_rest_handlers(plugin, python, web, vendor):
    """Secrets are masked, logins are checked, errors are readable; a checkpoint is created and
    deleted with its input."""
    rest, app, entered_account, secrets = (
        Rest(web),
        addon(plugin),
        account_of(plugin, vendor),
        SECRETS[plugin.name],
    )
    status, error = rest("account", {"name": "main", **entered_account, secrets[-1]: "wrong-one"})
    assert (
        status == 400
        and "Save without a test" in error
        and "wrong-one" not in error
        and "Traceback" not in error
    )
    status, content = rest("account", {"name": "main", **entered_account})
    assert status == 200, content
    status, content = rest("account/main")
    assert status == 200 and {content["main"][name] for name in secrets} == {"******"}
    assert all(
        entered_account[name] not in json.dumps(web.confs[f"{app.root}_account"])
        for name in secrets
    ), "a secret in a conf file"
    status, content = rest("account", **{"--cred--": "1"})
    assert status == 200 and [content["main"][name] for name in secrets] == [
        entered_account[name] for name in secrets
    ], "readable with the capability"
    status, content = rest("account", key=POOR, **{"--cred--": "1"})
    assert all(entered_account[name] not in str(content) for name in secrets), (
        "readable without the capability"
    )
    assert rest("account", {"name": "other", **entered_account}, key=POOR)[0] in (400, 403)
    assert (
        rest("account", {"name": "main", **entered_account})[0] == 409
        and rest("account", {"name": "9bad", **entered_account})[0] == 400
    )
    status, content = rest("account/main", {**entered_account, **dict.fromkeys(secrets, "******")})
    assert status == 200, f"an edit must keep the secrets: {content}"
    assert (
        rest(
            "account",
            {"name": "later", **entered_account, secrets[-1]: "wrong-one", "skip_test": "1"},
        )[0]
        == 200
    )

    web.confs[f"{app.root}_account"]["plain"] = {**entered_account, "disabled": "0"}
    assert rest("account/plain")[0] == 200 and {
        web.confs[f"{app.root}_account"]["plain"][name] for name in secrets
    } == {"******"}, "a secret in plain text in the conf file is encrypted when the page shows it"
    assert rest("account/plain", method="DELETE")[0] == 200

    proxy = {"proxy": "http://127.0.0.1:9", "proxy_user": "me", "proxy_password": "0wn-p4ss"}
    proxied = {"name": "proxied", **entered_account, **proxy}
    status, error = rest("account", {**proxied, "proxy": "nowhere"})
    assert status == 400 and "proxy" in error.lower()
    status, error = rest("account", proxied)
    assert status == 400 and "proxy" in error and "0wn-p4ss" not in error, "it is not there"
    assert rest("account", {**proxied, "skip_test": "1"})[0] == 200
    assert rest("account/proxied")[1]["proxied"]["proxy_password"] == "******"
    assert "0wn-p4ss" not in json.dumps(web.confs[f"{app.root}_account"])
    masked = {**proxy, **dict.fromkeys(secrets, "******"), "proxy_password": "******"}
    elsewhere = {**entered_account, **masked, "proxy": "http://192.0.2.7:3128", "skip_test": "1"}
    status, error = rest("account/proxied", elsewhere)
    assert status == 400 and "Enter the secret again" in error and "192.0.2.7" in error
    assert rest("account/proxied", method="DELETE")[0] == 200

    kind = plugin.name
    entered = {"name": "first", "account": "main", "interval": "120", "index": "main"}
    assert (
        rest(
            kind,
            (
                {**entered, "lag": "soon"}
                if kind != "centurylink_ips"
                else {**entered, "other_events": "sometimes"}
            ),
        )[0]
        == 400
    )
    status, error = rest(kind, {**entered, "account": "mian"})
    assert status == 400 and 'There is no account "mian"' in error
    for interval in ("-1", "0.5", "61 * * * *"):
        status, error = rest(kind, {**entered, "interval": interval})
        assert status == 400 and interval.split()[0] in error, error
    assert (
        rest(kind, {**entered, "interval": "0"})[0] == 400
        and rest(kind, {**entered, "name": "cron", "interval": "*/5 * * * *"})[0] == 200
    )
    if kind == "centurylink_ips":
        entered.update(servers="VA1ACMEWEB01", our_url="https://siem.example.com/centurylink_ips/x")
    assert rest(kind, entered)[0] == 200
    first = web.inputs[kind]["first"]["generation"]
    code, events = web.cycle(kind, "first")
    assert code == 0 and len(web.documents[f"{app.root}_checkpoints"]) >= 1
    assert [
        content for content in web.passwords.values() if content["realm"] == f"{app.root}_token"
    ] or kind not in WITH_TOKEN, "the token must be stored"
    assert (
        rest(f"{kind}/first", {"disabled": "1"})[0]
        == rest(f"{kind}/first", {"disabled": "0"})[0]
        == 200
        and web.inputs[kind]["first"]["generation"] == first
    )
    time.sleep(1)
    assert (
        rest(f"{kind}/first", {**entered, "interval": "180", "generation": first})[0] == 200
        and web.inputs[kind]["first"]["generation"] == first
    ), "an edit keeps the checkpoint"
    assert (
        rest(f"{kind}/first", {**entered, "reset": "1", "generation": first})[0] == 200
        and web.inputs[kind]["first"]["generation"] > first
        and "reset" not in web.inputs[kind]["first"]
    )
    assert (
        rest(kind, {**entered, "name": "clone", "generation": first})[0] == 200
        and web.inputs[kind]["clone"]["generation"] > first
    ), "a clone starts without a checkpoint"
    assert rest(f"{kind}/first", method="DELETE")[0] == 200
    assert not [
        render_page
        for render_page in web.documents[f"{app.root}_checkpoints"].values()
        if render_page["input"] == f"{kind}://first"
    ]
    if plugin.webhook:
        pushed = {
            "name": "pushed",
            "interval": "10",
            "index": "main",
            "listen": "127.0.0.1:0",
            "secret": "a-secret-of-the-webhook",
            "plain_http": "1",
        }
        assert (
            "listen" in rest(f"{kind}_webhook", {**pushed, "listen": "nowhere"})[1]
            and rest(f"{kind}_webhook", {**pushed, "listen": "0.0.0.0:8443", "plain_http": "0"})[0]
            == 400
        )
        status, content = rest(f"{kind}_webhook", pushed)
        assert status == 200, content
        assert (
            web.inputs[f"{kind}_webhook"]["pushed"]["secret"] == "******"
            and rest(f"{kind}_webhook/pushed")[1]["pushed"]["secret"] == "******"
        )
    status, error = rest("account/main", method="DELETE")
    assert status == 400 and "used by 2 inputs: clone, cron" in error, error
    assert rest("account/main")[0] == 200, "it is still there"
    for name in ("clone", "cron"):
        assert rest(f"{kind}/{name}", method="DELETE")[0] == 200
    assert rest("account/main", method="DELETE")[0] == 200 and not [
        content for content in web.passwords.values() if content["username"].startswith("main`")
    ]
    for tab, values in (
        (
            "proxy",
            {
                "proxy_enabled": "1",
                "proxy_url": "proxy.example.com",
                "proxy_port": "3128",
                "proxy_username": "ü:@",
                "proxy_password": "p@ss:/w",
            },
        ),
        ("logging", {"loglevel": "DEBUG"}),
        ("advanced", {"ca_file": "/etc/ssl/private-ca.pem", "timeout": "90s"}),
    ):
        assert rest(f"settings/{tab}", values)[0] == 200
        content = rest(f"settings/{tab}")[1][tab]
        assert all(
            content[name] == ("******" if name == "proxy_password" else value)
            for name, value in values.items()
        )
    assert (
        rest("settings/proxy", {"proxy_port": "70000"})[0] == 400
        and rest("settings/advanced", {"timeout": "soon"})[0] == 400
    )


@pytest.mark.parametrize("python", PYTHONS[-1:], ids=lambda python: Path(python).parents[1].name)
@pytest.mark.parametrize("plugin", PLUGINS[:1], ids=lambda plugin: plugin.name)
def test_requests_generated_from_openapi_json(plugin, python, web, tmp_path):
    """No request that schemathesis makes of openapi.json crashes a handler."""
    asker = os.environ.get("SIEMTAP_SCHEMATHESIS")
    assert asker, "ci/bundle sets the path of schemathesis"
    description = json.loads((web.folder / "appserver/static/openapi.json").read_text())
    description.pop("servers")
    (tmp_path / "openapi.json").write_text(json.dumps(description))
    done = subprocess.run(
        [
            asker,
            "run",
            str(tmp_path / "openapi.json"),
            "--url",
            f"{web.url}/servicesNS/nobody/{web.app}",
            "-H",
            f"Authorization: Splunk {KEY}",
            "--checks",
            "not_a_server_error",
            "--phases",
            "examples,fuzzing",
            "--max-examples",
            "4",
            "--workers",
            "1",
            "--seed",
            "1",
        ],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout[-6000:]
