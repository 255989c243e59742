"""A test suite that cannot fail proves nothing: each of these small wrongs, planted in a copy,
must make a test fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE, CRASH, VENDOR, OUTPUTS, REPORTS = (
    "tests/core",
    "tests/test_crash.py",
    "tests/apptrana",
    "tests/outputs",
    "tests/pingintelligence",
)
PUSHED = "tests/centurylink_ips"

MUTANTS = [
    # The commit order
    (
        "engine.py",
        (
            "        if events:\n            refused = self.output.deliver(unit, events, None) or"
            " []\n            self.unmarked |= ids\n        self.checkpoints.save(unit, mark)\n"
        ),
        (
            "        self.checkpoints.save(unit, mark)\n        if events:\n            refused ="
            " self.output.deliver(unit, events, None) or []\n"
        ),
        CRASH,
    ),
    ("engine.py", "            self.unmarked |= ids\n", "", CRASH),
    ("engine.py", "self.unmarked.intersection(ids) | (", "(", CRASH),
    ("engine.py", "        self.unmarked -= ids\n", "", CRASH),
    (
        "engine.py",
        "        output.deliver(unit, fresh, mark)\n",
        "        output.deliver(unit, fresh, mark) if fresh else None\n",
        CRASH,
    ),
    (
        "engine.py",
        '[event for event in events if event["event"]["id"] not in held] if held else events',
        "events",
        CRASH,
    ),
    (
        "engine.py",
        "fresh, mark = mark.after(batch, say(batch))",
        "fresh, _ = mark.after(batch, say(batch))",
        CRASH,
    ),
    (
        "outputs/sqlite.py",
        (
            "            if mark is not None:\n                save(db, unit, mark)\n\n       "
            " self.database.write(work)\n"
        ),
        (
            "        if mark is not None:\n            self.database.write(lambda db: save(db,"
            " unit, mark))\n        self.database.write(work)\n"
        ),
        CRASH,
    ),
    ("outputs/sqlite.py", "INSERT OR IGNORE INTO event", "INSERT INTO event", OUTPUTS),
    ("edge/checkpoints.py", 'db.execute("ROLLBACK TO one")', "pass", OUTPUTS),
    ("outputs/file.py", "        self._cut_torn_line()\n", "", OUTPUTS),
    (
        "outputs/file.py",
        "            self.file.truncate(self.end)\n",
        "            pass\n",
        OUTPUTS,
    ),
    # The dedupe horizon
    ("core/model.py", "if until >= horizon", "if until > horizon", CORE),
    (
        "core/model.py",
        "horizon = batch.until - batch.overlap",
        "horizon = batch.until + batch.overlap",
        CORE,
    ),
    ("core/model.py", "horizon = batch.until - batch.overlap", "horizon = 0", CORE),
    (
        "core/model.py",
        "seen[id] = max(batch.until, seen.get(id, 0))",
        "seen.setdefault(id, batch.until)",
        CORE,
    ),
    (
        "core/model.py",
        "seen[id] = max(batch.until, seen.get(id, 0))",
        "seen[id] = batch.until",
        CORE,
    ),
    ("core/model.py", "if id not in self.seen]", "]", CORE),
    ("edge/walk.py", "return self.overlap + 2 * self.grain + self.blur", "return 0", VENDOR),
    # The window arithmetic
    ("core/windows.py", "start = edge - touching", "start = edge", CORE),
    ("core/windows.py", "start = edge - touching", "start = edge + touching", CORE),
    (
        "core/windows.py",
        "edge = min(start + widest, stop)",
        "edge = min(start + widest + 1, stop)",
        CORE,
    ),
    ("core/windows.py", "edge = min(start + widest, stop)", "edge = start + widest", CORE),
    ("core/windows.py", "    while start < stop:", "    while start < stop - 1:", CORE),
    ("core/windows.py", "Window(middle - grain, self.stop)", "Window(middle, self.stop)", CORE),
    ("core/windows.py", "return moment - moment % grain", "return moment", CORE),
    (
        "edge/walk.py",
        "whole(max(reached - self.overlap, oldest), self.grain)",
        "whole(reached, self.grain)",
        VENDOR,
    ),
    ("edge/walk.py", "reached = max(reached, window.stop)", "reached = window.stop", VENDOR),
    (
        "edge/walk.py",
        "            if error:\n                yield from",
        "            if False:\n                yield from",
        VENDOR,
    ),
    (
        "edge/walk.py",
        "            whole(now - self.wish.lag, self.grain),\n",
        "            now,\n",
        VENDOR,
    ),
    # The identity, the token
    ("core/identity.py", "return word.strip(BLANKS)", "return word", CORE),
    ("core/identity.py", '"\\n".join([dataset,', '"".join([dataset,', CORE),
    (
        "core/mapping.py",
        "said.strip(BLANKS) if said.__class__ is str",
        "said if said.__class__ is str",
        "tests/test_cases.py",
    ),
    ("core/identity.py", "hexdigest()[:32]", "hexdigest()[32:]", CORE),
    (
        "../centurylink_ips/mapping.py",
        'return [record["@element"], record.get("@instant")]',
        'return [record["@element"]]',
        PUSHED,
    ),
    (
        "../centurylink_ips/formats.py",
        (
            '    if not MICROSECONDS.fullmatch(spell(said.get("driverTime"))):\n       '
            ' record["@element"] = said\n'
        ),
        "",
        PUSHED,
    ),
    (
        "../centurylink_ips/formats.py",
        'return f"_{name}" if name.startswith("@") else name',
        "return name",
        PUSHED,
    ),
    (
        "../apptrana/mapping.py",
        '"websiteName", "target", "attackData"),',
        '"websiteName", "target"),',
        "tests/test_cases.py",
    ),
    ("edge/bearer.py", "(refused and refused == self.text)", "refused", VENDOR),
    (
        "edge/bearer.py",
        "            if self.wrong and not rested:",
        "            if False:",
        VENDOR,
    ),
    ("edge/walk.py", "range(0, len(records) - AT_ONCE, AT_ONCE)", "range(0, 0)", REPORTS),
    ("../pingintelligence/attacks.py", 'known["@count"] += 1', "pass", REPORTS),
    (
        "../pingintelligence/plugin.py",
        "            while self.flying >= self.parallel:",
        "            while False:",
        REPORTS,
    ),
    ("../pingintelligence/times.py", "HOUR if _near_fold(start, where) else 0", "0", REPORTS),
    (
        "../pingintelligence/attack_list.py",
        "if entry not in now and state != REMOVED",
        "if False",
        REPORTS,
    ),
    (
        "../apptrana/mapping.py",
        "            present[name] = REDACTED\n",
        "            pass\n",
        VENDOR,
    ),
]


@pytest.mark.parametrize(
    "file,right,wrong,tests",
    MUTANTS,
    ids=[f"{file}-{number}" for number, (file, *_) in enumerate(MUTANTS)],
)
def test_a_small_wrong_is_found(file, right, wrong, tests, tmp_path):
    for name in ("plugins", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "plugins/siemtap" / file
    source = path.read_text()
    assert source.count(right) == 1, (
        f"{right!r} stands {source.count(right)} times in {file}: write the mutant anew"
    )
    path.write_text(source.replace(right, wrong))
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "plugins"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    words = [
        "-x",
        "-q",
        "-k",
        "not week",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-c",
        str(ROOT / "setup.cfg"),
        "--rootdir",
        str(ROOT),
        "-o",
        f"pythonpath={tmp_path}/plugins {ROOT}/tests {ROOT}/tests/live",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(ROOT / tests)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, f"it survived:\n{done.stdout[-1500:]}"
