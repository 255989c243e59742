"""Keys and settings that ABS or the input rejects, and the admin report."""

import logging

import pytest
from pingintelligence import PLUGIN

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.edge.client.http import Http
from siemtap.testing.simulation import Fault

from .simulated_input import simulated_input


@pytest.mark.parametrize("listed, expected", [(["all"], []), (["shop"], ["shop"])])
def test_keys_that_cannot_read_the_admin_report(listed, expected, caplog):
    world = simulated_input(admin_at="refused", settings={"apis": listed})
    units = [(unit.dataset.partition(".")[2], unit.scope) for unit in world.units()]
    assert units == [("attack", ""), *(("attack", api) for api in expected), ("attacklist", "")]
    assert ("cannot read the admin report" in caplog.text) == (listed == ["all"])


def test_known_apis_are_kept_when_a_later_admin_report_is_rejected():
    world = simulated_input()
    before = world.units()
    world.simulator.faults.append(Fault(call="admin", times=1, status=403))
    assert world.units() == before


@pytest.mark.parametrize("status", ["401", "403", "200"])
def test_wrong_keys_are_reported(status):
    world = simulated_input(wrong_key=status)
    world.settings = fill_in(
        PLUGIN.settings,
        {**world.simulator.settings("https://abs.example.com"), "access_key": "other"},
    )
    world.start()
    unit = world.units()[0]
    with pytest.raises(
        AuthError if status != "200" else Retry,
        match="x-abs-ak-ru and x-abs-sk-ru" if status != "200" else "status 200 with an error",
    ):
        world.attempt(unit)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"lag": "29m"}, "`allow_early: true`"),
        ({"timezone": "Mars/Olympus"}, "is not a time zone"),
        ({"access_key": "a:b"}, "no colon"),
        ({"access_key": ""}, "needs `access_key`"),
        ({"attack_log": "/var/log/attack.log"}, "use one of them"),
        ({"url": "abs.example.com"}, "write https://"),
        ({"types": ["some"]}, "numbers of attack types"),
        ({"reports": ["everything"]}, "is not one of"),
    ],
)
def test_invalid_settings_are_rejected(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        PLUGIN.connect(
            fill_in(
                PLUGIN.settings,
                {
                    "url": "https://abs.example.com:8080",
                    "access_key": "a",
                    "secret_key": "b",
                    **settings,
                },
            ),
            Http(None),
        )


def test_allow_early_and_default_keys_are_accepted(caplog):
    PLUGIN.connect(
        fill_in(
            PLUGIN.settings,
            {
                "url": "https://abs.example.com:8080",
                "access_key": "abs_ak_ru",
                "secret_key": "b",
                "lag": "5m",
                "allow_early": True,
            },
        ),
        Http(None),
    )
    assert "ABS still has its default keys" in caplog.text and "abs_ak_ru" not in caplog.text


def test_training_of_abs_is_logged_once(caplog):
    caplog.set_level(logging.INFO)
    world = simulated_input(training=True)
    world.units()
    world.units()
    assert caplog.text.count("still training") == 1
