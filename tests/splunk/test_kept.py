"""Checkpoints in the KV store with odd contents, and secrets that must not be sent to another
address."""

import base64
import zlib

import pytest
from splunk_input import checkpoints, connect, save_account

from siemtap.core.errors import ConfigError
from siemtap.core.model import Mark, Unit
from siemtap.render import registry
from siemtap.splunk.runtime.pages import account_error
from siemtap.splunk.runtime.stored.tokens import TokenPasswords

UNIT = Unit("first", "apptrana.attack", "shop.example.com")


def test_scope_and_cursor_with_a_lone_surrogate(splunk):
    """JSON may contain lone surrogates, so a scope or a cursor may, too."""
    store, unit = checkpoints(splunk), Unit("first", "apptrana.attack", "shop\ud800")
    store.save(unit, Mark({"until": 5, "next": "\udfff"}, {"a" * 32: 4}))
    assert (
        checkpoints(splunk).load(unit) == Mark({"until": 5, "next": "\udfff"}, {"a" * 32: 4})
        and store.load(UNIT) == Mark()
    )
    assert TokenPasswords(connect(splunk), "main", {"name": "\ud800"}).load() is None


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
def test_unreadable_checkpoint_is_a_configuration_error(splunk, state):
    store = checkpoints(splunk)
    store.save(UNIT, Mark({"until": 5}))
    (document,) = splunk.documents["ta_test_checkpoints"].values()
    document["state"] = state
    with pytest.raises(ConfigError, match="cannot be read; reset it"):
        store.load(UNIT)


@pytest.mark.parametrize("skip", ["", "1"])
def test_saved_secret_is_not_sent_to_another_address(splunk, vendor, skip):
    """Not even by a user who may edit the account."""
    plugin, page = registry.plugin("apptrana"), connect(splunk)
    settings = vendor.simulated.settings(vendor.url)
    save_account(splunk, vendor)
    for url in (
        "https://evil.example.com/x",
        settings["url"].replace("http://", "https://"),
        settings["url"].replace("127.0.0.1", "127.0.0.2"),
    ):
        for secret in ("******", None):
            sentence = account_error(
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
        account_error(
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
