"""Checkpoints of an input in the KV store or in a file: stored, reset and deleted."""

import random
import time

import pytest
from splunk_input import checkpoints, connect, events, ids, log, run, save_account

from siemtap.core.convert import rfc3339
from siemtap.core.errors import ConfigError
from siemtap.core.model import Mark, Unit
from siemtap.core.windows import MINUTE
from siemtap.splunk.runtime.pages import delete_checkpoints, set_generation
from siemtap.splunk.runtime.stored import checkpoints as kv_store

UNIT = Unit("first", "apptrana.attack", "shop.example.com")


def test_checkpoint_round_trip(splunk):
    store, mark = checkpoints(splunk), Mark({"until": 5}, {"a" * 32: 4, "b" * 32: 5})
    assert store.load(UNIT) == Mark()
    store.save(UNIT, mark)
    assert checkpoints(splunk).load(UNIT) == mark
    store.delete_all()
    assert store.load(UNIT) == Mark()


def test_a_checkpoint_of_a_newer_add_on_is_refused_and_kept(splunk):
    class LaterMark(Mark):
        def to_json(self):
            return {**super().to_json(), "version": 2}

    checkpoints(splunk).save(UNIT, LaterMark({"until": 5}))
    kept = str(splunk.documents)
    with pytest.raises(ConfigError, match="by a newer version.*Install that version again"):
        checkpoints(splunk).load(UNIT)
    assert str(splunk.documents) == kept


def test_kv_store_that_starts_late_and_lacks_the_collection(splunk):
    splunk.documents.clear()
    splunk.kv_starts_after = 3
    store = checkpoints(splunk)
    store.save(UNIT, Mark({"until": 5}))
    assert store.load(UNIT) == Mark({"until": 5}) and "ta_test_checkpoints" in splunk.documents


def test_disabled_kv_store_is_a_configuration_error(splunk):
    splunk.kv_off = True
    with pytest.raises(ConfigError, match="seems to be disabled"):
        checkpoints(splunk).load(UNIT)


@pytest.mark.slow
def test_checkpoint_in_a_file(splunk, vendor, tmp_path):
    save_account(splunk, vendor)
    splunk.kv_off = True
    code, out, _ = run(splunk, tmp_path, lookback="30m")
    assert code == 1 and "seems to be disabled" in log(tmp_path) and events(out) == []
    first, second = (
        run(splunk, tmp_path, lookback="30m", checkpoint="file"),
        run(splunk, tmp_path, lookback="30m", checkpoint="file"),
    )
    assert (
        first[0] == second[0] == 0
        and len(ids(first[1])) > 50
        and max(ids(first[1], second[1]).values()) == 1
        and (tmp_path / "first.db").exists()
    )


@pytest.mark.slow
def test_start_reset_and_removal_of_an_input(splunk, vendor, tmp_path):
    save_account(splunk, vendor)
    now = int(time.time() * 1000)
    start_at = rfc3339(now - 40 * MINUTE)[:16] + "Z"

    def read(**more):
        code, out, _ = run(splunk, tmp_path, lookback="5m", **more)
        assert code == 0, log(tmp_path)
        return set(ids(out))

    first = read(start=start_at)
    assert vendor.simulated.ledger(now, now - 39 * MINUTE, now - 15_000) <= first and read(
        start=start_at
    ).isdisjoint(first)
    assert read(start=start_at, generation="1") >= first, "after a reset the input starts again"
    assert read(start=start_at, generation="1").isdisjoint(first)
    fewer = read(start=rfc3339(now - 20 * MINUTE)[:16] + "Z", generation="1")
    assert fewer and len(fewer & first) < len(first) * 0.7
    for reset, is_new, is_reset in (("", False, False), ("1", False, True), ("", True, True)):
        stanza = {"name": "x", "reset": reset, "generation": ""}
        set_generation(stanza, is_new)
        assert "reset" not in stanza and bool(stanza["generation"]) == is_reset
    delete_checkpoints(connect(splunk), "apptrana://first")
    assert splunk.documents["ta_test_checkpoints"] == {}
    code, out, _ = run(
        splunk,
        tmp_path,
        arguments=["--validate-arguments"],
        stdin=(
            '<items><item name="first"><param name="account">main</param><param'
            ' name="start">yesterday</param></item></items>'
        ),
    )
    assert code == 1 and b"a date or a time in UTC" in out


def test_checkpoint_that_is_too_large_drops_the_oldest_ids(splunk, monkeypatch, caplog):
    monkeypatch.setattr(kv_store, "MAX_STATE_CHARACTERS", 20_000)
    rng = random.Random(1)
    seen = {f"{rng.getrandbits(128):032x}": number // 100 for number in range(2_000)}
    store = checkpoints(splunk)
    store.save(UNIT, Mark({"until": 20}, seen))
    back = store.load(UNIT)
    assert (
        back.cursor == {"until": 20}
        and 0 < len(back.seen) < 2_000
        and max(back.seen.values()) == 19
        and "do not fit" in caplog.text
    )
