"""The management API, as strict, late and rude as it may be: every knob of the simulator is
turned here or in test_forms.py."""

import json

import pytest
from centurylink_ips import PLUGIN, commands
from centurylink_ips.simulator import Knobs, Simulator

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.model import Site
from siemtap.core.windows import DAY
from siemtap.runners import simulate
from siemtap.runners.simulate import Fault
from world import World

WEB = "VA1ACMEWEB01"
OURS = "https://siem.example.com/centurylink_ips/3f9c1d7ab2e04c58/ACME"


def world(faults=(), settings=None, **knobs):
    simulated = Simulator(Knobs(**knobs))
    simulated.faults.extend(faults)
    return World(PLUGIN, simulated, **(settings or {}))


def run(it, command, *hosts, **options):
    return list(
        next(one for one in PLUGIN.commands if one.name == command).run(
            Site(it.client, it.settings), hosts or (WEB,), **options
        )
    )


def said(outcomes):
    return [(outcome.subject, outcome.well, outcome.said) for outcome in outcomes]


def quoting(it, status, shape):
    """The vendor refuses, and quotes what it was sent."""
    answer, sent = it.client.http.send, []

    def send(request, seconds):
        reply = answer(request, seconds)
        if "login" in request.url and reply.status == 200:
            sent.append(json.loads(reply.body)["bearerToken"])
        quoted = f"cannot read {dict(request.headers)} {request.body.decode()}"
        return (
            reply
            if "login" in request.url and reply.status == 200
            else reply._replace(status=status, body=shape(quoted))
        )

    it.client.http.send = send
    return sent


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500])
@pytest.mark.parametrize(
    "shape",
    [
        lambda text: json.dumps({"message": text + " exist"}).encode(),
        lambda text: json.dumps({"modelState": {"a": [text]}}).encode(),
        lambda text: json.dumps([{"message": text}]).encode(),
        str.encode,
    ],
    ids=["message", "modelState", "list", "text"],
)
def test_an_error_that_quotes_us_shows_neither_token_nor_url(status, shape):
    it = world()
    sent = quoting(it, status, shape)
    outcomes = [*run(it, "notifications list"), *run(it, "install")]
    for work in (lambda: it.client.set_destinations(WEB, [{"typeCode": "WEBHOOK", "url": OURS}]),):
        with pytest.raises((AuthError, ConfigError, Retry)) as caught:
            work()
        outcomes.append(caught.value)
    text = " ".join(map(str, outcomes))
    assert sent and not any(token in text for token in sent) and "3f9c1d7ab2e04c58" not in text
    assert "cannot read" in text


def test_a_login_that_is_quoted_shows_no_password():
    it = world(settings={"password": "s3cret-and-wrong"})
    quoting(it, 400, lambda text: json.dumps({"message": text}).encode())
    (outcome,) = run(it, "install")
    assert "cannot read" in outcome.said and "s3cret" not in outcome.said


# Login


def test_one_token_for_many_calls_and_a_fresh_one_by_age_and_on_401():
    it = world()
    run(it, "notifications list", WEB, "VA1ACMEWEB02")
    assert it.simulator.counts == {"login": 1, "notifications": 2}
    it.time.now += 9 * DAY
    run(it, "notifications list")
    assert it.simulator.counts["login"] == 1
    it.time.now += 2 * DAY
    run(it, "notifications list")
    assert it.simulator.counts["login"] == 2
    it.simulator.revoke()
    assert (
        said(run(it, "notifications list")) == [(WEB, True, "none set")]
        and it.simulator.counts["login"] == 3
    )


def test_a_token_that_never_works_is_asked_for_once_more_and_no_more():
    it = world(token_life=0.0)
    (outcome,) = run(it, "install")
    assert (
        not outcome.well
        and "401: no bearer token" in outcome.said
        and it.simulator.counts == {"login": 2, "app": 2}
    )


@pytest.mark.parametrize("wrong", [400, 415])
def test_wrong_credentials_are_400_and_understood(wrong):
    it = world(settings={"password": "s3cret-and-wrong"}, wrong_content_type=wrong)
    (outcome,) = run(it, "install")
    assert (
        not outcome.well
        and "user name or password not recognised; check `username` and `password`" in outcome.said
        and "s3cret" not in outcome.said
    )
    with pytest.raises(AuthError):
        it.client.bearer()


