"""What is wrong in a plugin's ingest.py is reported in one sentence, and not with a traceback."""

import dataclasses

import pytest

from siemtap.bundles import integration
from siemtap.core.declared import lookup
from siemtap.core.errors import ConfigError
from siemtap.core.rows import Dataset, Field, Given, Join
from siemtap.elastic import painless

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


def clock(record):
    return record["time"]


def points(value):
    return int(value)


points.__module__ = "acme.mapping"


def as_it_is(record):
    return record


def settings_and_script(*rows):
    """Return what the pipelines of a dataset with these rows need: its settings, its script."""
    dataset = Dataset("acme.event", clock=clock, redact=as_it_is, identity=("id",), rows=rows)
    twins = "String clock(Map r) { return r.get('time') }\ndef as_it_is(def r) { return r }\n"
    return painless.settings_of(dataset), painless.script(dataset, twins)


def test_int_and_float_need_no_twin():
    rows = (
        Field("items[].score", "acme.scores", int),
        Field("share", "acme.share", float),
        Field("level", "acme.level", lookup({"high": 3}, int)),
    )
    settings, script = settings_and_script(*rows)
    assert settings == ("keep_original",)
    assert script.count("python_int(") >= 3 and "python_float(raw)" in script


@pytest.mark.parametrize(
    "row, sentence",
    [
        (
            Field("items[].score", "acme.scores", points),
            'the row "items[].score": the converter acme.mapping.points has no Painless'
            " function of the same name, so an ingest pipeline cannot do what it does; write a"
            " function points in acme/elastic/mapping.painless, or use a converter"
            " of siemtap.core.declared, which needs none",
        ),
        (
            Join(("a", "b"), "acme.both", lambda a, b: a),
            'the row "a, b": the converter <lambda> has no Painless function of the same name, so'
            " an ingest pipeline cannot do what it does; write a function, or use a converter of"
            " siemtap.core.declared, which needs none",
        ),
        (
            Given("site", "observer.name", points),
            'the row of the setting "site": the converter acme.mapping.points has',
        ),
        (
            Field("name", "acme.name", str),
            'the row "name": the converter str is only Python\'s; leave it out: without a converter'
            " a value becomes text",
        ),
    ],
)
def test_converter_without_a_painless_function(row, sentence):
    with pytest.raises(ConfigError) as raised:
        settings_and_script(row)
    assert str(raised.value).startswith(f"acme.event: {sentence}")
