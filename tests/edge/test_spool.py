"""The spool keeps what it promised, whatever happens to the process or the file, and promises
nothing that it has no room for."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siemtap.core.errors import Malformed, Retry
from siemtap.core.model import Payload
from siemtap.edge import spool as spools
from siemtap.edge.spool import Full, Receipt, Spool


def payload(number, size=40):
    return Payload(
        f"{number}:".encode() + b"x" * size,
        "webhook",
        "ACME/web01",
        "192.0.2.7",
        1_772_618_400_000 + number,
        {"content-type": "application/json"},
    )


def everything(spool, cursor=None, at_most=100):
    found, cursor = [], cursor or {}
    while True:
        some, cursor = spool.read(cursor, at_most)
        found += some
        if not some:
            return found, cursor


def kept(folder, number, **more):
    spool = Spool(folder, **more)
    for one in range(number):
        spool.append([payload(one)]).result(10)
    return spool


def test_what_was_appended_is_read_in_order_and_again_after_a_start(tmp_path):
    spool = kept(tmp_path, 250)
    found, cursor = everything(spool)
    assert (
        found == [payload(number) for number in range(250)]
        and spool.pending(cursor) == 0
        and spool.pending({}) > 250 * 40
    )
    spool.close()
    again = Spool(tmp_path)
    assert everything(again)[0] == found and again.read(cursor, 10) == ([], cursor)
    again.append([payload(250), payload(251)]).result(10)
    assert again.read(cursor, 10)[0] == [payload(250), payload(251)]
    again.close()


def test_segments_go_once_they_are_delivered_and_old_cursors_fit_no_new_spool(tmp_path):
    spool = Spool(tmp_path / "a", most=800_000)
    for number in range(40):
        spool.append([payload(number, 10_000)]).result(10)
    assert len(list((tmp_path / "a").iterdir())) >= 4
    found, cursor = everything(spool)
    before = spool.held
    spool.forget(cursor)
    assert (
        len(found) == 40 and len(list((tmp_path / "a").iterdir())) == 1 and spool.held < before / 3
    )
    spool.append([payload(40)]).result(10)
    assert spool.read(cursor, 10)[0] == [payload(40)]
    spool.close()
    other = kept(tmp_path / "b", 3)
    assert len(everything(other, cursor)[0]) == 3, "a cursor of another spool begins at the first"
    other.close()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_torn_end_is_cut_at_any_byte(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("spool")
    spool = kept(folder, 5)
    spool.close()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    left = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:left] + data.draw(st.binary(max_size=8)))
    again = Spool(folder)
    found = everything(again)[0]
    assert found == [payload(number) for number in range(5)][: len(found)] and len(found) >= (
        left - 20
    ) // ((len(whole) - 20) // 5)
    again.append([payload(9)]).result(10)
    assert everything(again)[0][-1] == payload(9)
    again.close()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_in_the_middle_costs_what_it_hit_and_nothing_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("spool")
    spool = kept(folder, 20)
    spool.close()
    (path,) = folder.iterdir()
    said = bytearray(path.read_bytes())
    size = (len(said) - 20) / 20
    place = data.draw(st.integers(20, len(said) - 1))
    said[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(said))
    again = Spool(folder)
    hit = int((place - 20) // size)
    found = {one.body for one in everything(again)[0]}
    assert {payload(number).body for number in range(20)} - found <= {
        payload(number).body for number in (hit - 1, hit, hit + 1)
    } and len(found) >= 19
    again.close()


def test_full_is_said_before_anything_is_promised_and_opens_again_below_the_low_mark(tmp_path):
    spool = Spool(tmp_path, most=600_000)
    number = 0
    with pytest.raises(Full) as full:
        while True:
            spool.append([payload(number, 5_000)]).result(10)
            number += 1
    assert full.value.after == 30_000 and spool.held <= 600_000
    some, cursor = spool.read({}, 15)
    spool.forget(cursor)
    with pytest.raises(Full):
        spool.append([payload(number, 10)])
    found, cursor = everything(spool, cursor)
    spool.forget(cursor)
    spool.append([payload(number, 10)]).result(10)
    assert len(some) + len(found) == number
    spool.close()


def test_what_would_be_read_as_damage_is_not_promised(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "LARGEST", 1_000)
    spool = Spool(tmp_path)
    with pytest.raises(Malformed, match="a payload of more than"):
        spool.append([payload(0), payload(1, 1_000)])
    assert spool.append([payload(2, 500), payload(3)]).result(10) == Receipt(2)
    assert everything(spool)[0] == [payload(2, 500), payload(3)] and spool.damaged == 0
    spool.close()


def test_many_receivers_share_an_fsync(tmp_path, monkeypatch):
    synced, really = [], spools._sync
    monkeypatch.setattr(
        spools, "_sync", lambda file: (synced.append(1), time.sleep(0.01), really(file))
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
    assert len(everything(spool)[0]) == 400 and len(synced) < 200
    spool.close()


def test_a_disk_that_fails_keeps_nothing_and_goes_on_when_it_can(tmp_path, monkeypatch):
    spool = kept(tmp_path, 3)
    really = spools._sync

    def failing(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spools, "_sync", failing)
    with pytest.raises(Retry, match="the disk is full; nothing was kept"):
        spool.append([payload(3)]).result(10)
    monkeypatch.setattr(spools, "_sync", really)
    spool.append([payload(4)]).result(10)
    assert [one.body[:2] for one in everything(spool)[0]] == [
        b"0:",
        b"1:",
        b"2:",
        b"4:",
    ] and spool.damaged == 0
    spool.close()


def test_a_segment_that_cannot_be_read_is_waited_for(tmp_path):
    spool = kept(tmp_path, 3)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / "away")
    with pytest.raises(Retry, match="cannot be read: No such file"):
        spool.read({}, 10)
    (tmp_path / "away").rename(path)
    assert len(spool.read({}, 10)[0]) == 3
    spool.close()


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_that_was_promised(tmp_path):
    """A process that says each number once it is kept, killed again and again."""
    code = """if True:
        import sys
        sys.path[:0] = sys.argv[2:]
        from pathlib import Path
        from siemtap.core.model import Payload
        from siemtap.edge.spool import Spool
        spool, number = Spool(Path(sys.argv[1]), segment=1), int(sys.stdin.readline())
        while True:
            spool.append([Payload(b"%d:" % (number + part) + b"y" * 3000, "udp") for part in range(3)]).result()
            print(number, flush=True)
            number += 3
    """
    luck, promised, number = random.Random(3), set(), 0
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        time.sleep(luck.uniform(0.1, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        for line in process.communicate()[0].split():
            promised |= {int(line), int(line) + 1, int(line) + 2}
            number = int(line) + 3
        number += 3  # what was on the way then may be there, or not
    spool = Spool(tmp_path)
    there = [int(one.body.split(b":")[0]) for one in everything(spool)[0]]
    spool.close()
    assert (
        len(promised) > 100
        and promised <= set(there)
        and len(there) == len(set(there))
        and there == sorted(there)
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
def test_a_cursor_beyond_the_end_is_damage_and_begins_at_the_first(tmp_path, caplog, beyond):
    """An older spool beside a newer database: what comes behind the end is not skipped until it
    has grown past that place."""
    spool = kept(tmp_path, 20, segment=64 * 1024)
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
    spool.append([payload(30)]).result(10)  # it has grown past it before it is read
    assert (
        everything(spool, cursor)[0] == [*everybody, payload(30)]
        and "beyond its end" in caplog.text
    )
    assert everything(spool, cursor)[0] == [
        *everybody,
        payload(30),
    ], "and so it stays, while the first reading was not delivered"
    after = everything(spool, cursor)[1]
    spool.append([payload(31)]).result(10)
    assert everything(spool, after)[0] == [payload(31)]
    spool.close()
    spool, text = Spool(tmp_path), caplog.text
    assert (
        everything(spool, after)[0] == [payload(31)]
        and len(everything(spool, cursor)[0]) == 32
        and caplog.text == text
    )
    spool.close()


def test_a_crash_while_a_spool_is_renamed(tmp_path, monkeypatch, caplog):
    """The first segment's name counts, and is written last: before that the cursor does not fit
    still, and is damage again."""
    spool = kept(tmp_path, 20, segment=64 * 1024)
    for number in range(20, 30):
        spool.append([payload(number, 10_000)]).result(10)
    beyond = {**spool.read({}, 1_000)[1], "segment": 99}
    with monkeypatch.context() as patched:
        patched.setattr(
            spools, "_sync", lambda file: (_ for _ in ()).throw(OSError(5, "I/O error"))
        )
        with pytest.raises(Retry, match="I/O error"):
            spool.read(beyond, 10)
    spool.close()
    again = Spool(tmp_path)
    assert len(everything(again, beyond)[0]) == 30 and caplog.text.count("beyond its end") == 2
    again.close()
