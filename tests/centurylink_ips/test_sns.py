"""Envelopes of Amazon SNS."""

import json
from functools import partial

import pytest
from centurylink_ips import PLUGIN
from centurylink_ips.ingest import PACKAGE
from centurylink_ips.mapping import EVENT

from siemtap.core.manifest import fill_in
from siemtap.core.model import Payload
from siemtap.elastic.package.form import absent
from siemtap.engine.feeds import spooled_batches
from siemtap.splunk.runtime.names import account_settings, input_settings, webhook_settings

from .test_forms import NOON, SETTINGS, SpoolOf, events_of

SNS = {
    "TopicArn": "arn:aws:sns:eu-west-1:000000000000:example",
    "MessageId": "00000000-0000-4000-8000-000000000001",
}
ELEMENT = {"Hostname": "a", "LogDate": "2026-03-04T10:02:13Z", "Reason": "x", "SourcePort": 1}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda sent: {**SNS, "Type": "Notification", "Message": json.dumps(sent)},
        lambda sent: {**SNS, "Type": "Notification", "Message": sent},
        lambda sent: {
            "Records": [{"Sns": {**SNS, "Type": "Notification", "Message": json.dumps(sent)}}]
        },
        lambda sent: {
            **SNS,
            "Type": "Notification",
            "Message": json.dumps({**SNS, "Type": "Notification", "Message": json.dumps(sent)}),
        },
        lambda sent: [
            {**SNS, "Type": "Notification", "Message": json.dumps(element)} for element in sent
        ],
    ],
)
def test_envelope_of_sns_gives_the_events_of_its_message(wrap):
    sent = [ELEMENT, {**ELEMENT, "SourcePort": 2}]
    bare = events_of(json.dumps(sent))  # as with raw message delivery
    assert events_of(json.dumps(wrap(sent))) == bare and len(bare) == 2


def test_message_that_is_a_line():
    line = "<134>Mar  4 10:02:13 dsm01 CEF:0|Trend Micro|Deep Security Agent|20|1005040|a|9|src=::1"
    body = {**SNS, "Type": "Notification", "Message": line}
    assert events_of(json.dumps(body)) == events_of(line, "udp")


def test_deep_envelopes_end():
    sent = ELEMENT
    for _ in range(9):
        sent = {**SNS, "Type": "Notification", "Message": json.dumps(sent)}
    (event,) = events_of(json.dumps(sent))
    assert event["event"]["kind"] == "pipeline_error"


@pytest.mark.parametrize(
    "type, words",
    [
        ("SubscriptionConfirmation", "sends no events of the topic"),
        ("UnsubscribeConfirmation", "was unsubscribed"),
    ],
)
@pytest.mark.parametrize(
    "url, advice",
    [
        ("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=a", ", open "),
        ("https://sns.cn-north-1.amazonaws.com.cn/?Token=a", ", open "),
        ("https://sns.example.com/?Token=a", "do not open"),
        ("http://sns.eu-west-1.amazonaws.com/?Token=a", "do not open"),
        ("https://sns.eu-west-1.amazonaws.com@example.com/", "do not open"),
        ("https://sns.eu-west-1.amazonaws.com.example.com/\n", "do not open"),
        (None, "do not open"),
    ],
)
def test_confirmation_of_sns_is_no_event_but_a_line_of_the_log(type, words, url, advice, caplog):
    body = {**SNS, "Type": type, "Message": "You have chosen", "SubscribeURL": url, "Token": "a"}
    (part,) = PLUGIN.receive(SETTINGS, Payload(json.dumps(body).encode(), "webhook"))
    assert part.records == [] and len(part.notices) == 1
    notice = part.notices[0]
    assert words in notice and advice in notice and notice.isprintable()
    spool = SpoolOf([Payload(json.dumps(body).encode(), "webhook", received=NOON)])
    batches = list(
        spooled_batches(spool, {}, lambda payload: PLUGIN.receive(SETTINGS, payload), EVENT)
    )
    assert [batch.records for batch in batches] == [[]]
    assert [record.getMessage() for record in caplog.records] == [f"centurylink_ips: {notice}"]


NAMED = fill_in(type(SETTINGS), {"sns_topics": [SNS["TopicArn"]]})
CONFIRMATION = {
    **SNS,
    "Type": "SubscriptionConfirmation",
    "Message": "You have chosen",
    "Token": "a",
    "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=a",
    "Timestamp": "2026-03-04T10:02:13.000Z",
    "SignatureVersion": "1",
    "Signature": "AAAA",
    "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/a.pem",
}


def received(body):
    (part,) = PLUGIN.receive(NAMED, Payload(json.dumps(body).encode(), "webhook"))
    return part


def test_confirmation_of_a_named_topic_is_handed_over(caplog):
    body = [{**CONFIRMATION, "Extra": "not signed"}, ELEMENT]
    part = received(body)
    (confirmation,) = part.confirmations
    assert confirmation.values == CONFIRMATION and len(part.records) == 1
    payload = Payload(json.dumps(body).encode(), "webhook", received=NOON)
    taken = []

    def batches(**more):
        receive = partial(PLUGIN.receive, NAMED)
        return list(spooled_batches(SpoolOf([payload]), {}, receive, EVENT, **more))

    assert len(batches(confirm=taken.append)[0].records) == 1
    assert taken == [confirmation] and not caplog.records
    # what confirms nothing logs the address, as a Splunk add-on does
    assert len(batches()[0].records) == 1
    (record,) = caplog.records
    assert ", open https://sns.eu-west-1.amazonaws.com/" in record.getMessage()


@pytest.mark.parametrize(
    "changes",
    [
        {"TopicArn": SNS["TopicArn"] + "2"},
        {"TopicArn": [SNS["TopicArn"]]},
        {"Type": "UnsubscribeConfirmation"},  # its address would subscribe again
        {"Signature": None},
        {"SigningCertURL": 1},
        {"Message": "x" * 20_000},
    ],
)
def test_other_confirmations_are_lines_of_the_log(changes):
    part = received({**CONFIRMATION, **changes})
    assert part.confirmations == () and len(part.notices) == 1 and part.records == []


def test_splunk_and_elastic_do_not_offer_to_confirm():
    described = [*input_settings(PLUGIN), *webhook_settings(PLUGIN), *account_settings(PLUGIN)]
    assert "decode_data" in {s["name"] for s in described}
    assert "sns_topics" not in {s["name"] for s in described}
    assert "sns_topics" in absent(PLUGIN, PACKAGE)
