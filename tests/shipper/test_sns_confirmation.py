"""A subscription of Amazon SNS is confirmed for a named topic only, after its signature was checked
with a certificate of the topic's own host."""

import re
import time

import pytest
import tls
from centurylink_ips.manifest import Settings
from centurylink_ips.sns import SIGNED, read_confirmation
from centurylink_ips.sns_confirmation import check_signature, confirm, host_of
from cryptography.hazmat.primitives.asymmetric import ec
from shipper import simulated_sns
from shipper.simulated_sns import CONFIRMED, HOST, OTHER_KEY, TOKEN, TOPIC, certificate

from siemtap.core.convert import millis_of
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.manifest import fill_in
from siemtap.edge.client.http import connect

SETTINGS = fill_in(Settings, {"sns_topics": [TOPIC]})


@pytest.fixture
def sns(tmp_path):
    with simulated_sns.simulated_sns(tmp_path) as sns:
        yield sns


def run(sns, envelope, settings=SETTINGS, **connection):
    """Confirm what an envelope asks for, as the shipper does."""
    return confirm(
        settings,
        connect(sns.connection(**connection)),
        read_confirmation(envelope, settings.sns_topics),
    )


@pytest.mark.parametrize("version", ["1", "2"])
def test_every_signed_value_is_checked(version):
    values = simulated_sns.confirmation(version)
    now = millis_of(values["Timestamp"])
    check_signature(values, certificate(), now)
    for name in SIGNED:
        with pytest.raises(ConfigError, match="the signature does not fit"):
            check_signature({**values, name: values[name] + "x"}, certificate(), now)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1", "2"])
def test_named_topic_is_confirmed(sns, version):
    envelope = simulated_sns.confirmation(version)
    assert run(sns, envelope) == f"Amazon SNS: subscription confirmed: {CONFIRMED}"
    assert sns.hosts == {HOST}
    assert [f"https://{HOST}{path}" for path in sns.paths] == [
        envelope["SigningCertURL"],
        envelope["SubscribeURL"],
    ]
    # a second time does no harm
    assert CONFIRMED in run(sns, envelope)


def test_host_of_each_partition():
    assert host_of(TOPIC) == HOST
    assert host_of("arn:aws-cn:sns:cn-north-1:123456789012:t") == "sns.cn-north-1.amazonaws.com.cn"
    assert (
        host_of("arn:aws-us-gov:sns:us-gov-west-1:123456789012:t")
        == "sns.us-gov-west-1.amazonaws.com"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "sns.amazonaws.com",
        "sns-signing.eu-south-1.amazonaws.com",
        "sns-cn-north-1.amazonaws.com.cn",
    ],
)
def test_names_of_amazons_certificates(sns, name):
    sns.certificate = (200, {}, certificate(name=name))
    assert CONFIRMED in run(sns, simulated_sns.confirmation())


EVIL = [
    f"https://{HOST}.evil.example.com/",
    f"https://{HOST}@evil.example.com/",
    f"https://{HOST}:443@evil.example.com/",
    f"https://user@{HOST}/",
    f"https://{HOST}:443/",
    f"https://{HOST}:8443/",
    f"https://{HOST}\\@evil.example.com/",
    f"https://{HOST}#@evil.example.com/",
    f"https://{HOST}.:443/",
    f"https://{HOST}./",
    f"https://{HOST}//",
    f" https://{HOST}/",
    f"http://{HOST}/",
    f"//{HOST}/",
    "https://sns.us-east-2.amazonaws.com/",  # another region
    f"https://{HOST}.cn/",
    "https://snsaus-east-1.amazonaws.com/",
    "https://evil.example.com/",
    "https://127.0.0.1/",
    "",
]


