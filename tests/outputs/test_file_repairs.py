"""output.file after a repair that failed, and after somebody removed its file."""

import json
import os

import pytest

from siemtap.core.errors import Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.outputs import file as output_file
from siemtap.outputs.file import File, Settings

UNIT = Unit("it", "acme.event")


def event(number):
    return {"@timestamp": "2026-03-04T10:00:00.000Z", "event": {"id": f"{number:032x}"}}


@pytest.fixture
def output(tmp_path):
    output = File(fill_in(Settings, {"path": str(tmp_path)}))
    yield output
    output.close()


def ids(folder):
    lines = (folder / "events.ndjson").read_bytes().splitlines()
    return [int(json.loads(line)["event"]["id"], 16) for line in lines]


class Stubborn:
    """A file that cannot be truncated, as on a disk with an error."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def truncate(self, size):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_nothing_is_appended_before_a_failed_write_is_undone(
    tmp_path, output, monkeypatch, failing
):
    output.deliver(UNIT, [event(1)], None)
    real_open = open

    def write_half(file, data):
        file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    def fail(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        if failing == "write":
            patched.setattr(output_file, "write", write_half)
        else:
            patched.setattr(output_file.os, "fsync", fail)
        patched.setattr(
            output_file, "open", lambda *a, **k: Stubborn(real_open(*a, **k)), raising=False
        )
        output.file = Stubborn(output.file)
        with pytest.raises(Retry):
            output.deliver(UNIT, [event(2), event(3)], None)
    with monkeypatch.context() as patched:
        patched.setattr(
            output_file, "open", lambda *a, **k: Stubborn(real_open(*a, **k)), raising=False
        )
        with pytest.raises(Retry, match="Input/output error"):
            output.deliver(UNIT, [event(2), event(3)], None)
    output.deliver(UNIT, [event(2), event(3)], None)
    output.deliver(UNIT, [event(4)], None)
    assert ids(tmp_path) == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_removed_file_is_opened_again_and_reported(tmp_path, output, caplog, how):
    output.deliver(UNIT, [event(1)], None)
    path = tmp_path / "events.ndjson"
    if how == "removed":
        path.unlink()
    elif how == "renamed":
        path.rename(tmp_path / "events.ndjson.1")
    else:
        (tmp_path / "new").write_text("")
        os.replace(tmp_path / "new", path)
    output.deliver(UNIT, [event(2)], None)
    output.deliver(UNIT, [event(3)], None)
    assert ids(tmp_path) == [2, 3] and caplog.text.count("was removed or replaced") == 1


def test_removed_folder_accepts_nothing(tmp_path, output):
    output.deliver(UNIT, [event(1)], None)
    (tmp_path / "events.ndjson").unlink()
    tmp_path.rmdir()
    with pytest.raises(Retry, match="No such file or directory"):
        output.deliver(UNIT, [event(2)], None)
    tmp_path.mkdir()
    output.deliver(UNIT, [event(2)], None)
    assert ids(tmp_path) == [2]


@pytest.mark.skipif(os.name != "posix", reason="the rights of POSIX")
def test_file_is_private(tmp_path, output):
    assert (tmp_path / "events.ndjson").stat().st_mode & 0o777 == 0o600
