"""The add-ons' own pages in Chromium, and the handlers behind them, against a stand-in for Splunk.
`ci/bundle` builds what is looked at.

With SIEMTAP_PICTURES=docs the pictures of the README are taken anew.
"""

import json
import os
import re
import subprocess
import tarfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from built import PLUGINS, PYTHONS, SECRETS, each_plugin, each_python, tarball, unpacked
from cache import CACHE
from playwright.sync_api import expect, sync_playwright
from splunk_web import Web
from splunkd_stand_in import KEY, POOR

from siemtap.runners import simulate
from siemtap.runners.names import addon, of_account


@pytest.fixture
def web(plugin, python, tmp_path):
    server = Web(addon(plugin), unpacked(plugin, tmp_path / "etc/apps"), python)
    yield server
    server.close()
    assert not server.crashed, server.crashed


@pytest.fixture
def vendor(plugin):
    server = simulate.Server(simulate.simulator(plugin.name, {}))
    yield server
    server.close()


def account_of(plugin, vendor):
    """What a person enters on the page of accounts."""
    own = {s["name"] for s in of_account(plugin)}
    said = {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in vendor.simulated.settings(vendor.url).items()
    }
    return {name: value for name, value in said.items() if name in own}


class Rest:
    """Calls of the management port."""

    def __init__(self, web):
        self.web = web

    def __call__(self, endpoint, said=None, method="", key=KEY, **query):
        """(status, {name: content} or what the error says)"""
        url = f"{self.web.url}/servicesNS/nobody/{self.web.app}/{self.web.root}_{endpoint}?{urlencode({'output_mode': 'json', **query})}"
        asked = Request(
            url,
            urlencode(said).encode() if said is not None else None,
            {"Authorization": f"Splunk {key}"},
            method=method or ("GET" if said is None else "POST"),
        )
        try:
            with urlopen(asked) as answer:
                return answer.status, {
                    entry["name"]: entry["content"] for entry in json.loads(answer.read())["entry"]
                }
        except HTTPError as error:
            return error.code, json.loads(error.read())["messages"][0]["text"]


