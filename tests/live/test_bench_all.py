"""What the benchmarks print becomes the rows of docs/benchmarks.md."""

import ast
import subprocess
from pathlib import Path

import bench_all
import pytest


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (
            "26,304 events, gzip level 0: 12,641 events/s per core (at least 20,000, aim 40,000)",
            "26,304 events, gzip level 0 | at least 20,000, aim 40,000 | 12,641 events/s per core",
        ),
        ("record -> event    21.21 µs   54.3 %", "record -> event |  | 21.21 µs 54.3 %"),
        ("cost: 4.58 x (at most 4, aim 2)", "cost | at most 4, aim 2 | 4.58 x"),
        ("peers: not measured, a|b", "peers |  | not measured, a\\|b"),
        ("a heading", "a heading |  | "),
    ],
)
def test_a_line_is_a_row(line, row):
    assert bench_all.row_of(line) == row


def test_a_benchmark_that_fails_is_a_row_with_the_reason(tmp_path, monkeypatch):
    program = tmp_path / "bench.py"
    program.write_text("import sys; sys.exit(f'no {sys.argv[1:]} here')")
    monkeypatch.setattr(bench_all, "BENCH", program)
    (line,) = bench_all.lines_of("peers", {"rounds": 1})
    assert line == "peers: not measured, no ['peers', 'rounds=1'] here"


def test_the_table_is_written_between_its_markers(tmp_path, monkeypatch):
    page = tmp_path / "benchmarks.md"
    page.write_text(bench_all.PAGE.read_text())
    before, _, rest = page.read_text().partition("<!-- figures -->\n")
    monkeypatch.setattr(bench_all, "PAGE", page)
    monkeypatch.setattr(bench_all, "lines_of", lambda name, sizes: [f"{name}: 5 (at most 4)"])
    bench_all.run(short=True)
    assert page.read_text().partition("<!-- figures -->\n")[2] == rest
    bench_all.run()
    text = page.read_text()
    assert text.startswith(before) and text.endswith(rest.partition("<!-- /figures -->")[2])
    assert "| `ci/bench syslog` | syslog | at most 4 | 5 |" in text and "Linux " in text


def test_every_benchmark_is_in_turn():
    source = ast.parse(Path(bench_all.BENCH).read_text())
    (works,) = [
        {key.value for key in node.value.keys}
        for node in ast.walk(source)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "works"
    ]
    assert {name.split()[0] for name in bench_all.SIZES} == works
    assert set(bench_all.SHORT) <= set(bench_all.SIZES)


@pytest.mark.slow
def test_the_command_starts():
    """Every benchmark is imported, as the command does it."""
    script = Path(bench_all.BENCH).parents[2] / "ci/bench"
    done = subprocess.run([str(script), "nothing"], capture_output=True, text=True)
    assert done.returncode == 1 and "usage: " in done.stderr, done.stderr
