"""Mutation tests: each of these small defects, planted in a copy of the source, must make a test
fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutants_of_checks import CHECKS
from mutants_of_delivery import DELIVERY
from mutants_of_formats import FORMATS
from mutants_of_redaction import REDACTION

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

# File, original, defect, and what must fail: a test file, or one test where the file takes long
MUTANTS = [
    *DELIVERY,
    # The filter of events received before; a stop between two batches
    (
        "engine/pump.py",
        "feed.known(events) if feed.known else None",
        "set() if feed.known else None",
        "engine/test_pump.py",
    ),
    (
        "engine/pump.py",
        "            return False\n",
        "            return True\n",
        "test_crash.py::test_pump_stops_between_two_batches",
    ),
    # Failures
    (
        "engine/cycle.py",
        "        self.in_doubt = True\n        self.attempts += 1\n",
        "        self.attempts += 1\n",
        "engine/test_cycle.py",
    ),
    ("engine/cycle.py", "max(wait, min(after,", "min(wait, min(after,", "engine/test_cycle.py"),
    ("engine/cycle.py", "self.attempts >= policy.max_attempts", "False", "engine/test_cycle.py"),
    (
        "engine/cycle.py",
        "            or now + wait - self.progressed > policy.patience\n",
        "",
        "engine/test_cycle.py",
    ),
    (
        "outputs/sqlite.py",
        (
            "            if mark is not None:\n                save(db, unit, mark)\n\n       "
            " self.database.write(insert)\n"
        ),
        (
            "        if mark is not None:\n            self.database.write(lambda db: save(db,"
            " unit, mark))\n        self.database.write(insert)\n"
        ),
        "test_crash.py::test_crash_at_any_step_neither_loses_nor_duplicates_events[in_sqlite]",
    ),
    (
        "outputs/sqlite.py",
        "INSERT OR IGNORE INTO event",
        "INSERT INTO event",
        "outputs/test_sqlite_output.py",
    ),
    (
        "edge/store/checkpoints.py",
        'db.execute("ROLLBACK TO one")',
        "pass",
        "outputs/test_sqlite_output.py",
    ),
    (
        "outputs/file.py",
        "        self._cut_torn_line()\n",
        "",
        "outputs/test_file_output.py",
    ),
    (
        "outputs/file.py",
        "                file.truncate(self.end)\n",
        "                pass\n",
        "outputs/test_file_output.py",
    ),
    # Deduplication within the overlap
    (
        "core/model.py",
        "if until >= horizon",
        "if until > horizon",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/model.py",
        "horizon = batch.until - batch.overlap",
        "horizon = batch.until + batch.overlap",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/model.py",
        "horizon = batch.until - batch.overlap",
        "horizon = 0",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/model.py",
        "max(batch.until, seen[id]) for id",
        "seen[id] for id",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/model.py",
        "max(batch.until, seen[id]) for id",
        "batch.until for id",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/model.py",
        "if id not in self.seen]",
        "]",
        "core/test_windows_and_marks.py",
    ),
    (
        "edge/client/walk.py",
        "return self.overlap + 2 * self.grain + self.blur",
        "return 0",
        "apptrana/test_token.py",
    ),
    # Time windows
    (
        "core/windows.py",
        "start = edge - touching",
        "start = edge",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/windows.py",
        "start = edge - touching",
        "start = edge + touching",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/windows.py",
        "edge = min(start + widest, stop)",
        "edge = min(start + widest + 1, stop)",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/windows.py",
        "edge = min(start + widest, stop)",
        "edge = start + widest",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/windows.py",
        "    while start < stop:",
        "    while start < stop - 1:",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/windows.py",
        "Window(middle - grain, self.stop)",
        "Window(middle, self.stop)",
        "core/test_windows_and_marks.py",
    ),
    (
        "core/windows.py",
        "return moment - moment % grain",
        "return moment",
        "core/test_windows_and_marks.py",
    ),
    (
        "edge/client/walk.py",
        "whole(max(reached - self.overlap, oldest), self.grain)",
        "whole(reached, self.grain)",
        "apptrana/test_vendor.py",
    ),
    (
        "edge/client/walk.py",
        "reached = max(reached, window.stop)",
        "reached = window.stop",
        "apptrana/test_time.py",
    ),
    (
        "edge/client/walk.py",
        "            if error:\n                yield from",
        "            if False:\n                yield from",
        "apptrana/test_time.py",
    ),
    (
        "edge/client/walk.py",
        "return whole(now - self.settings.lag, self.grain)",
        "return now",
        "apptrana/test_time.py",
    ),
    # Ids, tokens
    (
        "core/identity.py",
        "return value.strip(BLANKS)",
        "return value",
        "core/test_identity.py",
    ),
    (
        "core/identity.py",
        '"\\n".join([dataset,',
        '"".join([dataset,',
        "core/test_identity.py",
    ),
    (
        "core/compile/emit.py",
        "raw.strip(BLANKS) if raw.__class__ is str",
        "raw if raw.__class__ is str",
        "test_contract.py",
    ),
    (
        "core/identity.py",
        "hexdigest()[:32]",
        "hexdigest()[32:]",
        "core/test_identity.py",
    ),
    (
        "../centurylink_ips/packets.py",
        "    begin = shown = _end_of_cut(text)\n",
        "    begin = shown = 0\n",
        "centurylink_ips/test_packets.py::test_packet_that_begins_in_a_header_shows_no_secret",
    ),
    (
        "../centurylink_ips/mapping.py",
        'return [record["@element"], record.get("@instant")]',
        'return [record["@element"]]',
        "centurylink_ips/test_forms.py::test_each_format_of_the_sender_is_one_event_with_its_id",
    ),
    (
        "../centurylink_ips/formats.py",
        (
            '    if not MICROSECONDS.fullmatch(spell(element.get("driverTime"))):\n       '
            ' record["@element"] = element\n'
        ),
        "",
        "centurylink_ips/test_identity.py::test_json_elements_that_differ_anywhere_have_different_ids",
    ),
    (
        "core/rows.py",
        'return f"_{name}" if name.startswith("@") else name',
        "return name",
        "centurylink_ips/test_identity.py::test_id_of_the_webhook_object_uses_the_listed_fields",
    ),
    (
        "../apptrana/mapping.py",
        '"websiteName", "target", "attackData"),',
        '"websiteName", "target"),',
        "test_contract.py",
    ),
    (
        "edge/client/bearer.py",
        "(refused and refused == self.text)",
        "refused",
        "apptrana/test_token.py",
    ),
    (
        "edge/client/bearer.py",
        "            if self.login_error and not rested:",
        "            if False:",
        "apptrana/test_token.py",
    ),
    (
        "edge/client/walk.py",
        "range(AT_ONCE, len(records), AT_ONCE)",
        "range(0, 0)",
        "pingintelligence/test_abs.py::test_large_response_is_split_into_batches_and_the_last_has_the_cursor",
    ),
    (
        "../pingintelligence/attacks.py",
        'known["@count"] += 1',
        "pass",
        "pingintelligence/test_reports.py",
    ),
    (
        "edge/client/ahead.py",
        "            while self.in_flight >= self.allowed:",
        "            while False:",
        "pingintelligence/test_abs.py::test_calls_in_flight_are_limited_by_concurrency",
    ),
    (
        "../pingintelligence/times.py",
        "HOUR if _near_fold(start, abs_zone) else 0",
        "0",
        "pingintelligence/test_reports.py",
    ),
    (
        "../pingintelligence/attack_list.py",
        "if entry not in now and state != REMOVED",
        "if False",
        "pingintelligence/test_datasets.py::test_deny_list_changes_become_events",
    ),
    *CHECKS,
    *FORMATS,
    *REDACTION,
]


@pytest.mark.parametrize(
    "file,original,defect,test",
    MUTANTS,
    ids=[f"{file}-{number}" for number, (file, *_) in enumerate(MUTANTS)],
)
def test_planted_defect_makes_a_test_fail(file, original, defect, test, tmp_path):
    for name in ("plugins", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "plugins/siemtap" / file
    source = path.read_text()
    assert source.count(original) == 1, (
        f"{original!r} stands {source.count(original)} times in {file}: update the mutant"
    )
    path.write_text(source.replace(original, defect))
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "plugins"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    arguments = [
        "-x",
        "-q",
        "--assert=plain",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:xdist",
        "-c",
        str(ROOT / "setup.cfg"),
        "--rootdir",
        str(ROOT),
        "-o",
        f"pythonpath={tmp_path}/plugins {ROOT}/tests {ROOT}/tests/live",
    ]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, str(ROOT / "tests" / test)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 1, (
        f"no test failed:\n{result.stdout[-1500:]}{result.stderr[-1500:]}"
    )
