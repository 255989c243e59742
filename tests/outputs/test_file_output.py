"""The outputs `file` and `stdout`: complete lines, rotation, a full disk, a closed pipe."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from outputs.output_stores import NOW, UNIT, event, files, lines

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.windows import DAY
from siemtap.edge.clock import Clock
from siemtap.outputs import OutputContext, file, stdout


@pytest.mark.slow
def test_incomplete_last_line_is_truncated(tmp_path):
    output = files(tmp_path)
    output.deliver(UNIT, [event(1), event(2)], None)
    output.close()
    whole = output.path.read_bytes()
    for length in range(len(whole)):
        output.path.write_bytes(whole[:length])
        again = files(tmp_path)
        assert again.holds(UNIT, [event(1), event(2)]) == {
            stored["event"]["id"] for stored in lines(again)
        }
        again.deliver(UNIT, [event(3)], None)
        assert lines(again)[-1] == event(3)
        again.close()


def test_files_rotate_and_the_oldest_are_deleted(tmp_path):
    output = files(tmp_path, rotate_every_bytes=1_024, number_of_files=3)
    for number in range(60):
        output.deliver(UNIT, [event(number)], None)
    assert len(output.closed()) == 3 and all(
        path.stat().st_size <= 1_024 for path in output.closed()
    )
    actual = [stored["event"]["id"] for stored in lines(output)]
    assert actual == sorted(actual) and actual[-1] == f"{59:032x}"
    output.close()
    again = files(tmp_path)
    # an event in doubt may be in a closed file
    assert again.holds(UNIT, lines(again)) == set(actual)
    again.close()


@pytest.mark.parametrize(
    "clock",
    [
        lambda turn: NOW - turn * 60_000,
        lambda turn: NOW + (31 * DAY if turn == 5 else 0),
        lambda turn: NOW,
    ],
    ids=["backwards", "ahead once", "standing"],
)
def test_the_newest_file_is_never_deleted(tmp_path, clock):
    turn = [0]
    output = file.File(
        file.Settings(str(tmp_path / "out"), 1_024, 3),
        OutputContext(clock=Clock(lambda: clock(turn[0]), lambda: 0.0)),
    )
    (tmp_path / "out/events-of-last-year.txt").write_text("somebody's own")
    for turn[0] in range(60):
        output.deliver(UNIT, [event(turn[0])], None)
    actual = [stored["event"]["id"] for stored in lines(output)]
    assert (
        actual == [f"{number:032x}" for number in range(60 - len(actual), 60)]
        and len(output.closed()) == 3
    )
    output.close()


@pytest.mark.parametrize("written", [0, 1, 40, 200])
def test_full_disk_leaves_no_partial_batch(tmp_path, written, monkeypatch):
    output = files(tmp_path)
    output.deliver(UNIT, [event(1)], None)
    real = output.file

    class Full:
        def __init__(self):
            self.left = written

        def write(self, data):
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            done = real.write(bytes(data[: self.left]))
            self.left -= done
            return done

        def __getattr__(self, name):
            return getattr(real, name)

    output.file = Full()
    with pytest.raises(Retry, match="No space left on device; no event of the batch was written"):
        output.deliver(UNIT, [event(2), event(3)], None)
    assert lines(output) == [event(1)]
    output.deliver(UNIT, [event(2), event(3)], None)
    assert lines(output) == [event(1), event(2), event(3)]
    output.close()


def test_folder_without_write_permission_is_a_configuration_error(tmp_path):
    (tmp_path / "out").write_text("a file, and no folder")
    with pytest.raises(ConfigError, match="output.file.path"):
        files(tmp_path)


def test_stdout_output_writes_lines(capfdbinary):
    stdout.Stdout(stdout.Settings()).deliver(UNIT, [event(1), event(2)], None)
    assert [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()] == [
        event(1),
        event(2),
    ]
    assert stdout.Stdout(stdout.Settings()).holds(UNIT, [event(1)]) is None


def test_closed_pipe_ends_the_process_without_an_error():
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\nfrom siemtap.outputs.stdout import Stdout,"
        " Settings\noutput = Stdout(Settings())\nwhile True: output.deliver(None, [{'a': 'x' *"
        " 9999}], None)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *sys.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.read(100)
    process.stdout.close()
    assert process.wait(300) == 0 and process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_signal_during_a_write_to_a_full_pipe_loses_no_byte(unbuffered):
    """A raw file ends a write that a signal interrupts and returns the number of bytes written."""
    program = (
        "import signal, sys; sys.path[:0] = sys.argv[1:]\nfrom siemtap.outputs.stdout import"
        " Stdout, Settings\nsignal.signal(signal.SIGUSR1, lambda *_: None)\nprint('there',"
        " file=sys.stderr, flush=True)\nStdout(Settings()).deliver(None, [{'a': 'x' * 300_000},"
        " {'b': 1}], None)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *sys.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert process.stderr.readline() == b"there\n"
    for _ in range(3):
        time.sleep(0.3)
        process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=300)
    assert (
        process.returncode == 0
        and err == b""
        and [len(line) for line in out.splitlines()] == [300_008, 7]
    )
