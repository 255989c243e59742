"""An API that ignores `websiteName` returns each attack once for each website that is collected."""

import json

import pytest
from stepped_shipper import SteppedShipper

from apptrana import simulator
from siemtap.core.windows import HOUR, MINUTE
from siemtap.testing.world import NOON


class Ignoring:
    """A simulated vendor that answers as if no website had been requested."""

    def __init__(self, simulated):
        self.simulated = simulated

    def __getattr__(self, name):
        return getattr(self.simulated, name)

    def answer(self, request, now):
        if b"websiteName" in request.body:
            body = json.loads(request.body)
            body.pop("websiteName")
            request = request._replace(body=json.dumps(body).encode())
        return self.simulated.answer(request, now)


@pytest.mark.slow
@pytest.mark.parametrize("split_at", [1_000_000, 40])
def test_each_attack_is_delivered_once(tmp_path, split_at):
    knobs = simulator.Knobs(rate=2.0)
    shipper = SteppedShipper(
        tmp_path,
        Ignoring(simulator.Simulator(knobs)),
        "apptrana",
        websites=list(knobs.websites),
        lookback="2h",
        split_at=split_at,
    )
    shipper.start().run_turns(20)
    shipper.stop()
    counts = shipper.ids()
    assert len(knobs.websites) > 1 and len(counts) > 100 and set(counts.values()) == {1}
    attacks = shipper.simulated.attacks(NOON - HOUR, NOON - MINUTE, list(knobs.websites))
    assert {attack.id for attack in attacks} <= set(counts)
