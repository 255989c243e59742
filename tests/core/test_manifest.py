"""Settings forms: values that are filled in, errors, descriptions."""

import dataclasses

import pytest

from siemtap.core import manifest
from siemtap.core.errors import ConfigError
from siemtap.core.settings import CommonSettings, Connection


@dataclasses.dataclass(frozen=True)
class Form:
    name: str = manifest.text("Name", help="Who.")
    key: str = manifest.secret("Key", help="What nobody sees.")
    kind: str = manifest.choice("Kind", "one", "two", help="Which.")
    every: int = manifest.duration("Every", "60s", least="1s", most="1d", help="How often.")
    on: bool = manifest.switch("On", help="Whether.")
    many: int = manifest.integer("Many", 3, least=1, most=9, help="How many.")
    at: int = manifest.port("Port", 80, help="Where.")
    url: str = manifest.url("Address", "https://api.example.com", help="Where to.")
    words: tuple = manifest.text_list("Words", ("a",), options=("a", "b"), help="Some.")
    map: dict = manifest.table("Map", {"0": 99}, values=(21, 99), help="What is what.")


def test_texts_are_converted_to_values():
    filled = manifest.fill_in(
        Form,
        {
            "name": 7,
            "key": "s3cret",
            "every": "2m",
            "on": "yes",
            "many": "9",
            "at": "443",
            "url": "http://h.example.com/x/",
            "words": "a, b",
            "map": {"1": "21"},
        },
    )
    assert (
        filled.name,
        filled.every,
        filled.on,
        filled.many,
        filled.at,
        filled.url,
        filled.words,
        filled.map,
    ) == ("7", 120_000, True, 9, 443, "http://h.example.com/x", ("a", "b"), {"1": 21})
    assert "s3cret" not in repr(filled)
    assert manifest.fill_in(Form, {"name": "n", "key": "k"}).every == 60_000


@pytest.mark.parametrize(
    "given,message",
    [
        ({}, "name (Name) is missing. Who."),
        ({"nane": "x"}, 'there is no setting "nane"; did you mean "name"?'),
        ({"kind": "tow"}, 'kind: "tow" is not one of one, two; did you mean "two"?'),
        (
            {"every": "1 day"},
            'every: "1 day" is not a duration; use a number and a unit, such as 30s, 5m, 12h or 1d',
        ),
        ({"every": "2d"}, 'every: "2d" is not between 1s and 1d'),
        ({"on": "perhaps"}, "neither true nor false"),
        ({"many": "x"}, "not a whole number"),
        ({"many": 10}, "10 is not between 1 and 9"),
        ({"many": True}, "not a whole number"),
        ({"at": 65536}, "not between 0 and 65535"),
        ({"url": "api.example.com"}, "must look like"),
        ({"url": "https://u:p@api.example.com"}, "without a user"),
        ({"words": ["c"]}, 'words: "c" is not one of a, b'),
        ({"map": {"0": 50}}, 'map: "50" for 0 is not one of 21, 99'),
        ({"map": "x"}, "must be a table"),
        ({"name": ["x"]}, "must be a text"),
    ],
)
def test_each_mistake_has_its_message(given, message):
    with pytest.raises(ConfigError) as caught:
        manifest.fill_in(
            Form, given if not given or "nane" in given else {"name": "n", "key": "s3cret", **given}
        )
    assert (
        message in str(caught.value)
        and "s3cret" not in str(caught.value)
        and "p@" not in str(caught.value)
    )


def test_every_setting_has_a_description():
    for form in (Form, CommonSettings, Connection):
        for s in manifest.describe(form):
            assert s["kind"] in manifest.KINDS and s["label"] and s["help"].endswith((".", "?"))
