"""Envelopes of Amazon SNS, through which a Deep Security manager sends its JSON.

"Raw message delivery" switched on, SNS posts the message alone. Else it posts an object with `Type`
and `Message`; a Lambda function gets `Records` with such objects.
"""

from __future__ import annotations

import re
from typing import Any, Container, Dict, NamedTuple, Optional, Union

from siemtap.core.model import Confirmation

NOTIFICATION = "Notification"
SUBSCRIPTION = "SubscriptionConfirmation"
CONFIRMATIONS = (SUBSCRIPTION, "UnsubscribeConfirmation")
# What is signed of a confirmation, in the order in which it is signed, and what says how.
SIGNED = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNATURE = ("SignatureVersion", "Signature", "SigningCertURL")
AMAZON = re.compile(r"https://sns\.[a-z0-9-]{1,32}\.amazonaws\.com(?:\.cn)?/[!-~]*")
MAX_ENVELOPES = 3  # one inside the other
LONGEST = 1_000  # characters of a value in the log
MAX_CONFIRMATION = 16_384  # characters of all values; Amazon's have about 1,500


class Notice(NamedTuple):
    """What is no event, but has to be seen by a person."""

    text: str


def envelope_of(element: Any) -> Optional[Dict[str, Any]]:
    """Return the envelope that a JSON element is, or that a record for Lambda holds."""
    if not isinstance(element, dict):
        return None
    inner = element.get("Sns")
    envelope = inner if isinstance(inner, dict) else element
    is_envelope = (
        envelope.get("Type") in (NOTIFICATION, *CONFIRMATIONS)
        and "Message" in envelope
        and ("TopicArn" in envelope or "MessageId" in envelope)
    )
    return envelope if is_envelope else None


def read_confirmation(
    envelope: Dict[str, Any], topics: Container[str]
) -> Union[Notice, Confirmation]:
    """Return the confirmation of a subscription to one of the topics; of any other what the log
    says."""
    notice = notice_of(envelope)
    if envelope["Type"] != SUBSCRIPTION or str(envelope.get("TopicArn")) not in topics:
        return notice
    values = {name: envelope.get(name) for name in (*SIGNED, *SIGNATURE)}
    texts = [value for value in values.values() if isinstance(value, str)]
    if len(texts) < len(values) or sum(map(len, texts)) > MAX_CONFIRMATION:
        return notice
    return Confirmation(values, notice.text)


def notice_of(envelope: Dict[str, Any]) -> Notice:
    """Return what the log says of a confirmation."""
    topic, url = _shown(envelope.get("TopicArn")), _shown(envelope.get("SubscribeURL"))
    advice = "open" if AMAZON.fullmatch(url) else "its address is not Amazon's, do not open"
    if envelope["Type"] == "UnsubscribeConfirmation":
        return Notice(
            f"Amazon SNS no longer sends events of the topic {topic}: this webhook was"
            f" unsubscribed. To subscribe it again, {advice} {url}"
        )
    return Notice(
        f"Amazon SNS sends no events of the topic {topic} until the subscription of this webhook is"
        f" confirmed. If it is yours, {advice} {url} within two days"
    )


def _shown(value: Any) -> str:
    """Return a value for the log: printable characters only."""
    return re.sub(r"[^!-~]", "?", str(value))[:LONGEST]
