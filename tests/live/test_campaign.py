"""Short campaigns; the long ones are ci/campaign."""

import collections

import campaign_kills
import campaign_processes
import pytest
from campaign_stores import STORES

SEED = 7
# the real broker has tests of its own under `kill -9`: `ci/live kafka`
OUTPUTS = [name for name in STORES if name != "kafka"]


@pytest.mark.slow
@pytest.mark.parametrize("output", OUTPUTS)
def test_random_kills_neither_lose_nor_duplicate_events(output):
    result = campaign_kills.campaign(8, output, SEED)
    assert result.must > 1_000 and result.acknowledged and result.events >= result.must
    assert campaign_kills.is_kept(output, result), result


@pytest.mark.slow
def test_random_kills_of_any_of_several_processes():
    killed = collections.Counter()
    result = campaign_processes.campaign(12, SEED, killed=killed)
    assert result.must > 1_000 and result.acknowledged and result.is_exact, result
    assert sum(killed.values()) == 12 and len(killed) > 1


def test_kills_are_shared_by_the_outputs():
    assert campaign_kills.shares(8, ["sqlite", "file", "two"]) == {
        "sqlite": 3,
        "file": 3,
        "two": 2,
    }
