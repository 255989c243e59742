"""The CEL programs of the Elastic packages as text: nesting, which part is shared, and the
errors of invalid lines. Their behaviour: tests/live/check_programs.py."""

import re
from pathlib import Path

import pytest
from pingintelligence.report_types import Report

import apptrana.ingest
from apptrana.mapping import ACTIVITY, ATTACK
from siemtap.bundles import integration
from siemtap.core.errors import ConfigError
from siemtap.core.rows import identity_parts
from siemtap.elastic import cel

DEEPEST = 10
PLUGINS = Path(cel.__file__).parents[2]
PROGRAMS = {
    dataset: way.cel
    for plugin in integration.packaged().values()
    for dataset, stream in integration.described(plugin).streams.items()
    for way in stream.ways
    if way.cel
}
OF_VENDORS = sorted(
    path for path in PLUGINS.glob("*/elastic/*.cel") if path.parents[1].name != "siemtap"
)


def without_strings_and_comments(source):
    """Return CEL without string literals and comments."""
    return re.sub(r"//.*", "", re.sub(r'"(?:[^"\\]|\\.)*"', '""', source))


def nesting(source):
    """Return the highest number of open parentheses, brackets and braces."""
    depth = deepest = 0
    for sign in without_strings_and_comments(source):
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    assert depth == 0
    return deepest


@pytest.mark.parametrize("dataset", PROGRAMS)
def test_nesting_of_every_program_is_limited(dataset):
    assert 2 < nesting(PROGRAMS[dataset]) <= DEEPEST


def test_nesting_ignores_strings_and_comments():
    assert nesting('f([{"((((": g(1)}]) // (((') == 4


def test_parts_of_the_frame_are_in_no_vendor_file():
    """Back-off, ids and the event that continues a cycle are written once, in the frame."""
    written = [
        (file.name, word)
        for file in OF_VENDORS
        for word in ("_nothing", "Retry-After", "not_before", "seen[id]", "substring(0, 32)")
        if word in file.read_text(encoding="utf-8")
    ]
    assert written == []


def test_every_part_and_every_file_is_used():
    sources = [file.read_text(encoding="utf-8") for file in OF_VENDORS] + [*cel.parts().values()]
    used = {line.part for source in sources for line in cel.statements("a source", source)}
    programs = {dataset.partition(".")[2] for dataset in PROGRAMS}
    assert {*cel.parts(), *(file.stem for file in OF_VENDORS)} - programs - used == {"end"}


@pytest.mark.parametrize("dataset", (ATTACK, ACTIVITY))
def test_id_is_computed_from_the_identity_fields(dataset):
    names = [word if isinstance(word, str) else word.__name__ for word in identity_parts(dataset)]
    assert f"{cel.literal(names)}.map(name" in PROGRAMS[dataset.name]
    assert cel.literal(dataset.name) in PROGRAMS[dataset.name]


@pytest.mark.parametrize(
    "line, message",
    [
        ("set x = 1", "line 1"),
        ("let x: 1", "let NAME"),
        ("  let x = 1", "line 1"),
        ("use wait\n  1", "line 2"),
        ("return if x", "return if"),
    ],
)
def test_invalid_line_is_named_in_the_error(line, message):
    with pytest.raises(ConfigError, match=message):
        cel.statements("a.cel", line)


def test_program_needs_a_result_and_known_names(tmp_path):
    (tmp_path / "a.cel").write_text("let x = 1\n")
    with pytest.raises(ConfigError, match="the last statement must be"):
        cel.program(tmp_path, "a", ATTACK)
    (tmp_path / "a.cel").write_text("use nowhere\n")
    with pytest.raises(ConfigError, match="use nowhere: neither a file"):
        cel.program(tmp_path, "a", ATTACK)


def test_vendor_file_replaces_a_part_of_the_frame(tmp_path):
    (tmp_path / "a.cel").write_text("use wait\nreturn:\n  {}\n")
    (tmp_path / "wait.cel").write_text("let own = 1\n")
    made = cel.program(tmp_path, "a", ATTACK, {"names": ["x"]})
    assert '"own": 1' in made and '"names": ["x"]' in made
    assert "timestamp(state.not_before)" not in made


def test_values_that_depend_on_each_other_are_not_merged(tmp_path):
    (tmp_path / "a.cel").write_text("let x = 1\nlet y = 2\nlet x = run.x + 1\nreturn:\n  {}\n")
    made = cel.program(tmp_path, "a", ATTACK)
    assert '"x": 1,\n"y": 2\n}' in made and '{\n"x": run.x + 1\n}' in made


def test_package_contains_the_program_of_the_vendor_folder():
    assert cel.program(apptrana.ingest.HERE, "attack", ATTACK) == PROGRAMS["apptrana.attack"]


def test_the_program_of_reports_reads_the_fields_that_a_report_has():
    program = PROGRAMS["pingintelligence.report"]
    read = set(re.findall(r"run\.(?:report|reports\[name\])\.(\w+)", program))
    assert read == set(Report._fields)