@each_python
@each_plugin
def test_the_handlers(plugin, python, web, vendor):
    """Masked, tried, refused with a sentence; an input's marks begin and go with it."""
    rest, app, given, secrets = (
        Rest(web),
        addon(plugin),
        account_of(plugin, vendor),
        SECRETS[plugin.name],
    )
    status, said = rest("account", {"name": "main", **given, secrets[-1]: "wrong-one"})
    assert (
        status == 400
        and "Save without a test" in said
        and "wrong-one" not in said
        and "Traceback" not in said
    )
    status, said = rest("account", {"name": "main", **given})
    assert status == 200, said
    status, said = rest("account/main")
    assert status == 200 and {said["main"][name] for name in secrets} == {"******"}
    assert all(
        given[name] not in json.dumps(web.confs[f"{app.root}_account"]) for name in secrets
    ), "not in a conf file"
    status, said = rest("account", **{"--cred--": "1"})
    assert status == 200 and [said["main"][name] for name in secrets] == [
        given[name] for name in secrets
    ], "for who may see them"
    status, said = rest("account", key=POOR, **{"--cred--": "1"})
    assert all(given[name] not in str(said) for name in secrets), "and for nobody else"
    assert rest("account", {"name": "other", **given}, key=POOR)[0] in (400, 403)
    assert (
        rest("account", {"name": "main", **given})[0] == 409
        and rest("account", {"name": "9bad", **given})[0] == 400
    )
    status, said = rest("account/main", {**given, **dict.fromkeys(secrets, "******")})
    assert status == 200, f"an edit that leaves the secrets as they are: {said}"
    assert (
        rest("account", {"name": "later", **given, secrets[-1]: "wrong-one", "skip_test": "1"})[0]
        == 200
    )

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
    ] or kind == "pingintelligence", "the token is kept"
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
    ), "an edit goes on"
    assert (
        rest(f"{kind}/first", {**entered, "reset": "1", "generation": first})[0] == 200
        and web.inputs[kind]["first"]["generation"] > first
        and "reset" not in web.inputs[kind]["first"]
    )
    assert (
        rest(kind, {**entered, "name": "clone", "generation": first})[0] == 200
        and web.inputs[kind]["clone"]["generation"] > first
    ), "a clone starts afresh"
    assert rest(f"{kind}/first", method="DELETE")[0] == 200
    assert not [
        document
        for document in web.documents[f"{app.root}_checkpoints"].values()
        if document["input"] == f"{kind}://first"
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
        status, said = rest(f"{kind}_webhook", pushed)
        assert status == 200, said
        assert (
            web.inputs[f"{kind}_webhook"]["pushed"]["secret"] == "******"
            and rest(f"{kind}_webhook/pushed")[1]["pushed"]["secret"] == "******"
        )
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
        said = rest(f"settings/{tab}")[1][tab]
        assert all(
            said[name] == ("******" if name == "proxy_password" else value)
            for name, value in values.items()
        )
    assert (
        rest("settings/proxy", {"proxy_port": "70000"})[0] == 400
        and rest("settings/advanced", {"timeout": "soon"})[0] == 400
    )


@pytest.mark.parametrize("python", PYTHONS[-1:], ids=lambda python: Path(python).parents[1].name)
@pytest.mark.parametrize("plugin", PLUGINS[:1], ids=lambda plugin: plugin.name)
def test_what_the_bundles_own_description_allows(plugin, python, web, tmp_path):
    """schemathesis asks what openapi.json allows, and what it does not: the handlers answer with
    a sentence, and never fall over."""
    asker = os.environ.get("SIEMTAP_SCHEMATHESIS")
    assert asker, "ci/bundle says where schemathesis is"
    said = json.loads((web.folder / "appserver/static/openapi.json").read_text())
    said.pop("servers")
    (tmp_path / "openapi.json").write_text(json.dumps(said))
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


def choose(page, field, option):
    page.locator(f"[data-name={field}] [role=combobox], [data-name={field}] button").first.click()
    page.get_by_role("option", name=option, exact=True).click()


def fill(page, values):
    for field, value in values.items():
        page.locator(f"[data-name={field}] input, [data-name={field}] textarea").first.fill(value)


# What fades in or out has, half way, a contrast that nobody reads: wait until two looks are equal.
STANDS_STILL = """async () => {
    const look = () => JSON.stringify([...document.querySelectorAll("*")].map((one) => {
        const style = getComputedStyle(one);
        return [style.opacity, style.color, style.backgroundColor, style.transform];
    }));
    for (let before, now = look(), tries = 0; before !== now && tries < 40; tries++) {
        await new Promise((done) => setTimeout(done, 250));
        [before, now] = [now, look()];
    }
}"""


def serious(page):
    """What axe-core calls serious or critical on a page that stands still: (rule, where)."""
    page.evaluate(STANDS_STILL)
    page.evaluate((CACHE / "axe-core-4.14.1/package/axe.min.js").read_text())
    found = page.evaluate(
        "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
    )
    return [
        (one["id"], [node["html"][:160] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


# UCC's own: none of it is made of what we render. Looked at again when UCC changes.
OF_UCC = {
    "label-content-name-mismatch": "the buttons of a row: their name is longer than the icon says",
    "aria-input-field-name": "the list in a choice of several, beside its label",
}


def test_the_readme_speaks_of_what_is_there():
    """Each bold word of "Splunk in five minutes" is on a page, in a menu, or the name of a field
    there."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    words = re.findall(
        r"\*\*([^*]+)\*\*",
        text[
            text.index("## Splunk in five minutes") : text.index("## Elastic Agent in five minutes")
        ],
    )
    with tarfile.open(tarball(PLUGINS[0])) as tar:
        config = (
            tar.extractfile("TA-indusface-apptrana/appserver/static/js/build/globalConfig.json")
            .read()
            .decode()
        )
        nav = (
            tar.extractfile("TA-indusface-apptrana/default/data/ui/nav/default.xml").read().decode()
        )
    # UCC's own buttons; a sentence
    said = {"Add", "Create New Input", "None of it was ever run in a real splunkd"}
    assert len(words) > 8 and not [
        word
        for word in words
        if word not in said
        and f'"{word}"' not in config
        and f'name="{word.lower()}"' not in nav
        and word not in ("Proxy",)
    ]


@pytest.mark.parametrize(
    "plugin, theme",
    [*((plugin, "light") for plugin in PLUGINS), (PLUGINS[0], "dark")],
    ids=lambda said: getattr(said, "name", said),
)
@pytest.mark.parametrize("python", PYTHONS[:1], ids=lambda python: Path(python).parents[1].name)
def test_a_person_sets_it_up(plugin, python, theme, web, vendor, tmp_path):
    """Account, a mistake, proxy, input, edit, clone, delete; what is on the page when it is done
    is what the input then does."""
    web.theme, app, secrets = theme, addon(plugin), SECRETS[plugin.name]
    pictures, errors = Path(os.environ.get("SIEMTAP_PICTURES", tmp_path)), []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme=theme)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{web.url}/en-US/app/{app.name}/configuration")
        dialog = page.get_by_role("dialog")

        page.get_by_role("button", name="Add", exact=True).click()
        expect(dialog).to_be_visible()
        given = account_of(plugin, vendor)
        for secret in secrets:
            assert page.locator(f"[data-name={secret}] input").get_attribute("type") == "password"
        fill(
            page,
            {
                "name": "9bad",
                **{
                    name: value
                    for name, value in given.items()
                    if isinstance(value, str) and name not in ("auth", "role")
                },
            },
        )
        dialog.get_by_role("button", name="Add").click()
        expect(dialog).to_contain_text("A name begins with a letter")
        fill(page, {"name": "main", secrets[-1]: "wrong-one"})
        dialog.get_by_role("button", name="Add").click()
        # the vendor's own answer, and what to do
        expect(dialog).to_contain_text("Save without a test", timeout=20_000)
        assert "wrong-one" not in dialog.inner_text()
        fill(page, {secrets[-1]: given[secrets[-1]]})
        if theme == "light" and plugin.name == "apptrana":
            page.screenshot(path=pictures / "splunk-account.png")
        dialog.get_by_role("button", name="Add").click()
        expect(dialog).to_be_hidden(timeout=20_000)
        expect(page.get_by_role("cell", name="main").first).to_be_visible()
        found = serious(page)
        assert not [one for one in found if one[0] not in OF_UCC], found

        page.get_by_role("tab", name="Proxy").click()
        fill(page, {"proxy_url": "proxy.example.com", "proxy_port": "70000"})
        page.get_by_role("button", name="Save").click()
        expect(page.locator("body")).to_contain_text("1 to 65535")
        fill(page, {"proxy_port": "3128"})
        page.get_by_role("button", name="Save").click()
        page.wait_for_function("() => true")
        deadline = time.monotonic() + 15
        while web.confs[f"{app.root}_settings"].get("proxy", {}).get("proxy_port") != "3128":
            assert time.monotonic() < deadline
            page.wait_for_timeout(100)

        page.goto(f"{web.url}/en-US/app/{app.name}/inputs")
        page.get_by_role("button", name="Create New Input").click()
        if plugin.webhook:
            page.get_by_role("menuitem", name=plugin.title, exact=True).click()
        expect(dialog).to_be_visible()
        fill(page, {"name": "first"})
        choose(page, "account", "main")
        if plugin.name == "centurylink_ips":
            fill(
                page,
                {
                    "servers": "VA1ACMEWEB01",
                    "our_url": "https://siem.example.com/centurylink_ips/x",
                },
            )
        else:
            fill(page, {"start": "yesterday"})
            dialog.get_by_role("button", name="Add").click()
            expect(dialog).to_contain_text("A day or a moment in UTC")
            fill(page, {"start": ""})
        found = serious(page)
        assert not [one for one in found if one[0] not in OF_UCC], found
        dialog.get_by_text("Advanced").click()
        expect(page.locator("[data-name=checkpoint]")).to_be_visible()
        dialog.get_by_text("Advanced").click()
        if theme == "light" and plugin.name == "apptrana":
            page.locator("[data-name=name]").scroll_into_view_if_needed()
            page.screenshot(path=pictures / "splunk-input.png")
        dialog.get_by_role("button", name="Add").click()
        expect(dialog).to_be_hidden(timeout=20_000)
        expect(page.get_by_role("cell", name="first").first).to_be_visible()
        kept = web.inputs[plugin.name]["first"]
        assert kept["account"] == "main" and kept["generation"].isdigit()

        web.confs[f"{app.root}_settings"]["proxy"] = {}
        code, events = web.cycle(plugin.name, "first")
        assert code == 0 and events, (
            app.name,
            (web.home / f"var/log/splunk/{app.root}_{plugin.name}.log").read_text()[-2000:],
        )

        for action, name, sure in (("Edit", "first", "Update"), ("Clone", "again", "Save")):
            page.get_by_role("button", name=action).first.click()
            expect(dialog).to_be_visible()
            page.wait_for_timeout(400)
            fill(page, {"interval": "333"} if action == "Edit" else {"name": name})
            dialog.get_by_role("button", name=sure).click()
            expect(dialog).to_be_hidden(timeout=20_000)
        assert (
            web.inputs[plugin.name]["first"]["interval"] == "333"
            and web.inputs[plugin.name]["first"]["generation"] == kept["generation"]
            and web.inputs[plugin.name]["again"]["generation"] >= kept["generation"]
        )
        page.get_by_role("button", name="Delete").first.click()
        dialog.get_by_role("button", name="Delete").click()
        expect(dialog).to_be_hidden(timeout=20_000)
        assert len(web.inputs[plugin.name]) == 1
        page.screenshot(path=tmp_path / f"{theme}.png")
        browser.close()
    assert not errors, errors
