"""The status page in a real browser, in light and dark mode."""

import json
import shutil

import pytest
from playwright.sync_api import sync_playwright
from processes import wait_for

from apptrana import simulator
from siemtap.core.windows import HOUR
from siemtap.shipper.config.load import parse
from siemtap.shipper.process import Shipper
from siemtap.shipper.status import page as status_page
from siemtap.shipper.status.server import Server
from siemtap.testing import simulation

pytestmark = pytest.mark.slow

HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    simulated = simulator.Simulator(simulator.Knobs(rate=2.0, skew=0.0))
    record = simulated.record
    simulated.record = lambda *arguments: {
        **record(*arguments),
        **({"ruleName": HOSTILE} if arguments[2] % 3 == 0 else {}),
    }
    server = simulation.Server(simulated)
    config = parse(f"""
path.data: {folder}
inputs:
  - {{type: apptrana, url: '{server.url}', client_id: demo, client_secret: demo-secret, interval: 1s, lookback: 20h}}
  - {{type: apptrana, id: broken, url: '{server.url}', client_id: demo, client_secret: n0t-the-k3y}}
""")
    shipper = Shipper(config)
    page = Server(shipper, "127.0.0.1", 0)
    import threading

    runner = threading.Thread(target=shipper.run)
    runner.start()
    wait_for(
        lambda: (
            any(state.success for running in shipper.inputs.values() for state in running.states())
            and not shipper.health()[0]
        )
    )
    yield page.address, shipper
    shipper.stop()
    runner.join()
    page.close()
    server.close()


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    assert path, "Chromium is missing: ci/tools installs it"
    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_content_of_the_status_page(address, browser, scheme, tmp_path, monkeypatch):
    monkeypatch.setattr(status_page, "REFRESH", 3600)  # it stays while the test reads it
    url, shipper = address
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1100, "height": 1400})
    problems, asked = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            problems.append(message.text)
            if message.type == "error" and "favicon" not in message.text
            else None
        ),
    )
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    assert page.inner_text(
        "#health"
    ) == "degraded" and "check client_id/client_secret" in page.inner_text("#reason")
    rows = {
        row.inner_text().split("\t")[0].strip(): row.inner_text()
        for row in page.query_selector_all("#inputs tr")[1:]
    }
    assert set(rows) == {"apptrana/apptrana.attack", "broken/apptrana.attack"}
    assert "degraded" in rows["broken/apptrana.attack"] and "ok" in rows["apptrana/apptrana.attack"]
    accepted = int(
        page.query_selector_all("#output tr")[1].inner_text().split("\t")[1].replace(",", "")
    )
    assert accepted >= 2_000
    bars = page.query_selector_all("#by-severity rect")
    assert len(bars) > 60 and all(bar.bounding_box()["height"] > 0 for bar in bars)
    assert "high" in page.inner_text("#by-severity") and "apptrana.attack" in page.inner_text(
        "#by-dataset"
    )
    assert len(page.query_selector_all("#rules .bar")) >= 7 and page.inner_text(
        "#sources .bar span"
    ).startswith("198.51.100.")
    assert (
        HOSTILE in page.inner_text("#rules")
        and page.query_selector("img") is None
        and page.title() == "siemtap: degraded"
    )
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 29)"}[scheme]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1100
    assert problems == [] and all(address.startswith(url) for address in asked), (
        "the page must load nothing from the network"
    )
    page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 20_000
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.close()


def follow(page, selector):
    """Click what leads to another page, and wait until all of that is there."""
    with page.expect_navigation():
        page.click(selector)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_search_in_the_browser(address, browser, scheme):
    """Without a script: the form, the table, the whole event, older events."""
    url, _ = address
    page = browser.new_page(
        color_scheme=scheme, viewport={"width": 1100, "height": 900}, java_script_enabled=False
    )
    problems, asked = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    follow(page, "nav >> text=Events")
    assert page.inner_text("#note") == "the newest 100 events"
    newest = page.inner_text("#events tr:nth-child(2) td")
    follow(page, "#older")
    assert len(page.query_selector_all("#events tr")) == 101
    assert page.inner_text("#events tr:nth-child(2) td") <= newest
    page.fill("[name=text]", HOSTILE)
    page.check("[value=high]")
    page.select_option("[name=dataset]", "apptrana.attack")
    page.select_option("[name=input]", "apptrana")
    page.select_option("[name=since]", "24h")
    follow(page, "button")
    rows = [row.inner_text().split("\t") for row in page.query_selector_all("#events tr")[1:]]
    assert rows and all(
        cells[1:3] == ["high", "apptrana.attack"] and cells[5] == HOSTILE for cells in rows
    )
    assert page.input_value("[name=text]") == HOSTILE and page.is_checked("[value=high]")
    follow(page, "#events a >> nth=0")
    event = json.loads(page.inner_text("#event"))
    assert event["rule"]["name"] == HOSTILE and page.query_selector("img") is None
    page.go_back()
    page.fill("[name=to]", "2020-01-01T00:00")
    page.select_option("[name=since]", "")
    follow(page, "button")
    assert page.inner_text("#note") == "no event matches"
    assert page.input_value("[name=to]") == "2020-01-01T00:00"
    page.set_viewport_size({"width": 380, "height": 800})
    width = page.query_selector("html").bounding_box()["width"]
    assert width <= 380 and page.query_selector("main").bounding_box()["width"] <= 380
    ours = [request for request in asked if request.startswith(url)]
    assert problems == [] and ours == asked
    page.close()


def test_charts_count_delivered_events(address):
    _, shipper = address
    now = shipper.clock.now()
    shown = sum(
        sum(counter.values()) for _, counter in shipper.tally.over_time(0, now - 24 * HOUR, now, 48)
    )
    by_severity = sum(
        sum(counter.values()) for _, counter in shipper.tally.over_time(1, now - 24 * HOUR, now, 48)
    )
    assert shown == by_severity == sum(number for _, number in shipper.tally.top("dataset"))
