"""Short campaigns of outputs and vendors that are away, rude or lie, and of steady running; the
long ones are ci/campaign outputs, vendors and steady."""

import campaign_outputs
import campaign_steady
import campaign_vendors
import pytest
import steady_graph
from campaign_steady import Sample


@pytest.mark.slow
@pytest.mark.parametrize("output", campaign_outputs.STORES)
def test_an_output_that_is_away_and_rude_has_every_event_at_the_end(output):
    result = campaign_outputs.campaign(output, seed=7, away=12, rude=10, speed=90, drain=6)
    assert result.must > 400 and result.pushed > 200
    assert sum(result.proxy.values()) > 15  # `queued` sends the most at once
    assert campaign_outputs.is_good(result, output), result
    assert all("campaign says" in why or "413" in why or "code 6" in why for why in result.rejected)


@pytest.mark.slow
@pytest.mark.parametrize("vendor", campaign_vendors.VENDORS)
def test_half_a_day_of_a_vendor_whose_answers_go_wrong(vendor):
    result = campaign_vendors.campaign(vendor, days=0.5, seed=7)
    assert result.served > 1_000 and result.mutants > 5 and sum(result.faults.values()) > 50
    assert result.is_good, result


@pytest.mark.slow
def test_steady_running_keeps_its_descriptors_and_threads():
    samples, memory, stats, accepted, log = campaign_steady.campaign(hours=1.2, speed=240)
    assert stats["output"]["accepted"] > 500 and accepted > 100 and "Traceback" not in log
    # An hour is too short for a trend on a busy machine: some threads start when they are needed.
    for sample in samples:
        assert sample.descriptors < 100 and sample.threads < 40 and sample.memory < 250, samples
    assert len(memory) > 3 and 5 < memory[-1].objects < memory[-1].resident < 250
    svg = steady_graph.draw(samples, settled=0.4)
    assert svg == steady_graph.draw(samples, settled=0.4) and svg.count("<polyline") == 4


def test_a_leak_is_no_steady_running():
    """Four mebibytes more every ten hours are too much, and so is one peak."""

    def samples(memory):
        return [Sample(hour / 4, 180, 50, 20, memory(hour / 4)) for hour in range(97)]

    for memory, flat in [
        (lambda hour: 100 + (hour % 2), True),
        (lambda hour: min(110, 60 + 30 * hour), True),
        (lambda hour: 100 + hour * 0.4, False),
        (lambda hour: 120 if hour == 17 else 100, False),
    ]:
        trend = campaign_steady.trend(samples(memory), "used")
        assert trend.is_flat == flat, trend
    assert campaign_steady.trend(samples(lambda hour: 1), "threads").is_flat