@pytest.mark.slow
@pytest.mark.parametrize("base", EVIL)
@pytest.mark.parametrize("name", ["SigningCertURL", "SubscribeURL"])
def test_other_addresses_are_never_called(sns, name, base):
    address = simulated_sns.confirmation()[name].replace(f"https://{HOST}/", base)
    envelope = simulated_sns.confirmation(changes={name: address})
    with pytest.raises(ConfigError, match="somebody else than Amazon may have sent"):
        run(sns, envelope)
    assert sns.proxy.received == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["a.pem?x=.pem", "a/../b.pem", "a.pem#", "a.pem\n", "a.crt", ".pem", "a%2f.pem", ""]
)
def test_path_of_the_certificate(sns, path):
    with pytest.raises(ConfigError, match="somebody else"):
        run(sns, simulated_sns.confirmation(changes={"SigningCertURL": f"https://{HOST}/{path}"}))
    assert sns.proxy.received == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        f"?Action=Unsubscribe&TopicArn={TOPIC}&Token={TOKEN}",
        f"?Action=ConfirmSubscription&Action=Subscribe&TopicArn={TOPIC}&Token={TOKEN}",
        f"?Action=ConfirmSubscription&TopicArn={TOPIC}2&Token={TOKEN}",
        f"?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}2",
        f"?TopicArn={TOPIC}&Token={TOKEN}",
    ],
)
def test_what_the_address_does(sns, query):
    with pytest.raises(ConfigError, match="does not confirm this topic"):
        run(sns, simulated_sns.confirmation(changes={"SubscribeURL": f"https://{HOST}/{query}"}))
    assert sns.proxy.received == []


def test_topic_that_is_no_longer_named(sns):
    envelope = simulated_sns.confirmation()
    waiting = read_confirmation(envelope, [TOPIC])
    with pytest.raises(ConfigError, match="is not in `sns_topics`"):
        confirm(fill_in(Settings, {}), connect(sns.connection()), waiting)
    assert sns.proxy.received == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNED)
