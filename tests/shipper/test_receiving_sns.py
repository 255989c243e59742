"""A running shipper confirms a subscription of Amazon SNS beside its events."""

import json
import signal
import socket
import urllib.request

import pytest
from processes import Process, wait_for
from shipper import simulated_sns
from shipper.receivers import addresses, ids_in_database, pushed_events, write
from shipper.simulated_sns import CONFIRMED, TOPIC

from siemtap.testing import simulation

pytestmark = pytest.mark.slow


@pytest.fixture
def sns(tmp_path):
    with simulated_sns.simulated_sns(tmp_path) as sns:
        yield sns


def post(webhook, body):
    request = urllib.request.Request(webhook, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=300) as answer:
        assert answer.status in (200, 202, 204)


def test_host_that_hangs_holds_up_no_event(tmp_path, sns):
    process = Process(write(tmp_path, sns_topics=[TOPIC], **sns.settings))
    try:
        webhook, *_ = addresses(process)
        sns.hold.clear()
        envelope = simulated_sns.confirmation("2")
        post(webhook, envelope)
        wait_for(lambda: sns.paths)
        post(webhook, envelope)  # SNS sends it again if the first answer was lost
        (pushed, *_) = pushed_events(1)
        assert simulation.Sender([webhook]).send(pushed)
        wait_for(lambda: ids_in_database(tmp_path) == set(pushed.ids))
        assert len(sns.paths) == 1, "it hangs still"
        sns.hold.set()
        process.until(f"Amazon SNS: subscription confirmed: {CONFIRMED}")
    finally:
        assert process.end() == 0
    assert len(sns.paths) == 2 and "do not open" not in process.output


def test_confirmation_that_waits_for_a_mended_setting(tmp_path, sns):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        wrong = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    path = write(tmp_path, sns_topics=[TOPIC], **{**sns.settings, "proxy": wrong})
    process = Process(path)
    try:
        webhook, *_ = addresses(process)
        post(webhook, simulated_sns.confirmation())
        process.until("the proxy failed")
        path.write_text(path.read_text().replace(wrong, sns.proxy.address))
        process.process.send_signal(signal.SIGHUP)
        process.until(f"Amazon SNS: subscription confirmed: {CONFIRMED}")
    finally:
        assert process.end() == 0
    assert len(sns.paths) == 2


def test_forged_confirmation_is_logged(tmp_path, sns):
    process = Process(write(tmp_path, sns_topics=[TOPIC], **sns.settings))
    try:
        webhook, *_ = addresses(process)
        post(webhook, simulated_sns.confirmation(key=simulated_sns.OTHER_KEY))
        process.until("the signature does not fit")
        process.until("not confirmed: Amazon SNS sends no events of the topic")
    finally:
        assert process.end() == 0
    assert len(sns.paths) == 1
