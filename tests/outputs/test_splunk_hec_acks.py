"""`ack: true` of the output `splunk_hec`: events are delivered when the indexers say so."""

import threading
import time

import pytest
from hec_stand_in import Hec
from outputs.output_stores import UNIT, event

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.outputs import OutputContext
from siemtap.outputs.splunk_hec import acks
from siemtap.outputs.splunk_hec import output as hec_output
from siemtap.outputs.splunk_hec.answers import COOKIE

EVENTS = [event(number) for number in range(5)]
IDS = [each["event"]["id"] for each in EVENTS]
CHANNEL = "X-Splunk-Request-Channel"
# several requests in a delivery, one after the other
SMALL = {"bulk_max_bytes": 1024, "worker": 1, "compression_level": 0}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(acks, "FIRST_POLL", 0.01)
    monkeypatch.setattr(acks, "LONGEST_POLL", 0.02)
    monkeypatch.setattr(hec_output, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def hec():
    with Hec(ack=True) as server:
        yield server


def channels(hec):
    return [headers[CHANNEL] for path, headers, _ in hec.requests if "/event" in path]


def test_delivered_means_acknowledged(hec, opened):
    hec.acks = 3
    output = opened(hec)
    assert output.deliver(UNIT, EVENTS, None) == []
    assert hec.ids() == IDS and len(hec.polls) == 4
    assert output.counts == {"requests": 1, "unacknowledged": 0}


def test_deliver_waits_for_the_acknowledgement(hec, opened):
    hec.acks = "never"
    output = opened(hec, ack_timeout="30s")
    delivery = threading.Thread(target=output.deliver, args=(UNIT, EVENTS, None))
    delivery.start()
    time.sleep(0.3)
    assert hec.ids() == IDS and delivery.is_alive()
    (ids,) = hec.channels.values()
    ids[0] = 0
    delivery.join(5)
    assert not delivery.is_alive() and hec.ids() == IDS


def test_acknowledgements_out_of_order(hec, opened):
    hec.acks = lambda id: {0: 4, 1: 0, 2: 2}.get(id, 1)
    opened(hec, **SMALL).deliver(UNIT, [event(number) for number in range(12)], None)
    assert len(hec.ids()) == len(set(hec.ids())) == 12
    asked = [ids for _, ids, _ in hec.polls]
    assert asked[0] == [0, 1, 2, 3] and asked[-1] == [0], "only what is open is asked for"


@pytest.mark.slow
def test_without_an_acknowledgement_the_events_are_sent_once_more(hec, opened):
    """And then the runner is told, which reads the vendor again later."""
    hec.acks = "never"
    output = opened(hec, ack_timeout="1s")
    began = time.monotonic()
    with pytest.raises(Retry, match="no acknowledgement within 1 s; 5 of 5 events wait"):
        output.deliver(UNIT, EVENTS, None)
    assert 2 <= time.monotonic() - began < 10
    assert hec.ids() == IDS + IDS and output.counts["unacknowledged"] == 10
    assert len(set(channels(hec))) == 2, "a channel with an open id is not used again"


@pytest.mark.slow
def test_only_what_is_not_acknowledged_is_sent_again(hec, opened):
    first_channel = []

    def polls(id):
        first_channel[:] = first_channel or [channels(hec)[0]]
        return None if id == 1 and channels(hec)[-1] == first_channel[0] else 0

    hec.acks = polls
    opened(hec, ack_timeout="1s", **SMALL).deliver(UNIT, EVENTS, None)
    again = hec.ids()[5:]
    assert again and set(again) < set(IDS) and set(hec.ids()) == set(IDS)


@pytest.mark.slow
def test_a_lost_answer_with_the_acknowledgement(hec, opened):
    """HEC says `true` once: after that it never comes, and the events are sent again."""
    hec.acks = "lost"
    opened(hec, ack_timeout="1s").deliver(UNIT, EVENTS, None)
    assert hec.ids() == IDS + IDS


def test_a_lost_answer_to_the_events(hec, opened):
    hec.faults = ["lost"]
    opened(hec).deliver(UNIT, EVENTS, None)
    assert hec.ids() == IDS + IDS


@pytest.mark.slow
def test_a_restart_before_the_acknowledgement(hec, opened):
    """The ids are gone with it: those events are sent again, in another channel."""
    hec.acks = "never"
    output = opened(hec, ack_timeout="1s")

    def restart():
        while not hec.polls:
            time.sleep(0.01)
        hec.restart()
        hec.acks = "at once"

    restarting = threading.Thread(target=restart)
    restarting.start()
    output.deliver(UNIT, EVENTS, None)
    restarting.join()
    assert hec.ids() == IDS + IDS and len(set(channels(hec))) == 2


def test_a_restart_between_two_requests_does_not_confirm_the_first(hec, opened):
    """Both get the id 0. What the restart lost would pass for acknowledged with the second."""

    def restart(handler):
        hec.restart()
        handler.index(b'{"event":"{\\"event.id\\":\\"other\\"}"}')
        handler.answer(0, **handler.acknowledge(handler.channel()))

    hec.faults = [None, restart]
    opened(hec, bulk_max_bytes=1024, worker=1, compression_level=0).deliver(UNIT, EVENTS, None)
    first = hec.ids().index("other")
    assert set(hec.ids()[first:]) >= set(IDS[:first]), "the first request was sent again"


def test_a_channel_is_used_again_when_every_id_is_acknowledged(hec, opened):
    output = opened(hec)
    for _ in range(3):
        output.deliver(UNIT, EVENTS, None)
    assert len(set(channels(hec))) == 1 and [ids for _, ids, _ in hec.polls] == [[0], [1], [2]]


def test_deliveries_at_the_same_time_have_channels_of_their_own(hec, opened):
    hec.acks = 5
    output = opened(hec)
    threads = [threading.Thread(target=output.deliver, args=(UNIT, EVENTS, None)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(set(channels(hec))) > 1 and len(hec.ids()) == 20


def test_a_load_balancer_gets_its_cookie_back(hec, opened):
    hec.cookie = "AWSALB=abc=; Expires=Wed, 09 Jun 2027 10:00:00 GMT; Path=/"
    opened(hec).deliver(UNIT, EVENTS, None)
    assert [cookie for _, _, cookie in hec.polls] == ["AWSALB=abc="]


def test_acknowledgements_are_asked_of_the_host_that_has_the_events(opened):
    with Hec(ack=True) as first, Hec(ack=True) as second:
        output = opened(first, second)
        for _ in range(4):
            output.deliver(UNIT, EVENTS, None)
        assert len(first.polls) == len(second.polls) == 2


@pytest.mark.slow
def test_a_host_that_dies_before_the_acknowledgement(opened):
    with Hec(ack=True, acks="never") as first, Hec(ack=True) as second:
        output = opened(first, second, ack_timeout="1s")

        def die():
            while not first.polls:
                time.sleep(0.01)
            first.__exit__()

        dying = threading.Thread(target=die)
        dying.start()
        output.deliver(UNIT, EVENTS, None)
        dying.join()
        assert first.ids() == second.ids() == IDS


def test_a_token_without_acknowledgement(hec, opened):
    """The events are taken all the same, and not sent again once that is settled."""
    hec.ack = False
    output = opened(hec, ack=True)
    with pytest.raises(ConfigError, match="no indexer acknowledgement.*`ack: false`"):
        output.deliver(UNIT, EVENTS, None)
    hec.ack = True
    output.deliver(UNIT, EVENTS, None)
    assert hec.ids() == IDS


def test_a_host_whose_token_has_no_acknowledgement_beside_one_that_has(opened):
    """What each of them took is not sent again."""
    with Hec() as first, Hec(ack=True) as second:
        output = opened(first, second, ack=True, **SMALL)
        with pytest.raises(ConfigError, match="no indexer acknowledgement"):
            output.deliver(UNIT, EVENTS, None)
        assert first.ids() and second.ids()
        first.ack = True
        output.deliver(UNIT, EVENTS, None)
        assert sorted(first.ids() + second.ids()) == sorted(IDS)


def test_a_token_that_is_disabled_while_it_waits(hec, opened):
    hec.acks = "never"
    output = opened(hec)

    def disable():
        while not hec.polls:
            time.sleep(0.01)
        hec.disabled = True

    disabling = threading.Thread(target=disable)
    disabling.start()
    with pytest.raises(AuthError, match="Token disabled"):
        output.deliver(UNIT, EVENTS, None)
    disabling.join()


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"acks":[0]}', b'{"acks":{"0":1}}'])
def test_a_strange_answer_is_no_acknowledgement(hec, opened, monkeypatch, answer):
    handler = hec.RequestHandlerClass
    monkeypatch.setattr(
        handler, "query", lambda self, body: self.send(200, answer, "application/json")
    )
    with pytest.raises(Retry, match="5 of 5 events wait"):
        opened(hec, ack_timeout="1s").deliver(UNIT, EVENTS, None)


def test_a_stop_ends_the_wait(hec, opened):
    hec.acks = "never"
    stopping = threading.Event()
    output = opened(hec, context=OutputContext(stopping=stopping))
    threading.Timer(0.2, stopping.set).start()
    began = time.monotonic()
    with pytest.raises(Retry, match="siemtap stops before the acknowledgement"):
        output.deliver(UNIT, EVENTS, None)
    assert time.monotonic() - began < 5 and hec.ids() == IDS


def test_cookies():
    both = "AWSALB=a+b/c=; Expires=Wed, 09 Jun 2027 10:00:00 GMT; Path=/, AWSALBCORS=d; Secure"
    assert COOKIE.findall(both) == ["AWSALB=a+b/c=", "AWSALBCORS=d"]


def test_a_query_of_many_requests_is_not_compressed(hec, opened):
    """Splunk documents gzip for events alone; HEC would refuse the query again and again."""
    events = [event(number) for number in range(1_000)]
    output = opened(hec, bulk_max_bytes=1024, worker=4, compression_level=5, ack_timeout="10s")
    assert output.deliver(UNIT, events, None) == []
    assert sorted(hec.ids()) == sorted(each["event"]["id"] for each in events)
    queries = [body for path, _, body in hec.requests if path.endswith("/ack")]
    assert max(map(len, queries)) > 1024 and output.counts["unacknowledged"] == 0
