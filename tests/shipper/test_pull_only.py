"""An input that only pulls has no unit for received events."""

import json

import pytest
from processes import siemtap

from apptrana import simulator
from siemtap.core.model import Mark, Payload
from siemtap.edge.receive.receiver import RECEIVED
from siemtap.edge.receive.spool import Spool
from siemtap.shipper.config.load import parse
from siemtap.shipper.process import Shipper
from siemtap.testing import simulation


def shipper(tmp_path, **settings):
    config = {
        "path": {"data": str(tmp_path / "data")},
        "inputs": [
            {
                "type": "pingintelligence",
                "url": "http://127.0.0.1:1",
                "access_key": "a",
                "secret_key": "b",
                **settings,
            }
        ],
    }
    return Shipper(parse(json.dumps(config)), once=True)


def has_receiver(running):
    return running.inputs["pingintelligence"].receiver is not None


def test_pull_only_input_has_no_received_unit(tmp_path):
    pulling = shipper(tmp_path)
    assert not has_receiver(pulling) and RECEIVED not in json.dumps(pulling.stats())
    pulling.close()
    assert not (tmp_path / "data/spool").exists()
    listening = shipper(tmp_path, syslog=["udp://127.0.0.1:0"])
    assert has_receiver(listening)
    listening.close()


def test_payloads_of_removed_listeners_are_still_delivered(tmp_path):
    spool = Spool(tmp_path / "data/spool/pingintelligence")
    spool.append([Payload(b"{}", "webhook", "", "", 1)]).result()
    spool.close()
    waiting = shipper(tmp_path)
    assert has_receiver(waiting)
    running = waiting.inputs["pingintelligence"]
    _, cursor = running.receiver.spool.read({}, 10)
    waiting.checkpoints.save(running._received_unit(), Mark(cursor))
    waiting.close()
    drained = shipper(tmp_path)
    assert not has_receiver(drained)
    drained.close()


@pytest.mark.slow
def test_range_of_one_input(tmp_path):
    server = simulation.Server(simulator.Simulator(simulator.Knobs(rate=3.0)))
    account = {"type": "apptrana", "client_id": "demo", "client_secret": "demo-secret"}
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "inputs": [
                    {**account, "id": "one", "url": server.url},
                    {**account, "id": "two", "url": "http://127.0.0.1:1"},
                    {**account, "id": "off", "url": server.url, "enabled": False},
                ],
            }
        )
    )
    bounds = ("--from", "2026-01-01T00:00Z", "--to", "2026-01-01T00:10Z")
    done = siemtap("run", *bounds, "--input", "one", "-c", path)
    assert "two" not in done.stderr
    done = siemtap("run", *bounds, "--input", "onee", "-c", path, code=2)
    assert '"onee" is no input; did you mean "one"?' in done.stderr
    assert "are one, two" in done.stderr
    assert (
        '"off" is disabled' in siemtap("run", *bounds, "--input", "off", "-c", path, code=2).stderr
    )
    assert (
        "--input needs --from or --once"
        in siemtap("run", "--input", "one", "-c", path, code=2).stderr
    )
    server.close()
