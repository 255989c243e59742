"""A short campaign of random kill -9; the long one is ci/campaign."""

import campaign_processes
import pytest
from campaign import campaign


@pytest.mark.slow
@pytest.mark.parametrize("output", ["sqlite", "file", "two", "opensearch"])
def test_random_kills_neither_lose_nor_duplicate_events(output):
    events, missing, twice, strange, must = campaign(12, output, seed=7)
    assert must > 1_000 and events >= must and (missing, twice, strange) == (0, 0, 0)


@pytest.mark.slow
def test_random_kills_of_any_of_several_processes():
    events, missing, twice, strange, must, killed, taken = campaign_processes.campaign(12, seed=7)
    assert must > 1_000 and taken and sum(killed.values()) == 12 and len(killed) > 1
    assert (missing, twice, strange) == (0, 0, 0)
