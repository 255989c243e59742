"""A log file that is appended to, rotated, truncated and rewritten: every complete line is read
once."""

import os
import random

import pytest

from siemtap.core import bounds
from siemtap.core.errors import ConfigError, Retry
from siemtap.edge import tail as tail_
from siemtap.edge.tail import tail


def read(path, position=None):
    """Return (lines, position) of everything after a position."""
    lines, position = [], position or {}
    for part in tail(str(path), position):
        lines += part.lines
        position = part.position
    return lines, position


def test_appended_lines_are_read_once_and_an_unfinished_line_waits(tmp_path):
    log = tmp_path / "attack.log"
    log.write_bytes(b"one\ntwo\nthr")
    lines, at = read(log)
    assert lines == [b"one", b"two"] and read(log, at) == ([], at)
    with log.open("ab") as file:
        file.write(b"ee\r\n\nfour\n")
    lines, at = read(log, at)
    assert lines == [b"three", b"four"]


def test_rotated_file_is_read_to_its_end_first(tmp_path):
    log = tmp_path / "attack.log"
    log.write_bytes(b"one\n")
    _, at = read(log)
    log.write_bytes(b"one\ntwo\nwithout an end")
    log.rename(tmp_path / "attack.log.2026-03-04")
    (tmp_path / "attack.log.2026-03-05").write_bytes(b"three\n")
    os.utime(tmp_path / "attack.log.2026-03-04", (1, 1))
    os.utime(tmp_path / "attack.log.2026-03-05", (2, 2))
    log.write_bytes(b"four\n")
    lines, at = read(log, at)
    assert lines == [b"two", b"without an end", b"three", b"four"] and read(log, at)[0] == []


def test_first_read_starts_with_the_current_file(tmp_path):
    (tmp_path / "attack.log.1").write_bytes(b"old\n")
    (tmp_path / "attack.log").write_bytes(b"new\n")
    assert read(tmp_path / "attack.log")[0] == [b"new"]


def test_file_rotated_before_the_first_read_is_read(tmp_path):
    log = tmp_path / "attack.log"
    log.write_bytes(b"")
    lines, at = read(log)
    assert lines == [] and at
    log.write_bytes(b"one\n")
    log.rename(tmp_path / "attack.log.1")
    log.write_bytes(b"two\n")
    assert read(log, at)[0] == [b"one", b"two"]


def test_file_is_recognised_after_growing(tmp_path):
    log = tmp_path / "attack.log"
    log.write_bytes(b"a\n")
    _, at = read(log)
    log.write_bytes(b"a\n" + b"b" * 5000 + b"\n")
    lines, at = read(log, at)
    assert lines == [b"b" * 5000]
    with log.open("ab") as file:
        file.write(b"c\n")
    assert read(log, at)[0] == [b"c"]


def test_truncated_file_is_read_from_its_start(tmp_path):
    log = tmp_path / "attack.log"
    log.write_bytes(b"one\ntwo\n")
    _, at = read(log)
    log.write_bytes(b"three\n")
    lines, at = read(log, at)
    assert lines == [b"three"]
    log.unlink()
    assert read(log, at) == ([], at)
    log.write_bytes(b"")
    assert read(log, at)[0] == []


def test_endless_line_is_truncated(tmp_path, monkeypatch):
    monkeypatch.setattr(tail_, "LONGEST", 100)
    monkeypatch.setattr(tail_, "CHUNK", 64)
    log = tmp_path / "attack.log"
    log.write_bytes(b"x" * 350 + b"\ny\n")
    assert b"".join(read(log)[0]) == b"x" * 350 + b"y"


@pytest.mark.parametrize("chunk", [7, 64, 1024])
def test_many_short_lines_are_read_in_parts_with_positions(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(bounds, "LINES_PER_READ", 5)
    monkeypatch.setattr(tail_, "CHUNK", chunk)
    monkeypatch.setattr(tail_, "LONGEST", 40)
    log = tmp_path / "attack.log"
    log.write_bytes(
        b"".join(b"%d\r\n\n" % number for number in range(60)) + b"x" * 35 + b"\n" + b"y\n" * 23
    )
    whole = read(log)[0]
    before = []
    for part in tail(str(log), {}):
        assert len(part.lines) <= 9
        before += part.lines
        assert [*before, *read(log, part.position)[0]] == whole
    assert (
        before == whole
        and b"".join(whole)
        == b"".join(b"%d" % number for number in range(60)) + b"x" * 35 + b"y" * 23
    )


def test_missing_file_is_a_configuration_error_and_a_folder_is_retried(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        read(tmp_path / "nowhere.log")
    with pytest.raises(Retry, match="cannot be read"):
        read(tmp_path)


def test_random_rotation_and_restarts(tmp_path):
    rng, log = random.Random(5), tmp_path / "attack.log"
    written, got, at, rolled = 0, [], {}, 0
    log.write_bytes(b"")
    for _ in range(400):
        with log.open("ab") as file:
            for _ in range(rng.randrange(5)):
                file.write(b"line %d\n" % written)
                written += 1
        if rng.random() < 0.1 and log.stat().st_size:
            rolled += 1
            log.rename(tmp_path / f"attack.log.{rolled:04d}")
            os.utime(tmp_path / f"attack.log.{rolled:04d}", ns=(rolled * 10**9, rolled * 10**9))
            log.write_bytes(b"")
        if rng.random() < 0.5:
            for part in tail(str(log), at):
                got += part.lines
                at = part.position
                if rng.random() < 0.2:
                    break  # killed between two batches
    for part in tail(str(log), at):
        got += part.lines
    assert rolled > 10 and got == [b"line %d" % number for number in range(written)]