def test_without_a_login_or_an_account_the_api_is_not_asked():
    it = world(settings={"username": "", "servers": []})
    assert (
        "needs `username` and `password`" in run(it, "install")[0].said
        and it.simulator.counts == {}
    )
    it = world(settings={"account": "", "servers": []})
    assert "needs the `account`" in run(it, "notifications list")[0].said
    with pytest.raises(ConfigError, match="`servers` needs the `account`"):
        world(settings={"account": ""})


# Install, uninstall


@pytest.mark.parametrize("again", [204, 409])
def test_install_and_uninstall_are_idempotent(again):
    it = world(second_install=again)
    assert said(run(it, "install")) == [(WEB, True, "installed")]
    assert run(it, "install")[0].well and (
        again == 204 or run(it, "install")[0].said == "was installed already"
    )
    assert it.simulator.installed == {WEB} and json.loads(it.simulator.requests[-1].body) == {
        "hostName": WEB,
        "accountAlias": "ACME",
    }
    assert all(run(it, "uninstall")[0].well for _ in range(2)) and it.simulator.installed == set()
    assert it.simulator.requests[-1].method == "DELETE" and it.simulator.requests[-1].url.endswith(
        "/ips/api/app/"
    )


@pytest.mark.parametrize(
    "style", ["message", "modelState", "error", "list", "text", "html", "empty"]
)
@pytest.mark.parametrize("status", [400, 404])
def test_one_host_that_is_refused_stops_no_other_and_the_vendors_words_are_shown(style, status):
    it = world(error_style=style, unknown_server=status)
    first, wrong, last = run(it, "install", WEB, "NOWHERE", "VA1ACMEDB01")
    assert first.well and last.well and not wrong.well and f"app/: {status}: " in wrong.said
    assert ("server NOWHERE does not exist" in wrong.said) is (style not in ("html", "empty"))


@pytest.mark.parametrize("status", [403, 404])
def test_another_account_is_refused(status):
    it = world(settings={"account": "OTHER"}, foreign_account=status)
    (outcome,) = run(it, "install")
    assert not outcome.well and f"{status}: no rights on account OTHER" in outcome.said


@pytest.mark.parametrize(
    "fault, words",
    [
        (Fault("app", 1, 503), "503"),
        (Fault("app", 1, 500, "html"), "500"),
        (Fault("app", 1, 200, "html"), "HTML or a redirect"),
        (Fault("app", 1, 302, location="/login"), "HTML or a redirect"),
        (Fault("app", 1, cut=0), "broke off"),
        (Fault("login", 1, 200, "empty"), "no JSON"),
        (Fault("login", 1, 200, "other"), "has none"),
        (Fault("login", 1, 503), "503"),
    ],
)
def test_accidents_are_told_and_cost_one_host(fault, words):
    it = world([fault])
    first, second = run(it, "install", WEB, "VA1ACMEDB01")
    assert not first.well and words in first.said and second.well


# Notifications


@pytest.mark.parametrize("nothing", ["list", "404"])
@pytest.mark.parametrize("key", ["intervalCode", "IntervalCod"])
@pytest.mark.parametrize("strict", [False, True])
def test_what_others_have_set_is_never_lost(nothing, key, strict):
    it = world(nothing_set=nothing, interval_key=key, reject_unknown_keys=strict)
    assert said(run(it, "notifications list")) == [(WEB, True, "none set")]
    it.simulator.destinations[WEB] = [
        {"typeCode": "EMAIL", "emailAddress": "soc@example.com"},
        {"typeCode": "SLACK", "url": "https://chat.example.com/hook"},
    ]
    (dry,) = run(it, "notifications add", webhook=OURS, dry_run=True)
    assert (
        dry.said == "would change: + WEBHOOK https://siem.example.com/centurylink_ips/…"
        and len(it.simulator.destinations[WEB]) == 2
    )
    (outcome,) = run(it, "notifications add", webhook=OURS, syslog="192.0.2.10:514/17")
    assert outcome.well, outcome.said
    there = {
        (
            one["typeCode"],
            one.get("url") or one.get("emailAddress") or json.dumps(one["sysLogSettings"]),
        )
        for one in it.simulator.destinations[WEB]
    }
    assert there == {
        ("EMAIL", "soc@example.com"),
        ("SLACK", "https://chat.example.com/hook"),
        ("WEBHOOK", OURS),
        ("SYSLOG", '{"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 17}'),
    }
    assert run(it, "notifications add", webhook=OURS)[0].said == "as it should be"
    assert (
        run(it, "notifications remove", webhook=OURS, email="nobody@example.com")[0].said
        == "- WEBHOOK https://siem.example.com/centurylink_ips/…"
    )
    assert len(it.simulator.destinations[WEB]) == 3


