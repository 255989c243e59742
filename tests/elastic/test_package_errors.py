"""What is wrong in a plugin's ingest.py is reported in one sentence, and not with a traceback."""

import dataclasses

import pytest

from siemtap.bundles import integration
from siemtap.core.errors import ConfigError

PLUGIN = integration.packaged()["apptrana"]
PACKAGE = integration.described(PLUGIN)
NAME, STREAM = next(iter(PACKAGE.streams.items()))


def build(monkeypatch, stream):
    package = PACKAGE._replace(streams={NAME: stream})
    monkeypatch.setattr(integration, "described", lambda plugin: package)
    return integration.files(PLUGIN)


def test_unknown_setting_of_an_input(monkeypatch):
    way = STREAM.ways[0]._replace(own=("intervall",))
    with pytest.raises(
        ConfigError,
        match='apptrana/ingest.py: .* of apptrana.attack names "intervall", which is no setting'
        ".*interval.*manifest.py are ",
    ):
        build(monkeypatch, STREAM._replace(ways=(way,)))


@pytest.mark.parametrize("sample", ["nowhere", "a_wrong_key"])
def test_sample_without_an_event(monkeypatch, sample):
    with pytest.raises(ConfigError, match=f'the sample "{sample}" is no case with an event'):
        build(monkeypatch, STREAM._replace(sample=sample))


@pytest.mark.slow
def test_package_of_the_plugin_is_built(monkeypatch):
    assert dataclasses.is_dataclass(PLUGIN)
    assert "manifest.yml" in build(monkeypatch, STREAM)
