"""A disk that is full: said in the add-on's log, and on stderr while the log takes no line."""

import logging
import os
from pathlib import Path

import pytest
from splunk_input import events, run, save_account

from siemtap.splunk.runtime.stored.files import read_json, write_json

pytestmark = pytest.mark.skipif(
    not (Path("/dev/full").exists() or os.environ.get("CI")),
    reason="/dev/full is a device of Linux",
)


@pytest.mark.slow
def test_log_that_cannot_be_written_goes_to_stderr(splunk, vendor, tmp_path):
    """splunkd writes what a script prints there into splunkd.log."""
    save_account(splunk, vendor)
    folder = tmp_path / "var/log/splunk"
    folder.mkdir(parents=True)
    (folder / "ta_test_apptrana.log").symlink_to("/dev/full")
    code, out, err = run(splunk, tmp_path, lookback="30m")
    assert code == 0 and len(events(out)) > 50, "the events do not wait for the log"
    lines = err.splitlines()
    assert lines and all(line.startswith("ERROR the log ") for line in lines), err
    assert "No space left on device" in lines[0] and "make room on the disk" in lines[0]
    assert any(f"apptrana://first: {len(events(out))} events" in line for line in lines)


def test_file_that_cannot_be_written_is_a_warning(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.WARNING, "siemtap")
    file = tmp_path / "first.failures.json"
    write_json(file, {"kept": 1})
    Path(f"{file}.new").symlink_to("/dev/full")
    write_json(file, {"kept": 2})
    assert read_json(file) == {"kept": 1}, "the old file stays whole"
    assert f"{file} cannot be written: No space left on device; make room" in caplog.text