def test_a_foreign_webhook_is_replaced_only_on_request():
    it = world()
    it.simulator.destinations[WEB] = [{"typeCode": "WEBHOOK", "url": "https://other.example.com/x"}]
    (refused,) = run(it, "notifications add", webhook=OURS)
    assert (
        not refused.well
        and "one WEBHOOK at most; say --replace" in refused.said
        and it.simulator.destinations[WEB][0]["url"] == "https://other.example.com/x"
    )
    assert run(it, "notifications add", webhook=OURS, replace=True)[0].well and [
        one["url"] for one in it.simulator.destinations[WEB]
    ] == [OURS]
    (refused,) = run(it, "notifications set", email="soc@example.com")
    assert not refused.well and "would go, which somebody set" in refused.said
    assert run(it, "notifications set", email="soc@example.com", replace=True)[
        0
    ].well and it.simulator.destinations[WEB] == [
        {"typeCode": "EMAIL", "emailAddress": "soc@example.com"}
    ]


def test_a_list_that_somebody_changes_meanwhile_is_read_again_or_reported(monkeypatch):
    it = world(meddle=True)
    (outcome,) = run(it, "notifications add", webhook=OURS)
    assert outcome.well and {one["typeCode"] for one in it.simulator.destinations[WEB]} == {
        "EMAIL",
        "WEBHOOK",
    }, "what somebody added between two readings stays"
    really = it.client.set_destinations
    monkeypatch.setattr(
        it.client,
        "set_destinations",
        lambda server, wanted: (
            really(server, wanted),
            it.simulator.destinations[WEB].append(
                {"typeCode": "SLACK", "url": "https://chat.example.com/a/x"}
            ),
        ),
    )
    (outcome,) = run(it, "notifications remove", webhook=OURS)
    assert (
        not outcome.well
        and "SLACK https://chat.example.com/a/… was set by somebody meanwhile" in outcome.said
    )
    answers = iter(
        [[{"typeCode": "EMAIL", "emailAddress": f"{number}@example.com"}] for number in range(9)]
    )
    monkeypatch.setattr(it.client, "destinations", lambda server: next(answers))
    assert "somebody else is changing" in run(it, "notifications add", webhook=OURS)[0].said


def test_what_the_vendor_refuses_is_told():
    it = world(reject_slack=True)
    (outcome,) = run(it, "notifications add", slack="https://chat.example.com/hook")
    assert (
        not outcome.well
        and "typeCode SLACK is not supported" in outcome.said
        and WEB not in it.simulator.destinations
    )
    it = world(unknown_server=404)
    assert "does not exist" in run(it, "notifications list", "NOWHERE")[0].said


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "say what: --webhook"),
        ({"webhook": "siem.example.com"}, "a URL with http"),
        ({"email": "soc"}, "no mail address"),
        ({"syslog": "12345"}, "no IP address"),
        ({"syslog": "192.0.2.10:99999"}, "not understood"),
        ({"syslog": "192.0.2.10:514/3"}, "16 to 23"),
        ({"syslog": "siem.example.com:514"}, "no IP address"),
    ],
)
def test_mistakes_are_found_before_anybody_is_asked(options, words):
    it = world()
    with pytest.raises(ConfigError, match=words):
        run(it, "notifications add", **options)
    assert it.simulator.counts == {}


def test_numbers_as_the_vendors_page_has_them():
    """The page's example quotes them; its table says Integer, and so do we. A server that takes
    both takes ours."""
    it = world(quoted_numbers=True)
    assert (
        run(it, "notifications add", syslog="192.0.2.10:8081")[0].well
        and it.simulator.destinations[WEB][0]["sysLogSettings"]["udpPort"] == 8081
    )
    for status in (204, 404):
        direct = Simulator(Knobs(delete_twice=status))
        direct.tokens["t"] = 10**15
        answers = [
            direct.answer(
                simulate.Request(
                    "DELETE",
                    f"https://vendor.example.com/ips/api/notifications/ACME/{WEB}",
                    {"Authorization": "Bearer t", "Content-Type": "application/json"},
                ),
                0,
            ).status
            for _ in range(2)
        ]
        assert answers == [status, status]


