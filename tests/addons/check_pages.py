"""The pages of the add-ons in Chromium with their REST handlers and a simulator of Splunk.
`ci/bundle` builds the add-ons. The dashboards are not drawn: their pages are Splunk's own, and need a
Splunk; what Splunk's schemas say of the overview is in tests/splunk/test_overview.py.

SIEMTAP_PICTURES=docs takes the screenshots of docs/splunk.md again."""

import os
import re
import tarfile
import time
from pathlib import Path

import pytest
from built import PLUGINS, PYTHONS, SECRETS, tarball
from cache import CACHE
from playwright.sync_api import expect, sync_playwright
from splunk_addon import account_of

from siemtap.splunk.runtime.names import addon

PATIENCE = 300_000  # milliseconds: for what would never happen, however loaded the machine is
expect.set_options(timeout=PATIENCE)


def choose(page, field, option):
    page.locator(f"[data-name={field}] [role=combobox], [data-name={field}] button").first.click()
    page.get_by_role("option", name=option, exact=True).click()


def fill(page, values):
    for field, value in values.items():
        page.locator(f"[data-name={field}] input, [data-name={field}] textarea").first.fill(value)


# Elements that fade in or out have a low contrast meanwhile: wait until two screenshots are equal.
STANDS_STILL = """async () => {
    const look = () => JSON.stringify([...document.querySelectorAll("*")].map((element) => {
        const style = getComputedStyle(element);
        return [style.opacity, style.color, style.backgroundColor, style.transform];
    }));
    for (let before, now = look(), tries = 0; before !== now && tries < 40; tries++) {
        await new Promise((done) => setTimeout(done, 250));
        [before, now] = [now, look()];
    }
}"""


def serious_violations(page):
    """Return (rule, elements) of each serious or critical violation that axe-core reports."""
    page.evaluate(STANDS_STILL)
    page.evaluate((CACHE / "axe-core-4.14.1/package/axe.min.js").read_text())
    violations = page.evaluate(
        "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
    )
    return [
        (violation["id"], [node["html"][:160] for node in violation["nodes"]])
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


# Violations of UCC's pages, outside of what siemtap renders. To be reviewed when UCC changes.
OF_UCC = {
    "label-content-name-mismatch": "the buttons of a row: their name is longer than the icon says",
    "aria-input-field-name": "the list in a choice of several, beside its label",
}


def test_documented_names_exist_on_the_pages():
    """Each bold name in "Install and collect" is on a page, in a menu, or the name of a field."""
    text = (Path(__file__).parents[2] / "docs/splunk.md").read_text()
    names = re.findall(
        r"\*\*([^*]+)\*\*",
        text[text.index("## Install and collect") : text.index("## Where to install it")],
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
    # buttons of UCC
    not_on_a_page = {"Add", "Create New Input"}
    assert len(names) > 8 and not [
        name
        for name in names
        if name not in not_on_a_page
        and f'"{name}"' not in config
        and f'name="{name.lower()}"' not in nav
        and name not in ("Proxy",)
    ]


@pytest.mark.parametrize(
    "plugin, theme",
    [*((plugin, "light") for plugin in PLUGINS), (PLUGINS[0], "dark")],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.parametrize("python", PYTHONS[:1], ids=lambda python: Path(python).parents[1].name)
def test_configuration_in_the_browser(plugin, python, theme, web, vendor, tmp_path):
    """Create an account after an error, a proxy and an input; run, edit, clone and delete it."""
    web.theme, app, secrets = theme, addon(plugin), SECRETS[plugin.name]
    pictures, errors = Path(os.environ.get("SIEMTAP_PICTURES", tmp_path)), []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme=theme)
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{web.url}/en-US/app/{app.name}/configuration")
        dialog = page.get_by_role("dialog")

        page.get_by_role("button", name="Add", exact=True).click()
        expect(dialog).to_be_visible()
        entered_account = account_of(plugin, vendor)
        for secret in secrets:
            assert page.locator(f"[data-name={secret}] input").get_attribute("type") == "password"
        fill(
            page,
            {
                "name": "9bad",
                **{
                    name: value
                    for name, value in entered_account.items()
                    if isinstance(value, str) and name not in ("auth", "role")
                },
            },
        )
        dialog.get_by_role("button", name="Add").click()
        expect(dialog).to_contain_text("A name begins with a letter")
        fill(page, {"name": "main", secrets[-1]: "wrong-one"})
        dialog.get_by_role("button", name="Add").click()
        # the answer of the vendor, and what to do
        expect(dialog).to_contain_text("Save without a test")
        assert "wrong-one" not in dialog.inner_text()
        fill(page, {secrets[-1]: entered_account[secrets[-1]]})
        if theme == "light" and plugin.name == "apptrana":
            page.screenshot(path=pictures / "splunk-account.png")
        dialog.get_by_role("button", name="Add").click()
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("cell", name="main").first).to_be_visible()
        violations = serious_violations(page)
        assert not [violation for violation in violations if violation[0] not in OF_UCC], violations

        page.get_by_role("tab", name="Proxy").click()
        fill(page, {"proxy_url": "proxy.example.com", "proxy_port": "70000"})
        page.get_by_role("button", name="Save").click()
        expect(page.locator("body")).to_contain_text("1 to 65535")
        fill(page, {"proxy_port": "3128"})
        page.get_by_role("button", name="Save").click()
        page.wait_for_function("() => true")
        deadline = time.monotonic() + 300
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
            expect(dialog).to_contain_text("A date or a time in UTC")
            fill(page, {"start": ""})
        violations = serious_violations(page)
        assert not [violation for violation in violations if violation[0] not in OF_UCC], violations
        dialog.get_by_text("Advanced").click()
        expect(page.locator("[data-name=checkpoint]")).to_be_visible()
        dialog.get_by_text("Advanced").click()
        if theme == "light" and plugin.name == "apptrana":
            page.locator("[data-name=name]").scroll_into_view_if_needed()
            page.screenshot(path=pictures / "splunk-input.png")
        dialog.get_by_role("button", name="Add").click()
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("cell", name="first").first).to_be_visible()
        saved = web.inputs[plugin.name]["first"]
        assert saved["account"] == "main" and saved["generation"].isdigit()

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
            expect(dialog).to_be_hidden()
        assert (
            web.inputs[plugin.name]["first"]["interval"] == "333"
            and web.inputs[plugin.name]["first"]["generation"] == saved["generation"]
            and web.inputs[plugin.name]["again"]["generation"] >= saved["generation"]
        )
        page.get_by_role("button", name="Delete").first.click()
        dialog.get_by_role("button", name="Delete").click()
        expect(dialog).to_be_hidden()
        assert len(web.inputs[plugin.name]) == 1
        page.screenshot(path=tmp_path / f"{theme}.png")
        browser.close()
    assert not errors, errors
