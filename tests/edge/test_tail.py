"""A log that is appended to, rolled over, cut and written anew: every complete line once."""

import os
import random

import pytest

from siemtap.core import bounds
from siemtap.core.errors import ConfigError, Retry
from siemtap.edge import tail as tail_
from siemtap.edge.tail import tail


def read(path, position=None):
    """(lines, position) of everything that is there."""
    lines, position = [], position or {}
    for found in tail(str(path), position):
        lines += found.lines
        position = found.position
    return lines, position


def test_what_is_appended_comes_once_and_a_line_without_its_end_waits(tmp_path):
    log = tmp_path / "attack.log"
    log.write_bytes(b"one\ntwo\nthr")
    lines, at = read(log)
    assert lines == [b"one", b"two"] and read(log, at) == ([], at)
    with log.open("ab") as file:
        file.write(b"ee\r\n\nfour\n")
    lines, at = read(log, at)
    assert lines == [b"three", b"four"]


def test_a_rolled_file_is_read_to_its_end_first(tmp_path):
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


def test_a_first_look_begins_with_the_current_file(tmp_path):
    (tmp_path / "attack.log.1").write_bytes(b"old\n")
    (tmp_path / "attack.log").write_bytes(b"new\n")
    assert read(tmp_path / "attack.log")[0] == [b"new"]


def test_what_is_rolled_away_before_anything_was_read_is_read(tmp_path):
    log = tmp_path / "attack.log"
    log.write_bytes(b"")
    lines, at = read(log)
    assert lines == [] and at
    log.write_bytes(b"one\n")
    log.rename(tmp_path / "attack.log.1")
    log.write_bytes(b"two\n")
    assert read(log, at)[0] == [b"one", b"two"]


def test_a_file_that_grew_beyond_its_known_head_is_the_same_file(tmp_path):
    log = tmp_path / "attack.log"
    log.write_bytes(b"a\n")
    _, at = read(log)
    log.write_bytes(b"a\n" + b"b" * 5000 + b"\n")
    lines, at = read(log, at)
    assert lines == [b"b" * 5000]
    with log.open("ab") as file:
        file.write(b"c\n")
    assert read(log, at)[0] == [b"c"]


def test_a_file_that_was_emptied_is_read_from_its_start(tmp_path):
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


def test_a_line_without_end_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(tail_, "LONGEST", 100)
    monkeypatch.setattr(tail_, "CHUNK", 64)
    log = tmp_path / "attack.log"
    log.write_bytes(b"x" * 350 + b"\ny\n")
    assert b"".join(read(log)[0]) == b"x" * 350 + b"y"


@pytest.mark.parametrize("chunk", [7, 64, 1024])
def test_very_many_short_lines_come_in_parts_and_each_part_has_its_position(
    tmp_path, monkeypatch, chunk
):
    monkeypatch.setattr(bounds, "LINES", 5)
    monkeypatch.setattr(tail_, "CHUNK", chunk)
    monkeypatch.setattr(tail_, "LONGEST", 40)
    log = tmp_path / "attack.log"
    log.write_bytes(
        b"".join(b"%d\r\n\n" % number for number in range(60)) + b"x" * 35 + b"\n" + b"y\n" * 23
    )
    whole = read(log)[0]
    before = []
    for found in tail(str(log), {}):
        assert len(found.lines) <= 9
        before += found.lines
        assert [*before, *read(log, found.position)[0]] == whole
    assert (
        before == whole
        and b"".join(whole)
        == b"".join(b"%d" % number for number in range(60)) + b"x" * 35 + b"y" * 23
    )


def test_no_file_is_a_mistake_and_a_folder_a_reason_to_wait(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        read(tmp_path / "nowhere.log")
    with pytest.raises(Retry, match="cannot be read"):
        read(tmp_path)


def test_a_writer_that_rolls_at_random_and_a_reader_that_restarts(tmp_path):
    luck, log = random.Random(5), tmp_path / "attack.log"
    written, got, at, rolled = 0, [], {}, 0
    log.write_bytes(b"")
    for _ in range(400):
        with log.open("ab") as file:
            for _ in range(luck.randrange(5)):
                file.write(b"line %d\n" % written)
                written += 1
        if luck.random() < 0.1 and log.stat().st_size:
            rolled += 1
            log.rename(tmp_path / f"attack.log.{rolled:04d}")
            os.utime(tmp_path / f"attack.log.{rolled:04d}", ns=(rolled * 10**9, rolled * 10**9))
            log.write_bytes(b"")
        if luck.random() < 0.5:
            for found in tail(str(log), at):
                got += found.lines
                at = found.position
                if luck.random() < 0.2:
                    break  # killed between two batches
    for found in tail(str(log), at):
        got += found.lines
    assert rolled > 10 and got == [b"line %d" % number for number in range(written)]