def test_verify(tmp_path):
    it = world(settings={"our_url": "https://siem.example.com/centurylink_ips", "our_syslog": ""})
    it.simulator.destinations[WEB] = [
        {
            "typeCode": "SYSLOG",
            "sysLogSettings": {"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 16},
        }
    ]
    (outcome,) = run(it, "verify")
    assert (
        not outcome.well
        and "no destination is ours, but SYSLOG 192.0.2.10:514/16" in outcome.said
        and "no event came yet" in outcome.said
    )
    it = world(settings={"our_syslog": "192.0.2.10:514"})
    it.simulator.destinations[WEB] = [
        {
            "typeCode": "SYSLOG",
            "sysLogSettings": {"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 16},
        }
    ]
    outcome = next(commands.verify(Site(it.client, it.settings, 1_772_618_400_000), (WEB,)))
    assert (
        outcome.well
        and "its events come here" in outcome.said
        and "an event came last at 2026-03-04T10:00:00.000Z" in outcome.said
    )


# The destinations as an input


def events(it):
    return [
        (
            event["host"]["name"],
            event["centurylink_ips"]["state"],
            event["event"]["type"][0],
            event["message"],
        )
        for event in it.output.kept
    ]


def test_a_baseline_and_then_only_changes():
    it = world(settings={"servers": [WEB], "our_url": "https://siem.example.com/centurylink_ips"})
    it.simulator.destinations[WEB] = [
        {"typeCode": "WEBHOOK", "url": OURS},
        {"typeCode": "EMAIL", "emailAddress": "soc@example.com"},
    ]
    it.cycles(3, 900_000)
    assert events(it) == [
        (WEB, "set", "info", f"{WEB}: EMAIL destination is set"),
        (WEB, "set", "info", f"{WEB}: WEBHOOK destination is set"),
    ]
    assert "3f9c1d7ab2e04c58" not in it.shown() + json.dumps(list(it.marks.saved.values())), (
        "the secret in the URL is nowhere"
    )
    it.output.kept.clear()
    it.simulator.destinations[WEB] = [
        {"typeCode": "WEBHOOK", "url": "https://other.example.com/x"},
        {
            "typeCode": "SYSLOG",
            "sysLogSettings": {"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 16},
        },
    ]
    it.cycles(2, 900_000)
    assert [one[1:3] for one in events(it)] == [
        ("changed", "change"),
        ("removed", "deletion"),
        ("created", "creation"),
        ("not_here", "change"),
    ]
    assert it.output.kept[2]["centurylink_ips"]["destination"] == {
        "type_code": "SYSLOG",
        "syslog": {"ip": "192.0.2.10", "port": 514, "facility": 16},
    }
    it.output.kept.clear()
    it.simulator.destinations[WEB] = [{"typeCode": "WEBHOOK", "url": OURS}]
    it.cycles(2, 900_000)
    assert [one[1] for one in events(it)] == ["changed", "removed", "here"] and max(
        it.output.ids().values()
    ) == 1


def test_a_crash_between_question_and_mark_asks_as_of_the_same_moment():
    it = world(settings={"servers": [WEB]})
    it.simulator.destinations[WEB] = [{"typeCode": "WEBHOOK", "url": OURS}]
    (unit,) = it.units()
    first, second = PLUGIN.collect(it.client, unit, {}, it.time.now)
    assert (
        first.records == [] and first.cursor == {"asked": it.time.now} and len(second.records) == 1
    )
    (again,) = PLUGIN.collect(it.client, unit, first.cursor, it.time.now + 60_000)
    assert again.records == second.records and again.cursor == second.cursor


def test_a_server_that_is_refused_holds_up_no_other():
    it = world(settings={"servers": ["NOWHERE", WEB]})
    it.simulator.destinations[WEB] = [{"typeCode": "WEBHOOK", "url": OURS}]
    wrong, good = it.units()
    with pytest.raises(ConfigError, match="does not exist"):
        it.attempt(wrong)
    it.attempt(good)
    assert len(it.output.kept) == 1
    it.simulator.faults.append(Fault("notifications", 1, 503, retry_after="7"))
    with pytest.raises(Retry) as error:
        it.attempt(good)
    assert error.value.after == 7_000
