"""Envelopes of Amazon SNS, through which a Deep Security manager sends its JSON.

"Raw message delivery" switched on, SNS posts the message alone. Else it posts an object with `Type`
and `Message`; a Lambda function gets `Records` with such objects.
"""

from __future__ import annotations

import re
from typing import Any, Dict, NamedTuple, Optional

NOTIFICATION = "Notification"
CONFIRMATIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
AMAZON = re.compile(r"https://sns\.[a-z0-9-]{1,32}\.amazonaws\.com(?:\.cn)?/[!-~]*")
MAX_ENVELOPES = 3  # one inside the other
LONGEST = 1_000  # characters of a value in the log


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
        f" confirmed. If it is yours, {advice} {url} within three days"
    )


def _shown(value: Any) -> str:
    """Return a value for the log: printable characters only."""
    return re.sub(r"[^!-~]", "?", str(value))[:LONGEST]
