"""A spool that one process writes and another reads."""

import os
import subprocess
import sys
import time

import pytest
from edge.spooled import filled, payload, read_all

from siemtap.core.errors import Retry
from siemtap.edge.receive import spool as spools
from siemtap.edge.receive.records import NAME
from siemtap.edge.receive.spool import Full, Spool
from siemtap.edge.receive.spool_reader import SpoolReader, end_file


def test_a_reader_follows_a_writer_over_its_restart(tmp_path):
    reader = SpoolReader(tmp_path)  # before there is any file
    assert reader.read({}, 10) == ([], {}) and reader.pending({}) == 0
    writer = filled(tmp_path, 3, publish=True)
    payloads, cursor = read_all(reader)
    assert payloads == [payload(number) for number in range(3)] and reader.pending(cursor) == 0
    writer.close()
    writer = Spool(tmp_path, publish=True)
    writer.append([payload(3)]).result(10)
    assert read_all(reader, cursor)[0] == [payload(3)]
    assert read_all(SpoolReader(tmp_path), cursor)[0] == [payload(3)]
    writer.close()


def test_what_is_not_known_to_be_on_disk_is_not_read(tmp_path, monkeypatch):
    """A record whose fsync fails is taken back, and others are written in its place: a reader that
    had it would go on in the middle of one of them."""
    writer = filled(tmp_path, 2, publish=True)
    reader = SpoolReader(tmp_path)
    cursor = read_all(reader)[1]
    seen = []

    def failing_sync(file):
        seen.append(reader.read(cursor, 10)[0])
        raise OSError(5, "I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(spools, "sync", failing_sync)
        with pytest.raises(Retry, match="nothing was kept"):
            writer.append([payload(7, 500)]).result(10)
    writer.append([payload(8)]).result(10)
    assert seen == [[]] and read_all(reader, cursor)[0] == [payload(8)] and not reader.damaged
    writer.close()


@pytest.mark.parametrize("content", [b"", b"x" * 20, b"\0" * 20])
def test_an_end_that_is_damaged_is_not_believed(tmp_path, content):
    writer = filled(tmp_path, 2, publish=True)
    reader = SpoolReader(tmp_path)
    end_file(tmp_path).write_bytes(content)
    assert len(read_all(reader)[0]) == 2 and read_all(SpoolReader(tmp_path)) == ([], {})
    writer.append([payload(2)]).result(10)
    assert len(read_all(SpoolReader(tmp_path))[0]) == 3
    writer.close()


def test_the_writer_has_room_again_once_the_reader_has_deleted(tmp_path):
    writer = Spool(tmp_path, max_bytes=600_000, publish=True)
    number = 0
    with pytest.raises(Full):
        while True:
            writer.append([payload(number, 5_000)]).result(10)
            number += 1
    assert list(writer.problems())
    reader = SpoolReader(tmp_path)
    payloads, cursor = read_all(reader)
    reader.delete_before(cursor)
    writer.append([payload(number, 10)]).result(10)
    assert len(payloads) == number and not list(writer.problems())
    assert writer.size == sum(path.stat().st_size for path in tmp_path.glob("*.spool"))
    assert read_all(reader, cursor)[0] == [payload(number, 10)]
    writer.close()


def test_an_older_spool_beside_newer_checkpoints_is_read_again_under_a_new_name(tmp_path, caplog):
    writer = filled(tmp_path, 5, segment=64 * 1024, publish=True)
    at = SpoolReader(tmp_path).read({}, 100)[1]
    beyond = {**at, "offset": at["offset"] + 1}
    reader = SpoolReader(tmp_path)
    payloads, cursor = read_all(reader, beyond)
    assert len(payloads) == 5 and "beyond its end" in caplog.text and cursor["spool"] != at["spool"]
    for number in range(5, 15):
        writer.append([payload(number, 10_000)]).result(10)
    names = {NAME.unpack(path.read_bytes()[: NAME.size])[1] for path in tmp_path.glob("*.spool")}
    assert names == {bytes.fromhex(cursor["spool"])} and len(writer.sizes) > 1
    assert len(read_all(reader, cursor)[0]) == 10
    writer.close()


def test_files_that_somebody_deletes_are_reported(tmp_path, caplog):
    writer = Spool(tmp_path, segment=64 * 1024, publish=True)
    for number in range(10):
        writer.append([payload(number, 10_000)]).result(10)
    reader = SpoolReader(tmp_path)
    min(tmp_path.glob("*.spool")).unlink()
    assert reader.pending({}) and "were deleted while siemtap runs" in caplog.text
    writer.close()


WRITER = """
import sys
from pathlib import Path
from siemtap.core.model import Payload
from siemtap.edge.receive.spool import Spool
spool = Spool(Path(sys.argv[1]), segment=64 * 1024, publish=True)
number = int(sys.argv[2])
while True:
    spool.append([Payload(b"%d" % number, "webhook", "", "", 0)]).result()
    print(number, flush=True)
    number += 1
"""


@pytest.mark.slow
def test_a_reader_beside_a_writer_that_is_killed_at_any_moment(tmp_path):
    """What was acknowledged is read, once and in order; torn records are never read as damage."""
    acknowledged, read, cursor, first = [], [], {}, 0
    reader = SpoolReader(tmp_path)
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(first)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )
        process.stdout.readline()
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            some, cursor = reader.read(cursor, 7)
            read += some
        process.kill()
        lines = process.communicate()[0].split()
        acknowledged += map(int, lines)
        first = acknowledged[-1] + 2  # the one in hand may be kept
    Spool(tmp_path, publish=True).close()
    read += read_all(reader, cursor)[0]
    numbers = [int(item.body) for item in read]
    assert numbers == sorted(set(numbers)) and not reader.damaged
    assert len(acknowledged) > 100 and not set(acknowledged) - set(numbers) - {first - 2}
