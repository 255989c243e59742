"""The kinds of settings: each is declared once for those who read values, once for the renderers,
and nobody else tells one kind from another."""

import ast
import dataclasses
from pathlib import Path

import jsonschema
import pytest

from siemtap.core import manifest
from siemtap.elastic.package import agent, form
from siemtap.render import config, kinds
from siemtap.splunk.build.fields import field
from siemtap.splunk.runtime.splunkd import parse_values

MACHINE = Path(manifest.__file__).parents[1]
DECLARATIONS = {"core/manifest.py", "render/kinds.py"}


@dataclasses.dataclass(frozen=True)
class Form:
    """A setting of every kind."""

    text: str = manifest.text("Text", help="Some.")
    secret: str = manifest.secret("Secret", help="Some.")
    duration: int = manifest.duration("Duration", help="Some.")
    integer: int = manifest.integer("Integer", help="Some.")
    port: int = manifest.port("Port", help="Some.")
    url: str = manifest.url("Address", help="Some.")
    choice: str = manifest.choice("Choice", "one", "two", help="Some.")
    switch: bool = manifest.switch("Switch", help="Some.")
    many: tuple = manifest.text_list("Words", help="Some.")
    table: dict = manifest.table("Table", help="Some.")


SETTINGS = manifest.describe(Form)
# A value of each setting as Splunk's conf files have it, and as the form of settings holds it.
VALUES = {
    "text": ("words", "words"),
    "secret": ("s3cret", "s3cret"),
    "choice": ("two", "two"),
    "duration": ("5m", 300_000),
    "switch": ("true", True),
    "integer": ("7", 7),
    "port": ("443", 443),
    "url": ("https://api.example.com", "https://api.example.com"),
    "many": ("a,b", ("a", "b")),
    "table": ('{"a": 1}', {"a": 1}),
}
each_setting = pytest.mark.parametrize("s", SETTINGS, ids=lambda s: s["name"])


def test_every_kind_is_declared_for_every_reader_and_tested():
    assert manifest.KINDS.keys() == kinds.KINDS.keys() == {s["kind"] for s in SETTINGS}
    with pytest.raises(KeyError):
        manifest.setting("colour", "Colour", [], "Some.")


def test_a_value_is_read_alike_from_every_form():
    texts = {name: text for name, (text, _) in VALUES.items()}
    values = parse_values(texts, SETTINGS)
    jsonschema.Draft7Validator(config.schema_of(Form)).validate(values)
    filled = manifest.fill_in(Form, values)
    assert dataclasses.asdict(filled) == {name: value for name, (_, value) in VALUES.items()}


@each_setting
def test_every_renderer_knows_the_kind(s):
    schema = config.schema_of_setting(s)
    jsonschema.Draft7Validator.check_schema(schema)
    assert not jsonschema.Draft7Validator(schema).is_valid(None)
    is_secret = manifest.kind_of(s).is_secret
    assert ("writeOnly" in schema) == field(s).get("encrypted", False) == is_secret
    variable = form.setting_variable(s)
    assert variable["type"] and agent._assign(s, "  ")
    assert ("secret" in variable and variable["secret"]) == is_secret


@each_setting
def test_a_placeholder_of_a_required_setting_can_be_read(s):
    if s["required"]:
        kind = manifest.kind_of(s)
        assert kind.read(s, kind.placeholder)


def names_of_kinds(node):
    """Return the names of kinds that an expression compares a kind with, or that are its keys."""
    if isinstance(node, ast.Dict):
        keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        return keys if {"duration", "switch"} <= keys else set()
    if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith("['kind']"):
        constants = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
        return constants & manifest.KINDS.keys()
    return set()


@pytest.mark.slow
def test_nobody_else_tells_one_kind_from_another():
    dispatches = {
        f"{path.relative_to(MACHINE)}:{node.lineno}"
        for path in MACHINE.rglob("*.py")
        if path.relative_to(MACHINE).as_posix() not in DECLARATIONS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if names_of_kinds(node)
    }
    assert dispatches == set()
