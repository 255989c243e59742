"""How late events came, by the time by which the vendor selects them."""

import pytest
from stepped_shipper import SteppedShipper

from siemtap.core.windows import MINUTE
from siemtap.testing.simulation import simulator


@pytest.fixture
def started(tmp_path):
    shippers = []

    def start(plugin, knobs, **settings):
        shippers.append(SteppedShipper(tmp_path, simulator(plugin, knobs), plugin, **settings))
        return shippers[0].start()

    yield start
    for shipper in shippers:
        shipper.stop()


def test_detections_of_an_old_event_are_not_late(started, caplog):
    """Trend Vision One selects them by the time of ingestion; some events are five hours old.
    Found by `ci/campaign steady`: each of them was warned of."""
    shipper = started("trend_vision_one", {}, lookback="10m").run_turns(30)
    events = [
        event for event in shipper.events() if event["event"]["dataset"].endswith("detection")
    ]
    assert any(event["@timestamp"] < "2026-03-04T08" for event in events)
    late = [state.late.most for state in shipper.states()]
    assert max(late) < 5 * MINUTE and "raise `overlap`" not in caplog.text


def test_detections_that_can_be_read_late_are_late(started, caplog):
    shipper = started("trend_vision_one", {"late": [0.0, 280.0]}, lookback="10m").run_turns(30)
    late = {state.unit.dataset: state.late.most for state in shipper.states()}
    assert late["trend_vision_one.detection"] > MINUTE
