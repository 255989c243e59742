"""What Splunk keeps for an add-on: marks whatever is in them, secrets where they belong."""

import base64
import zlib

import pytest
from splunkd_stand_in import KEY

from siemtap.core.errors import ConfigError
from siemtap.core.model import Mark, Unit
from siemtap.runners import plugins, splunkd
from siemtap.runners.names import App
from siemtap.runners.splunk_pages import trouble

UNIT = Unit("first", "apptrana.attack", "shop.example.com")


def session(splunk):
    return splunkd.Splunkd(App("TA-test", "ta_test", "apptrana"), splunk.url, KEY)


def checkpoints(splunk):
    return splunkd.KvCheckpoints(session(splunk), "apptrana://first", sleep=lambda seconds: None)


def test_a_site_and_a_cursor_with_half_a_pair(splunk):
    """What a vendor calls his sites is any text that JSON can hold."""
    kept, unit = checkpoints(splunk), Unit("first", "apptrana.attack", "shop\ud800")
    kept.save(unit, Mark({"until": 5, "next": "\udfff"}, {"a" * 32: 4}))
    assert (
        checkpoints(splunk).load(unit) == Mark({"until": 5, "next": "\udfff"}, {"a" * 32: 4})
        and kept.load(UNIT) == Mark()
    )
    assert splunkd.Tokens(session(splunk), "main", {"name": "\ud800"}).recall() is None


@pytest.mark.parametrize(
    "state",
    [
        "",
        "no base64",
        "e30=",
        *(
            base64.b64encode(zlib.compress(sentence)).decode()
            for sentence in (
                b"no JSON",
                b"[]",
                b'{"cursor":[],"seen":{}}',
                b'{"cursor":{},"seen":[]}',
            )
        ),
    ],
)
def test_a_mark_that_cannot_be_read_is_a_sentence(splunk, state):
    kept = checkpoints(splunk)
    kept.save(UNIT, Mark({"until": 5}))
    (document,) = splunk.documents["ta_test_checkpoints"].values()
    document["state"] = state
    with pytest.raises(ConfigError, match="cannot be read; reset it"):
        kept.load(UNIT)


@pytest.mark.parametrize("skip", ["", "1"])
def test_a_secret_that_is_kept_goes_nowhere_else(splunk, vendor, skip):
    """Who may edit an account must not get its secret by giving it another address."""
    plugin, page = plugins.plugin("apptrana"), session(splunk)
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )
    for url in (
        "https://evil.example.com/x",
        settings["url"].replace("http://", "https://"),
        settings["url"].replace("127.0.0.1", "127.0.0.2"),
    ):
        for secret in ("******", None):
            sentence = trouble(
                plugin,
                page,
                "main",
                {**settings, "client_secret": secret, "url": url, "skip_test": skip},
            )
            assert (
                sentence.startswith("Enter the secret again")
                and "://" in sentence
                and not vendor.simulated.counts
            )
    assert (
        trouble(
            plugin,
            page,
            "main",
            {
                **settings,
                "client_secret": "******",
                "url": settings["url"] + "/",
                "skip_test": skip,
            },
        )
        == ""
    )
