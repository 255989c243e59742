"""The status page in a real browser: what a person reads, in light and in dark."""

import shutil
import time

import pytest
from playwright.sync_api import sync_playwright

from apptrana import simulator
from siemtap.core.windows import HOUR
from siemtap.runners import simulate
from siemtap.runners.config import parse
from siemtap.runners.page import Server
from siemtap.runners.shipper import Shipper

HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    simulated = simulator.Simulator(simulator.Knobs(rate=2.0, skew=0.0))
    record = simulated.record
    simulated.record = lambda *words: {
        **record(*words),
        **({"ruleName": HOSTILE} if words[2] % 3 == 0 else {}),
    }
    server = simulate.Server(simulated)
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
    deadline = time.monotonic() + 40
    while (
        not any(state.success for running in shipper.inputs.values() for state in running.states())
        or shipper.health()[0]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield page.address, shipper
    shipper.stop()
    runner.join()
    page.close()
    server.close()


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    assert path, "Chromium is not here: ci/tools installs it"
    words = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=words)
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_a_person_reads(address, browser, scheme, tmp_path):
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
        "it needs no network"
    )
    page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 20_000
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.close()


def test_the_pictures_count_what_was_delivered(address):
    _, shipper = address
    now = shipper.clock.now()
    shown = sum(
        sum(counter.values()) for _, counter in shipper.tally.over_time(0, now - 24 * HOUR, now, 48)
    )
    by_severity = sum(
        sum(counter.values()) for _, counter in shipper.tally.over_time(1, now - 24 * HOUR, now, 48)
    )
    assert shown == by_severity == sum(number for _, number in shipper.tally.top("dataset"))