def test_signature_covers_each_value(sns, name):
    """A value that was changed on the way: either its own rule refuses it, or the signature."""
    envelope = simulated_sns.confirmation()
    other = {"Timestamp": "2099-01-01T00:00:00.000Z"}.get(name, envelope[name] + "x")
    with pytest.raises(ConfigError):
        values = {**read_confirmation(envelope, [TOPIC]).values, name: other}
        confirm(
            SETTINGS,
            connect(sns.connection()),
            read_confirmation(envelope, [TOPIC])._replace(values=values),
        )
    assert not any("Action=" in path for path in sns.paths)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"Signature": "AAAA"}, "the signature does not fit"),
        ({"Signature": "not Base64!"}, "the signature does not fit"),
        ({"Signature": "ü"}, "the signature does not fit"),
        ({"Signature": ""}, "the signature does not fit"),
        ({"SignatureVersion": "2"}, "the signature does not fit"),  # it is of version 1
        ({"SignatureVersion": "3"}, "neither 1 nor 2"),
        ({"Timestamp": "yesterday"}, "Timestamp cannot be read"),
    ],
)
def test_bad_signatures(sns, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        run(sns, {**simulated_sns.confirmation(), **changes})
    assert not any("Action=" in path for path in sns.paths)


def test_signature_with_another_key(sns):
    with pytest.raises(ConfigError, match="the signature does not fit"):
        run(sns, simulated_sns.confirmation(key=OTHER_KEY))
    assert len(sns.paths) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "made, error, sentence",
    [
        ({"first": -9, "last": -2}, ConfigError, "the certificate is valid from"),
        ({"first": 2, "last": 9}, ConfigError, "the certificate is valid from"),
        ({"name": "sns.example.com"}, ConfigError, "none of Amazon SNS"),
        ({"name": "sns.amazonaws.com.example.com"}, ConfigError, "none of Amazon SNS"),
        ({"name": "s3.amazonaws.com"}, ConfigError, "none of Amazon SNS"),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, ConfigError, "none of Amazon SNS"),
    ],
)
def test_certificates_that_prove_nothing(sns, made, error, sentence):
    sns.certificate = (200, {}, certificate(**made))
    with pytest.raises(error, match=sentence):
        run(sns, simulated_sns.confirmation())
    assert len(sns.paths) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer, error, sentence",
    [
        ((200, {}, b"-----BEGIN CERTIFICATE-----\nAAAA\n"), Malformed, "no certificate in PEM"),
        ((200, {}, b""), Malformed, "no certificate in PEM"),
        ((200, {}, b"\xff" * 1000), Malformed, "no certificate in PEM"),
        ((200, {}, certificate() + b"\n" * 70_000), Malformed, "at most 65,536"),
        ((200, {}, b"x" * (33 << 20)), Malformed, "more than 32 MiB"),
        ((200, {"content-type": "text/html"}, b"<html>sign in"), Retry, "HTML"),
        ((302, {"location": "https://evil.example.com/a.pem"}, b""), Retry, "302"),
        ((500, {}, b""), Retry, "500"),
        ((404, {}, b""), ConfigError, "the certificate cannot be read"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_answers_that_are_no_certificate(sns, answer, error, sentence):
    sns.certificate = answer
    with pytest.raises(error, match=sentence):
        run(sns, simulated_sns.confirmation())
    assert len(sns.paths) == 1 and sns.hosts == {HOST}


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer, error, sentence",
    [
        ((200, {}, b"<ok/>"), Malformed, "names no subscription"),
        ((301, {"location": "https://evil.example.com/"}, b""), Retry, "301"),
        ((503, {}, b""), Retry, "503"),
        (
            (400, {}, f"<Message>Invalid token: {TOKEN}</Message>".encode()),
            ConfigError,
            "Invalid token: REDACTED; subscribe the webhook to the topic again",
        ),
        ((403, {}, b"<Message>not\x1b you</Message>"), AuthError, r"not\? you"),
        ((404, {}, b""), ConfigError, "Amazon SNS refuses; subscribe"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_answers_that_confirm_nothing(sns, answer, error, sentence):
    sns.answer = answer
    with pytest.raises(error, match=sentence) as raised:
        run(sns, simulated_sns.confirmation())
    assert len(sns.paths) == 2 and sns.hosts == {HOST}
    assert TOKEN[:20] not in str(raised.value)


@pytest.mark.slow
def test_slow_peer_is_given_up(sns):
    sns.hold.clear()
    began = time.monotonic()
    with pytest.raises(Retry, match="within 1 s"):
        run(sns, simulated_sns.confirmation(), timeout="1s")
    assert time.monotonic() - began < 30


def test_host_whose_certificate_is_not_trusted(sns, tmp_path):
    other = tls.Certificate("another authority", authority=True)
    path = tmp_path / "other.pem"
    path.write_bytes(other.pem)
    with pytest.raises(Retry, match="TLS failed"):
        run(sns, simulated_sns.confirmation(), ca_file=str(path))
    assert sns.paths == []


def test_old_confirmation(sns):
    assert CONFIRMED in run(sns, simulated_sns.confirmation(age=2.9))
    with pytest.raises(ConfigError, match="sent 4 days ago, and its token has expired: subscribe"):
        run(sns, simulated_sns.confirmation(age=4.1))
    assert len(sns.paths) == 2


@pytest.mark.parametrize(
    "arn",
    [
        "ips-events",
        "arn:aws:sqs:us-east-1:123456789012:ips-events",
        "arn:aws:sns:us-east-1:123456789012:ips-events.fifo",
        f"{TOPIC}:00000000-0000-4000-8000-000000000002",  # of a subscription
        "arn:aws:sns:us-east-1.evil.example.com/:123456789012:ips-events",
        "arn:aws-iso:sns:us-iso-east-1:123456789012:ips-events",
    ],
)
def test_setting_that_is_no_topic(arn):
    with pytest.raises(ConfigError, match=re.escape(f'sns_topics: "{arn}" is not allowed; write')):
        fill_in(Settings, {"sns_topics": [arn]})
