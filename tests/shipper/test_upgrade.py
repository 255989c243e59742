"""`siemtap run` on the `path.data` of another version."""

import sqlite3

import pytest
from processes import siemtap

CONFIG = """path.data: data
http.enabled: false
output.file: {path: out}
inputs:
  - type: centurylink_ips
    listen: 127.0.0.1:0
    secret: a-long-secret-of-a-test
"""
REJECTED = """
DROP TABLE rejected;
CREATE TABLE rejected (id TEXT PRIMARY KEY, input TEXT NOT NULL, dataset TEXT NOT NULL,
  reason TEXT NOT NULL, time INTEGER NOT NULL, event TEXT NOT NULL);
INSERT INTO rejected VALUES ('1234', 'centurylink_ips', 'centurylink_ips.event', 'full', 3, '{}');
PRAGMA user_version=1;
"""


def change(folder, statements):
    db = sqlite3.connect(folder / "data/siemtap.db")
    db.executescript(statements)
    db.close()


@pytest.mark.slow
def test_run_upgrades_and_other_commands_say_so(tmp_path):
    (tmp_path / "siemtap.yml").write_text(CONFIG)
    siemtap("run", "--once", cwd=tmp_path)
    change(tmp_path, REJECTED)
    refused = siemtap("rejected", "list", cwd=tmp_path, code=2)
    assert "was written by an older version" in refused.stderr and "`siemtap run`" in refused.stderr
    upgraded = siemtap("run", "--once", cwd=tmp_path)
    assert "was upgraded from version 1" in upgraded.stderr
    assert "1234" in siemtap("rejected", "list", cwd=tmp_path).stdout


@pytest.mark.slow
def test_run_leaves_the_files_of_a_newer_version_alone(tmp_path):
    """The spool too: its version is that of the database, which is opened first."""
    (tmp_path / "siemtap.yml").write_text(CONFIG)
    siemtap("run", "--once", cwd=tmp_path)
    (segment,) = (tmp_path / "data").rglob("*.spool")
    segment.write_bytes(b"a later format")
    change(tmp_path, "PRAGMA user_version=99")
    refused = siemtap("run", "--once", cwd=tmp_path, code=2)
    assert "was written by a newer version of siemtap. Nothing was changed" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert segment.read_bytes() == b"a later format"
