"""The spool keeps what it acknowledged, whatever happens to the process or the files, and
acknowledges nothing that it has no room for."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from edge.spooled import filled, payload, read_all
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import wait_for

from siemtap.core.errors import ConfigError, Malformed, Retry
from siemtap.edge.receive import spool as spools
from siemtap.edge.receive import spool_reader as spool_readers
from siemtap.edge.receive.records import NAME
from siemtap.edge.receive.spool import Full, Receipt, Spool


def test_payloads_are_read_in_order_also_after_a_restart(tmp_path):
    spool = filled(tmp_path, 250)
    payloads, cursor = read_all(spool)
    assert (
        payloads == [payload(number) for number in range(250)]
        and spool.pending(cursor) == 0
        and spool.pending({}) > 250 * 40
    )
    spool.close()
    again = Spool(tmp_path)
    assert read_all(again)[0] == payloads and again.read(cursor, 10) == ([], cursor)
    again.append([payload(250), payload(251)]).result(10)
    assert again.read(cursor, 10)[0] == [payload(250), payload(251)]
    again.close()


def test_delivered_segments_are_deleted_and_old_cursors_do_not_fit_a_new_spool(tmp_path):
    spool = Spool(tmp_path / "a", max_bytes=800_000)
    for number in range(40):
        spool.append([payload(number, 10_000)]).result(10)
    assert len(list((tmp_path / "a").iterdir())) >= 4
    payloads, cursor = read_all(spool)
    before = spool.size
    spool.delete_before(cursor)
    assert (
        len(payloads) == 40
        and len(list((tmp_path / "a").iterdir())) == 1
        and spool.size < before / 3
    )
    spool.append([payload(40)]).result(10)
    assert spool.read(cursor, 10)[0] == [payload(40)]
    spool.close()
    other = filled(tmp_path / "b", 3)
    assert len(read_all(other, cursor)[0]) == 3, (
        "with the cursor of another spool reading starts at the first payload"
    )
    other.close()


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_incomplete_end_is_truncated_at_any_byte(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("spool")
    spool = filled(folder, 5)
    spool.close()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    left = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:left] + data.draw(st.binary(max_size=8)))
    again = Spool(folder)
    payloads = read_all(again)[0]
    assert payloads == [payload(number) for number in range(5)][: len(payloads)] and len(
        payloads
    ) >= (left - NAME.size) // ((len(whole) - NAME.size) // 5)
    again.append([payload(9)]).result(10)
    assert read_all(again)[0][-1] == payload(9)
    again.close()


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_damage_affects_only_the_damaged_payloads(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("spool")
    spool = filled(folder, 20)
    spool.close()
    (path,) = folder.iterdir()
    raw = bytearray(path.read_bytes())
    size = (len(raw) - NAME.size) / 20
    place = data.draw(st.integers(NAME.size, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(raw))
    again = Spool(folder)
    hit = int((place - NAME.size) // size)
    payloads = {item.body for item in read_all(again)[0]}
    assert {payload(number).body for number in range(20)} - payloads <= {
        payload(number).body for number in (hit - 1, hit, hit + 1)
    } and len(payloads) >= 19
    again.close()


def test_full_spool_rejects_until_it_is_below_the_low_mark(tmp_path):
    spool = Spool(tmp_path, max_bytes=600_000)
    number = 0
    with pytest.raises(Full) as full:
        while True:
            spool.append([payload(number, 5_000)]).result(10)
            number += 1
    assert full.value.after == 30_000 and spool.size <= 600_000
    some, cursor = spool.read({}, 15)
    spool.delete_before(cursor)
    with pytest.raises(Full):
        spool.append([payload(number, 10)])
    payloads, cursor = read_all(spool, cursor)
    spool.delete_before(cursor)
    spool.append([payload(number, 10)]).result(10)
    assert len(some) + len(payloads) == number
    spool.close()


def test_payload_too_large_to_read_back_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "LARGEST", 1_000)
    spool = Spool(tmp_path)
    with pytest.raises(Malformed, match="a payload of more than"):
        spool.append([payload(0), payload(1, 1_000)])
    assert spool.append([payload(2, 500), payload(3)]).result(10) == Receipt(2)
    assert read_all(spool)[0] == [payload(2, 500), payload(3)] and spool.damaged == 0
    spool.close()


def test_receivers_share_an_fsync(tmp_path, monkeypatch):
    synced, really = [], spools.sync
    monkeypatch.setattr(
        spools, "sync", lambda file: (synced.append(1), time.sleep(0.01), really(file))
    )
    spool = Spool(tmp_path)
    threads = [
        threading.Thread(
            target=lambda start=start: [
                spool.append([payload(start + number)]).result(20) for number in range(20)
            ]
        )
        for start in range(0, 400, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_all(spool)[0]) == 400 and len(synced) < 200
    spool.close()


def test_disk_error_stores_nothing_and_writing_resumes(tmp_path, monkeypatch):
    spool = filled(tmp_path, 3)
    really = spools.sync

    def failing(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spools, "sync", failing)
    with pytest.raises(Retry, match="the disk is full; nothing was kept"):
        spool.append([payload(3)]).result(10)
    monkeypatch.setattr(spools, "sync", really)
    spool.append([payload(4)]).result(10)
    assert [item.body[:2] for item in read_all(spool)[0]] == [
        b"0:",
        b"1:",
        b"2:",
        b"4:",
    ] and spool.damaged == 0
    spool.close()


def test_a_segment_that_the_reader_deletes_meanwhile_refuses_nobody(tmp_path, monkeypatch):
    spool = Spool(tmp_path, max_bytes=1_000_000)
    spool.segment = 100
    assert spool.append([payload(1, 200)]).result()
    numbers = spool._numbers
    # a listing of the folder from before the deletion
    monkeypatch.setattr(spool, "_numbers", lambda: [0, *numbers()])
    assert spool.append([payload(2, 200)]).result(), "the next segment"
    assert [item.body[:2] for item in read_all(spool)[0]] == [b"1:", b"2:"]
    spool.close()


def test_a_segment_that_cannot_begin_leaves_no_open_file(tmp_path, monkeypatch):
    spool = Spool(tmp_path, max_bytes=1_000_000)
    spool.segment = 100
    assert spool.append([payload(1, 200)]).result()
    opened = []

    def begin(file, end):
        opened.append(file)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spool, "_begin", begin)
    with pytest.raises(Retry, match="Input/output error; nothing was kept"):
        spool.append([payload(2, 200)]).result()
    assert len(opened) == 2 and all(file.closed for file in opened)
    monkeypatch.undo()
    assert spool.append([payload(2, 200)]).result()
    assert [item.body[:2] for item in read_all(spool)[0]] == [b"1:", b"2:"]
    spool.close()


def test_a_disk_that_fails_is_shown_until_it_works_without_a_payload(tmp_path, monkeypatch, caplog):
    """It cannot even open the file again, as on a disk that became read-only."""
    monkeypatch.setattr(spools, "TRY_EVERY", 0.05)
    spool = filled(tmp_path, 3)
    end = spool.size

    def failing(*_):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(spools, "sync", failing)
        patch.setattr(spools.private, "close_to_others", failing)
        for number in range(3):
            with pytest.raises(Retry, match="Read-only file system; nothing was kept"):
                spool.append([payload(number)]).result(10)
        assert list(spool.problems()) == [
            f"the spool {tmp_path}: Read-only file system; senders are refused until the disk takes"
            " payloads again"
        ]
    wait_for(lambda: not list(spool.problems()))
    assert spool.size == end and spool.append([payload(3)]).result(10)
    assert [item.body[:2] for item in read_all(spool)[0]] == [b"0:", b"1:", b"2:", b"3:"]
    assert caplog.text.count("until the disk takes payloads again: check it") == 1
    assert caplog.text.count("the disk takes payloads again\n") == 1
    assert "Traceback" not in caplog.text and spool.damaged == 0
    spool.close()
    assert len(read_all(Spool(tmp_path))[0]) == 4


def test_a_disk_with_room_for_little_counts_as_full_until_it_takes_as_much(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "TRY_EVERY", 0.02)
    spool = filled(tmp_path, 3)
    really, room = spools.sync, [50_000]

    def nearly_full(file):
        if os.fstat(file.fileno()).st_size > room[0]:
            raise OSError(28, "No space left on device")
        really(file)

    monkeypatch.setattr(spools, "sync", nearly_full)
    with pytest.raises(Retry, match="the disk is full"):
        spool.append([payload(3, 100_000)]).result(10)
    time.sleep(0.3)  # some trials
    assert list(spool.problems())
    room[0] = 1_000_000
    wait_for(lambda: not list(spool.problems()))
    assert spool.append([payload(3, 100_000)]).result(10)
    spool.close()


@pytest.mark.parametrize(
    "number, error", [(28, Retry), (5, Retry), (30, ConfigError), (13, ConfigError)]
)
def test_a_start_on_a_disk_that_fails_is_tried_again_by_the_service_manager(
    tmp_path, monkeypatch, number, error
):
    """Exit 1 is started again, exit 2 (ConfigError) is not: it waits for a person."""

    def failing(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(spools.private, "make_folder", failing)
    with pytest.raises(error, match=f"cannot be written: {os.strerror(number)}; .*"):
        Spool(tmp_path)


def test_unreadable_segment_is_retried(tmp_path):
    spool = filled(tmp_path, 3)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / "away")
    with pytest.raises(Retry, match="cannot be read: No such file"):
        spool.read({}, 10)
    (tmp_path / "away").rename(path)
    assert len(spool.read({}, 10)[0]) == 3
    spool.close()


@pytest.mark.slow
def test_kill_9_loses_no_acknowledged_payload(tmp_path):
    """A process prints each number once it is stored, and is killed again and again."""
    code = """if True:
        import sys
        sys.path[:0] = sys.argv[2:]
        from pathlib import Path
        from siemtap.core.model import Payload
        from siemtap.edge.receive.spool import Spool
        spool, number = Spool(Path(sys.argv[1]), segment=1), int(sys.stdin.readline())
        while True:
            spool.append([Payload(b"%d:" % (number + part) + b"y" * 3000, "udp") for part in range(3)]).result()
            print(number, flush=True)
            number += 3
    """
    rng, promised, number = random.Random(3), set(), 0
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        time.sleep(rng.uniform(0.1, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        for line in process.communicate()[0].split():
            promised |= {int(line), int(line) + 1, int(line) + 2}
            number = int(line) + 3
        number += 3  # a payload that was being written may be stored or not
    spool = Spool(tmp_path)
    stored = [int(item.body.split(b":")[0]) for item in read_all(spool)[0]]
    spool.close()
    assert (
        len(promised) > 100
        and promised <= set(stored)
        and len(stored) == len(set(stored))
        and stored == sorted(stored)
        and spool.damaged == 0
    )


BEYOND = {
    "offset": lambda at: {**at, "offset": 10**9},
    "a little": lambda at: {**at, "offset": at["offset"] + 1},
    "segment": lambda at: {**at, "segment": 10**30},
    "of a full segment": lambda at: {**at, "segment": 1, "offset": 10**9},
    "text": lambda at: {**at, "segment": "x"},
    "none": lambda at: {**at, "offset": None},
    "half": lambda at: {**at, "offset": 17.5},
    "truth": lambda at: {**at, "segment": True},
}


@pytest.mark.parametrize("beyond", BEYOND)
def test_cursor_beyond_the_end_is_reported_and_reading_starts_at_the_first_payload(
    tmp_path, caplog, beyond
):
    """An older spool beside a newer database: payloads after the end must not be skipped until
    the spool has grown past the cursor."""
    spool = filled(tmp_path, 20, segment=64 * 1024)
    for number in range(20, 30):
        spool.append([payload(number, 10_000)]).result(10)
    assert max(spool.sizes) > 1
    at = spool.read({}, 1_000)[1]
    spool.close()
    spool = Spool(tmp_path, segment=64 * 1024)
    cursor = BEYOND[beyond](at)
    everybody = [payload(number) for number in range(20)] + [
        payload(number, 10_000) for number in range(20, 30)
    ]
    assert spool.pending(cursor) == spool.pending({})
    spool.append([payload(30)]).result(10)  # the spool has grown past the cursor before it is read
    assert (
        read_all(spool, cursor)[0] == [*everybody, payload(30)] and "beyond its end" in caplog.text
    )
    assert read_all(spool, cursor)[0] == [
        *everybody,
        payload(30),
    ], "the result is the same until the payloads are delivered"
    after = read_all(spool, cursor)[1]
    spool.append([payload(31)]).result(10)
    assert read_all(spool, after)[0] == [payload(31)]
    spool.close()
    spool, text = Spool(tmp_path), caplog.text
    assert (
        read_all(spool, after)[0] == [payload(31)]
        and len(read_all(spool, cursor)[0]) == 32
        and caplog.text == text
    )
    spool.close()


def test_crash_while_a_spool_is_renamed(tmp_path, monkeypatch, caplog):
    """The first segment is renamed last, and its name counts: before that the cursor still does
    not fit and is reported again."""
    spool = filled(tmp_path, 20, segment=64 * 1024)
    for number in range(20, 30):
        spool.append([payload(number, 10_000)]).result(10)
    beyond = {**spool.read({}, 1_000)[1], "segment": 99}
    with monkeypatch.context() as patched:
        patched.setattr(
            spool_readers, "sync", lambda file: (_ for _ in ()).throw(OSError(5, "I/O error"))
        )
        with pytest.raises(Retry, match="I/O error"):
            spool.read(beyond, 10)
    spool.close()
    again = Spool(tmp_path)
    assert len(read_all(again, beyond)[0]) == 30 and caplog.text.count("beyond its end") == 2
    again.close()
