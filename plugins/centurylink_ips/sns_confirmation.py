"""Confirms a subscription of Amazon SNS to a topic that the setting `sns_topics` names.

Follows AWS's pages "Verifying the signatures of Amazon SNS messages" and "ConfirmSubscription". A
comment in quotation marks quotes them. The library that checks signatures comes with the shipper; a
Splunk add-on has none, and logs the address instead.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta, timezone
from typing import Any, Mapping
from urllib.parse import parse_qs

from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import ConfigError, Malformed
from siemtap.core.model import Confirmation
from siemtap.core.windows import DAY, Millis
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Reply, Request
from siemtap.edge.client.quoted import redact
from siemtap.edge.client.replies import raise_for_status

from .manifest import Settings
from .sns import SIGNED

TOKEN_LIFETIME = 3 * DAY  # "valid for three days"; "for two days", as newer pages have it
LARGEST_CERTIFICATE = 65_536  # bytes; Amazon's have about 2,000
# The names in Amazon's certificates: sns.amazonaws.com, sns-signing.<region>.amazonaws.com and
# sns-<region>.amazonaws.com.cn.
SIGNER = re.compile(r"sns(-signing)?([.-][a-z0-9-]{1,32})?\.amazonaws\.com(\.cn)?")
CERTIFICATE_PATH = re.compile(r"[A-Za-z0-9_-]{1,200}\.pem")
QUERY = re.compile(r"[!\"$-\[\]-~]{1,4000}")  # printable, without # and \
SUBSCRIPTION_ARN = re.compile(rb"<SubscriptionArn>\s*(arn:[!-;=-~]{1,500})\s*</SubscriptionArn>")
ERROR_MESSAGE = re.compile(rb"<Message>([^<]{1,1000})</Message>")
ANEW = "subscribe the webhook to the topic again, which sends a new confirmation"


def confirm(settings: Settings, http: Http, confirmation: Confirmation) -> str:
    """Check Amazon's signature and open the address that confirms; return what the log says.

    Nothing but the topic's own host of Amazon is called.

    Raises:
        ConfigError: It is not Amazon's, not of a named topic, or too late.
        Retry: Amazon does not answer.
        Malformed: It answers something else.
    """
    values = confirmation.values
    topic = values["TopicArn"]
    if topic not in settings.sns_topics:  # no longer
        raise ConfigError(f"the topic {topic} is not in `sns_topics`")
    check_addresses(values)
    check_age(values, http.now())
    check_signature(values, get_certificate(http, values["SigningCertURL"]), http.now())
    request = Request("GET", values["SubscribeURL"], {"Accept": "application/xml"})
    reply = http.ask(request)
    raise_for_status(request, reply, http.now(), reason=error_text(reply, values["Token"]))
    subscription = SUBSCRIPTION_ARN.search(reply.body)
    if not subscription:
        raise Malformed("the answer names no subscription", request.line)
    return f"Amazon SNS: subscription confirmed: {subscription[1].decode()}"


def host_of(topic: str) -> str:
    """Return the host of Amazon SNS in the region of a topic, as its ARN says."""
    _, partition, _, region, *_ = topic.split(":")
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return f"sns.{region}.{suffix}"


def check_addresses(values: Mapping[str, Any]) -> None:
    """Raise ConfigError unless both addresses are those of Amazon SNS in the topic's region: its
    host and nothing beside it, the path of a certificate, the question that confirms this topic.

    No parser of URLs decides about the host, because two parsers may differ.
    """
    base = f"https://{host_of(values['TopicArn'])}/"
    certificate, address = values["SigningCertURL"], values["SubscribeURL"]
    if not certificate.startswith(base) or not CERTIFICATE_PATH.fullmatch(certificate[len(base) :]):
        raise ConfigError(
            f"the address of the certificate is not {base}….pem: somebody else than Amazon may have"
            " sent the confirmation"
        )
    query = address[len(base) + 1 :]
    if not address.startswith(f"{base}?") or not QUERY.fullmatch(query):
        raise ConfigError(
            f"the address that confirms is not {base}?…: somebody else than Amazon may have sent"
            " the confirmation"
        )
    expected = {
        "Action": ["ConfirmSubscription"],
        "TopicArn": [values["TopicArn"]],
        "Token": [values["Token"]],
    }
    fields = parse_qs(query)
    if any(fields.get(name) != value for name, value in expected.items()):
        raise ConfigError("the address that confirms does not confirm this topic with this token")


def check_age(values: Mapping[str, Any], now: Millis) -> None:
    """Raise ConfigError for a confirmation whose token has expired."""
    try:
        sent = millis_of(instant(values["Timestamp"]))
    except (ValueError, OverflowError):
        raise ConfigError("the confirmation's Timestamp cannot be read") from None
    if now - sent > TOKEN_LIFETIME:
        raise ConfigError(
            f"the confirmation was sent {(now - sent) // DAY} days ago, and its token has"
            f" expired: {ANEW}"
        )


def get_certificate(http: Http, address: str) -> bytes:
    """Return the certificate of an address that was checked, in PEM."""
    request = Request("GET", address, {"Accept": "*/*"})
    reply = http.ask(request)
    raise_for_status(request, reply, http.now(), reason="the certificate cannot be read")
    if len(reply.body) > LARGEST_CERTIFICATE:
        raise Malformed(
            f"a certificate of {len(reply.body):,} bytes; at most {LARGEST_CERTIFICATE:,} are read",
            request.line,
        )
    return reply.body


def check_signature(values: Mapping[str, Any], pem: bytes, now: Millis) -> None:
    """Raise ConfigError unless the confirmation was signed with the key of this certificate, which
    is one of Amazon SNS and valid now."""
    from cryptography import x509  # the shipper's
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    # "SignatureVersion1: SHA1withRSA", "SignatureVersion2: SHA256withRSA"
    digests = {"1": hashes.SHA1(), "2": hashes.SHA256()}
    digest = digests.get(values["SignatureVersion"])
    if digest is None:
        raise ConfigError("the confirmation's SignatureVersion is neither 1 nor 2")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
        key = certificate.public_key()
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise Malformed("the answer is no certificate in PEM with the name of its host") from None
    if not any(map(SIGNER.fullmatch, names)) or not isinstance(key, RSAPublicKey):
        raise ConfigError("the certificate is none of Amazon SNS")
    # not fromtimestamp, which has bounds of its own on each platform
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=now)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= moment <= last:
        raise ConfigError(
            f"the certificate is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, and today is"
            f" {moment:%Y-%m-%d}: check the clock; if it is right, {ANEW}"
        )
    try:
        signature = base64.b64decode(values["Signature"], validate=True)
        key.verify(signature, signed_text(values), PKCS1v15(), digest)
    except (ValueError, InvalidSignature):
        raise ConfigError(
            "the signature does not fit: somebody else than Amazon sent the confirmation, or"
            " changed it"
        ) from None


def signed_text(values: Mapping[str, Any]) -> bytes:
    """Return what Amazon signs of a confirmation: each name and its value, a line each."""
    return "".join(f"{name}\n{values[name]}\n" for name in SIGNED).encode("utf-8", "replace")


def error_text(reply: Reply, token: str) -> str:
    """Return the message of Amazon's error answer, in printable characters and without the
    token."""
    message = ERROR_MESSAGE.search(reply.body[:LARGEST_CERTIFICATE])
    if not message:
        return f"Amazon SNS refuses; {ANEW}"
    text = re.sub(r"[^ -~]", "?", message[1].decode("ascii", "replace"))
    return f"{redact(text, [token])}; {ANEW}"
