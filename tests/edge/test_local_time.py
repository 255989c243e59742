"""The time zone of the machine, and the hour that it skips or repeats in spring and autumn, change
neither what is read nor ids: all times are milliseconds since 1970, and nothing reads local time.
Clocks that jump are in test_clock.py and tests/shipper/test_clock_effects.py."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# what reads the local time zone, and the arguments with which it does not
LOCAL = {"localtime", "mktime", "ctime", "tzset", "utcnow", "utcfromtimestamp", "today"}
ARGUMENTS = {"now": 1, "fromtimestamp": 2, "astimezone": 1}


def local_times(text):
    """Yield the calls in a source that read the local time zone."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, number = node.func.attr, len(node.args) + len(node.keywords)
            owner = ast.unparse(node.func.value)
            is_date = owner.endswith(("datetime", "date")) or name == "astimezone"
            if name in LOCAL or (is_date and number < ARGUMENTS.get(name, 0)):
                yield f"{owner}.{name}"


def test_nothing_reads_the_local_time():
    paths = sorted((ROOT / "plugins").rglob("*.py"))
    calls = {
        f"{path.relative_to(ROOT)}: {call}"
        for path in paths
        for call in local_times(path.read_text(encoding="utf-8"))
    }
    assert len(paths) > 200 and not calls


@pytest.mark.parametrize(
    "text",
    [
        "time.localtime(5)",
        "datetime.now()",
        "datetime.datetime.fromtimestamp(5)",
        "moment.astimezone()",
        "date.today()",
        "time.mktime(parts)",
    ],
)
def test_planted_local_time_is_seen(text):
    assert list(local_times(text))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="TZ is read on POSIX only")
@pytest.mark.parametrize("zone", ["America/St_Johns", "Australia/Lord_Howe"])
def test_events_of_all_cases_are_the_same_in_a_zone_with_daylight_saving(zone):
    """Half hours from UTC, and in one of them daylight saving of half an hour."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contract.py"],
        cwd=ROOT,
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
