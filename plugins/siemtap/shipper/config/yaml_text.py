"""Reads the text of a YAML file into plain values that know their line and how they were written.

A number keeps its text: in a setting that is a text, 00099, 1.10 and 1e5 mean what they look like.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import ruamel.yaml
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from ...core.errors import ConfigError

TAG = "tag:yaml.org,2002:"
MOST_VALUES = 100_000  # aliases of aliases can make any number
HINTS = (
    (r"found character '\\t'", "indent with blanks, not with tabs"),
    (r"found character '(.)'", "put the value in quotes"),
    (
        r"mapping values are not allowed",
        "put a value with `: ` in quotes, or check the indentation",
    ),
    (r"could not find expected ':'", "write `name: value`, with a blank behind the colon"),
    (r"expected <block end>", "check the indentation: settings of one section begin in one column"),
    (r"undefined alias", "put a value that begins with * in quotes"),
)
INTEGERS = ((r"[-+]?[0-9][0-9_]*", 10), (r"0x[0-9a-fA-F_]+", 16), (r"0o[0-7_]+", 8))


class Text(NamedTuple):
    """A scalar: its value, and its text in the file."""

    value: Any
    written: str


class Pair(NamedTuple):
    """A key with its value."""

    key: str
    value: Any
    line: int


class Section(NamedTuple):
    """A mapping."""

    pairs: List[Pair]


class Items(NamedTuple):
    """A list: (value, line) of each item."""

    items: List[Tuple[Any, int]]


Report = Callable[[int, str], None]  # line, sentence


def read(text: str, file: str, report: Report) -> Any:
    """Return the file's content. Raise ConfigError for text that is no YAML; report the rest."""
    try:
        node = ruamel.yaml.YAML(typ="safe", pure=True).compose(text)
    except ruamel.yaml.error.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = " ".join((error.problem or str(error)).split())
        raise ConfigError(f"{file}{line}: {problem}{_hint(problem)}") from None
    except ruamel.yaml.error.YAMLError as error:
        position = getattr(error, "position", 0)
        character = getattr(error, "character", "")
        if not isinstance(character, str) or not character:
            raise ConfigError(f"{file}: {' '.join(str(error).split())}") from None
        line = f" line {text.count(chr(10), 0, position) + 1}"
        raise ConfigError(
            f"{file}{line}: the character U+{ord(character):04X} is not allowed; remove it"
        ) from None
    except RecursionError:
        raise ConfigError(f"{file}: sections are nested too deep") from None
    try:
        return _Reader(report).value(node, ())
    except RecursionError:
        raise ConfigError(f"{file}: sections are nested too deep") from None


def _hint(problem: str) -> str:
    return next((f"; {hint}" for pattern, hint in HINTS if re.search(pattern, problem)), "")


class _Reader:
    def __init__(self, report: Report) -> None:
        self.report = report
        self.number = 0

    def value(self, node: Any, around: Tuple[Any, ...]) -> Any:
        """Return a node's content; `around`: the nodes that it is in."""
        self.number += 1
        if node is None:
            return Text(None, "")
        line = node.start_mark.line + 1
        if any(node is outer for outer in around) or self.number > MOST_VALUES:
            if self.number <= MOST_VALUES + 1:
                self.report(line, "an alias (*) that holds itself, or far too many of them")
            return Text(None, "")
        if isinstance(node, ScalarNode):
            return self._scalar(node, line)
        if node.tag not in (f"{TAG}map", f"{TAG}seq"):
            self.report(line, f"the tag {_shown_tag(node.tag)} has no meaning here; remove it")
        if isinstance(node, SequenceNode):
            return Items(
                [
                    (self.value(item, (*around, node)), item.start_mark.line + 1)
                    for item in node.value
                ]
            )
        return self._section(node, (*around, node))

    def _section(self, node: MappingNode, around: Tuple[Any, ...]) -> Section:
        pairs: Dict[str, Pair] = {}
        merged: List[Pair] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self.report(line, "a name cannot be a list or a section")
                continue
            if key_node.tag == f"{TAG}merge" or (key_node.value == "<<" and not key_node.style):
                merged += self._merged(self.value(value_node, around))
                continue
            key = key_node.value
            pair = Pair(key, self.value(value_node, around), line)
            if key in pairs:
                self.report(line, f"found duplicate key {key}: it is in line {pairs[key].line} too")
            pairs.setdefault(key, pair)
        for pair in merged:
            pairs.setdefault(pair.key, pair)
        return Section(list(pairs.values()))

    def _merged(self, value: Any) -> List[Pair]:
        """Return the pairs that `<<: *alias` takes over."""
        if isinstance(value, Section):
            return value.pairs
        if isinstance(value, Items):
            return [pair for item, _ in value.items for pair in self._merged(item)]
        return []

    def _scalar(self, node: ScalarNode, line: int) -> Text:
        text, tag = str(node.value), node.tag or ""
        kind = tag[len(TAG) :] if tag.startswith(TAG) else ""
        if kind == "null":
            return Text(None, text)
        if kind == "bool":
            return Text(text.lower() == "true", text)
        if kind == "int":
            return Text(_integer(text), text)
        if kind == "float":
            try:
                return Text(float(text.replace("_", "")), text)
            except ValueError:
                return Text(text, text)
        if kind not in ("str", "timestamp"):
            self.report(line, f"the tag {_shown_tag(node.tag)} has no meaning here; remove it")
        return Text(text, text)


def _integer(text: str) -> Any:
    """Return the whole number that a text means, or the text."""
    for pattern, base in INTEGERS:
        if len(text) < 100 and re.fullmatch(pattern, text):
            return int(text.replace("_", ""), base)
    return text


def _shown_tag(tag: Optional[str]) -> str:
    tag = tag or ""
    return f"!!{tag[len(TAG) :]}" if tag.startswith(TAG) else tag[:60]
