"""A CEL program for Elastic Agent: a vendor's statements and the frame around them, as one
expression.

CEL has no variables, and a program of nested `as` is hard to read. So a program is written as a
list of statements, each at the left edge, what belongs to it indented:

    let NAME = EXPRESSION       adds a value to `run`; what follows reads it as `run.NAME`
    return if CONDITION:        ends the evaluation with the result that follows, an object;
    return:                     without a condition, always
    use NAME                    puts in NAME.cel of the vendor's folder, or a part of frame.cel

A result is merged into the agent's state. It may have these members:

    events, cursor, want_more   as the agent knows them; without them: none, the old one, true
    error                       the text of a failure: it is published, and the cycle ends
    not_before                  nothing is asked until then

The agent goes on, and keeps a cursor, only where there is an event. Where a result has none, the
frame adds `{"_nothing": true}`, which the policy drops.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple

from ..core.errors import ConfigError
from ..core.rows import Dataset, identity_parts

FRAME = Path(__file__).parent / "frame.cel"
STATEMENT = re.compile(
    r"let (?P<name>\w+) =(?P<value>.*)|return(?: if (?P<condition>.+))?:|use (?P<part>\w+)"
)
READS = re.compile(r"\brun\.(\w+)")
PART = re.compile(r"^part (\w+)\n", re.MULTILINE)
BLANKS = r'" \t\n\r\f\v"'
# Go escapes three signs for browsers; nobody else does, and ids are of the plain text.
PLAIN_JSON = (
    r'.encode_json().replace_all("\\u003c", "<").replace_all("\\u003e", ">")'
    r'.replace_all("\\u0026", "&")'
)


class Statement(NamedTuple):
    """One statement. `name`: what a `let` adds. `condition`: of a `return`; "true" for always.
    `part`: what a `use` puts in. `value`: the expression. `comment`: the lines above it."""

    name: str = ""
    condition: str = ""
    part: str = ""
    value: str = ""
    comment: str = ""


def program(folder: Path, name: str, dataset: Dataset, constants: Mapping[str, Any] = {}) -> str:
    """Return the program `name` of a vendor's folder as one expression.

    `constants`: values of the vendor's Python that the program reads, as `run.NAME`."""
    lets = [Statement(name=key, value=literal(value)) for key, value in constants.items()]
    body = [*lets, *_expanded(folder, [Statement(part=name)], dataset)]
    if not body or body[-1].condition != "true":
        raise ConfigError(f"{folder / name}.cel: the last statement must be a `return:`")
    end = statements("frame.cel, part end", parts()["end"])
    return "dyn({})\n" + "\n".join(
        [*_rendered(body), *_rendered(end, guarded=False), ".as(run, state.with(run.result))"]
    )


def expression(
    folder: Path, name: str, dataset: Dataset, given: Mapping[str, str], wanted: str
) -> str:
    """Return an expression for a part of a program alone: the value of `run.<wanted>`, or null
    where a `return` ended it. `given`: name -> an expression that the part reads."""
    lets = [Statement(name=key, value=value) for key, value in given.items()]
    body = [*lets, *_expanded(folder, [Statement(part=name)], dataset)]
    end = f'.as(run, has(run.result) ? dyn(null) : dyn(run["{wanted}"]))'
    return "dyn({})\n" + "\n".join([*_rendered(body), end])


def statements(where: str, source: str) -> List[Statement]:
    """Read statements. ConfigError for a line that is none."""
    read: List[Statement] = []
    comment: List[str] = []
    for number, line in enumerate(source.splitlines(), 1):
        match = STATEMENT.fullmatch(line.rstrip())
        if not line.strip() or line.startswith("//"):
            comment += [line] if line.strip() else []
        elif match:
            name, value, condition, part = match.group("name", "value", "condition", "part")
            always = "" if name or part else "true"
            read.append(
                Statement(
                    name=name or "",
                    condition=condition or always,
                    part=part or "",
                    value=(value or "").strip(),
                    comment="\n".join(comment),
                )
            )
            comment = []
        elif line[0] in " })]" and read and not read[-1].part:
            above = "".join(f"  {line_above}\n" for line_above in comment)
            read[-1] = read[-1]._replace(value=f"{read[-1].value}\n{above}{line}".strip("\n"))
            comment = []
        else:
            raise ConfigError(
                f'{where} line {number}: "{line}" is no statement; write let NAME = …,'
                " return if …:, return: or use NAME, and indent what belongs to it"
            )
    return read


def parts() -> Dict[str, str]:
    """The parts of the frame: name -> statements."""
    _, *pieces = PART.split(FRAME.read_text(encoding="utf-8"))
    return dict(zip(pieces[::2], pieces[1::2]))


def identity(dataset: Dataset) -> str:
    """Return the part that gives each of `run.records` its id, as `Dataset.identity` lists its
    words.

    A record has `words`, an object with the listed paths as names; a function among them has its
    name there. Without one it does not fit the vendor's page, and its id is of the whole record; so
    it is if no word has a value."""
    listed = [word if isinstance(word, str) else word.__name__ for word in identity_parts(dataset)]
    return f"""
let records = run.records.map(row, row.with({{"words": type(row.words) == map ?
    {literal(listed)}.map(name, name in row.words ? row.words[name] : null) : [row.record]}}))
let records = run.records.map(row, row.with({{"words": row.words.map(word, word == null ? "" :
    type(word) == string ? string(word).trim({BLANKS}) : word{PLAIN_JSON})}}))
let records = run.records.map(row, row.with({{"id":
    ([{literal(dataset.name)}] + row.words).join("\\n").sha256().hex().substring(0, 32)}}))
"""


def literal(value: Any) -> str:
    """A value as CEL spells it, which is as JSON does."""
    return json.dumps(value)


def _expanded(folder: Path, source: List[Statement], dataset: Dataset) -> Iterator[Statement]:
    """Put in what `use` names."""
    for statement in source:
        if not statement.part:
            yield statement
            continue
        file = folder / f"{statement.part}.cel"
        if file.exists():
            where, text = str(file), file.read_text(encoding="utf-8")
        elif statement.part == "identity":
            where, text = "identity", identity(dataset)
        elif statement.part in parts():
            where, text = f"frame.cel, part {statement.part}", parts()[statement.part]
        else:
            raise ConfigError(
                f"use {statement.part}: neither a file of {folder} nor a part of frame.cel"
            )
        yield from _expanded(folder, statements(where, text), dataset)


def _rendered(source: Iterable[Statement], guarded: bool = True) -> Iterator[str]:
    """Write the statements; where they are guarded, none does anything once there is a result."""
    for group in _groups(source):
        first = group[0]
        if first.condition:
            ended = "has(run.result)"
            ended += "" if first.condition == "true" else f" || !({first.condition})"
            result = f'.as(run, {ended} ? run : run.with({{"result":\n  {first.value}}}))'
            yield f"{first.comment}\n{result}".lstrip("\n")
        else:
            members = ",\n".join(
                f'{statement.comment}\n"{statement.name}": {statement.value}'.lstrip("\n")
                for statement in group
            )
            guard = "has(run.result) ? run : " if guarded else ""
            yield f".as(run, {guard}run.with({{\n{members}\n}}))"


def _groups(source: Iterable[Statement]) -> Iterator[List[Statement]]:
    """Put values together that do not read each other: a short program compiles faster."""
    group: List[Statement] = []
    for statement in source:
        names = {before.name for before in group}
        if group and (
            statement.condition or names & {statement.name, *READS.findall(statement.value)}
        ):
            yield group
            group = []
        group.append(statement)
        if statement.condition:
            yield group
            group = []
    if group:
        yield group
