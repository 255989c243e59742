"""Redaction: no secret is shown, whatever the shape of the input. Secrets are inserted at random
places."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pingintelligence import PLUGIN, simulator
from pingintelligence.attack_log import parse_log_line
from pingintelligence.attacks import Query, flatten
from pingintelligence.redaction import (
    MAX_OUTPUT,
    SIGNS,
    redact,
    redact_line,
    redact_url,
)
from pingintelligence.report_types import REPORTS
from pingintelligence.reports import record

from siemtap.core.errors import Retry
from siemtap.core.identity import sha256_hex

from .planted import (
    ELEMENT,
    FIELD,
    HEAD,
    KEYS,
    METRICS,
    REPORT,
    SECRETS,
    assert_hidden,
    events,
    planted,
    settings_of,
)


@pytest.mark.slow
@settings(max_examples=400)
@given(
    planted(ELEMENT),
    st.sampled_from(["", "pi-attack-info-", "Mar  4 10:02:13 abs01 ", "a {b} c "]),
    st.sampled_from([None, (",", ":"), (", ", ": ")]),
    st.booleans(),
)
def test_line_with_a_secret_under_any_key(case, before, separators, ascii_only):
    secret, element = case
    line = before + json.dumps(element, separators=separators, ensure_ascii=ascii_only)
    events_ = events(parse_log_line(line, settings_of()), PLUGIN.datasets[0])
    assert_hidden(secret, events_)
    assert (
        "Stolen Token Attack Type 1"
        in events_[0].get("message", "") + events_[0]["event"]["original"]
    )


@pytest.mark.slow
@settings(max_examples=300)
@given(SECRETS, st.data())
def test_line_truncated_anywhere(secret, data):
    """Truncated at the end, at the beginning or at both; the secret is any undocumented value."""
    element = {
        **ELEMENT,
        "attack_value": secret,
        data.draw(KEYS): data.draw(
            st.sampled_from([secret, {"a": {"b": [secret]}}, json.dumps({"token": secret})])
        ),
    }
    element["tokens"] = data.draw(st.sampled_from([1, {secret: 1}, {"a": [{secret: "x"}]}]))
    line = "pi-attack-info-" + json.dumps(
        dict(data.draw(st.permutations(list(element.items())))), ensure_ascii=False
    )
    start = data.draw(st.integers(0, len(line) - 1))
    stop = data.draw(st.integers(start, len(line)))
    for text in (
        line[:stop],
        line[start:],
        line[start:stop],
        line + line[:stop],
        line[start:] + line,
    ):
        events_ = events(parse_log_line(text, settings_of()), PLUGIN.datasets[0])
        assert_hidden(secret, events_)


@pytest.mark.slow
@settings(max_examples=300)
@given(planted(REPORT))
def test_report_with_a_secret_under_any_key(case):
    secret, report = case
    try:
        assert_hidden(
            secret, events(flatten([report], Query(0, "shop"), settings_of()), PLUGIN.datasets[0])
        )
    except Retry as error:
        assert secret not in str(error)


def metrics_events(report):
    """Return the events of a report of metrics."""
    made = record(
        REPORTS["metrics"],
        report,
        "shop",
        "2026-03-04T17:00",
        "2026-03-04T18:00",
        1772618533417,
        settings_of(),
    )
    return events(made, PLUGIN.dataset("pingintelligence.report"))


@settings(max_examples=200)
@given(planted(METRICS))
def test_metrics_with_a_secret_under_any_key(case):
    secret, report = case
    events_ = metrics_events(report)
    assert_hidden(secret, events_)
    assert events_[0]["pingintelligence"]["summary"] if "summary" in report else True


@pytest.mark.slow
@settings(max_examples=200)
@given(SECRETS, KEYS, st.sampled_from(["cookie", "sid", "session", "id", "value", "JSESSIONID"]))
def test_session_details_show_no_session(secret, key, name):
    for details in (
        [{"session_id": secret, "total_requests": 1}],
        [{name: secret, key: [secret]}],
        [{"path_info": [{"path": f"/a;{name}={secret}", "count": 1}]}],
        [secret],
        [[secret]],
        {secret: {"total_requests": 1}},
        {secret: 1},
    ):
        for place in ("session_details", "sessions", "suspicious_sessions"):
            report = {**METRICS, "details": {place: details}}
            assert_hidden(secret, metrics_events(report))


@pytest.mark.parametrize(
    "key", ["session_id", "jwt", "authorization", "x-api-key", "Set-Cookie", "refresh_token", "sid"]
)
def test_secret_in_unusual_reports_and_lines(key):
    secret = "EXAMPLE-SECRET-IN-CLEAR"
    for report in (
        {**REPORT, key: secret},
        {"verdicts": [{key: secret}]},
        [secret],
        {"attack_type": "x", "cookies": {"JSESSIONID": [secret]}},
        {"cookies": [{"cookie": {"deep": secret}, "name": "x"}]},
        {**REPORT, "ddos_info": {key: secret}},
        {
            **REPORT,
            "cookies": [
                {
                    "cookie": "c",
                    key: secret,
                    "details": [{"access_time": "x", key: {"any": secret}}],
                }
            ],
        },
        {"element": secret},
        {"identifier": secret, "x": [{"details": secret}]},
        {"cookies": [{"cookie": "c", "details": {key: secret}}]},
    ):
        assert_hidden(
            secret, events(flatten(report, Query(0, "shop"), settings_of()), PLUGIN.datasets[0])
        )
    for line in (
        f"{key}={secret}",
        f"{key}: {secret}",
        f"GET /a?{key}={secret} HTTP/1.1",
        f"{{'{key}': '{secret}'}}",
        json.dumps([secret]),
        json.dumps(secret),
        json.dumps({key: secret}),
        FIELD.replace("EXAMPLE-TOKEN-IN-CLEAR", f"{secret}\n{secret}"),
        FIELD[:-1] + f',"{key}":"{secret}"',
        json.dumps({**ELEMENT, "description": {key: secret}}),
        json.dumps({**ELEMENT, "attack_identifier_type": secret}),
        json.dumps({**ELEMENT, "attack_identifier_type": {key: secret}}),
        json.dumps({**ELEMENT, "protocol": [secret]}),
        json.dumps({**ELEMENT, "@who": ["ip", secret]}),
        json.dumps({**ELEMENT, "identifier": secret, "element": secret, "line": secret}),
    ):
        assert_hidden(secret, events(parse_log_line(line, settings_of()), PLUGIN.datasets[0]))
    with pytest.raises(Retry) as caught:
        flatten({"error": "wrong", key: secret}, Query(), settings_of())
    assert secret not in str(caught.value) and "wrong" in str(caught.value)


@pytest.mark.parametrize(
    "inner",
    [{HEAD: 9}, {HEAD: {"count": 1}}, [{HEAD: {"count": 1}}], [{"a": {HEAD: 3}}], {HEAD: "x"}],
)
@pytest.mark.parametrize(
    "name", ["api_keys", "tokens", "session_id", "cookie", "cookies", "jwt", "refresh_tokens"]
)
def test_secret_that_is_a_key(name, inner):
    for details in ({name: inner}, [{name: inner}], {"a": [{name: inner}]}):
        events_ = events(
            record(
                REPORTS["metrics"],
                {**METRICS, "details": details},
                "shop",
                "2026-03-04T17:00",
                "2026-03-04T18:00",
                1772618533417,
                settings_of(),
            ),
            PLUGIN.dataset("pingintelligence.report"),
        )
        assert_hidden(HEAD, events_)
        assert name in json.dumps(events_)
    assert_hidden(
        HEAD,
        events(
            parse_log_line(json.dumps({**ELEMENT, name: inner}), settings_of()), PLUGIN.datasets[0]
        ),
    )
    assert_hidden(
        HEAD,
        events(
            flatten([{**REPORT, "tokens": [inner]}], Query(0, "shop"), settings_of()),
            PLUGIN.datasets[0],
        ),
    )


def test_unparsable_line_shows_no_undocumented_key():
    for tail in (f',"{HEAD}":"x', f',"{HEAD}":1,', f',"x":{{"{HEAD}":[', f'"{HEAD}":'):
        assert_hidden(
            HEAD, events(parse_log_line(FIELD[:-1] + tail, settings_of()), PLUGIN.datasets[0])
        )
    assert '"attack_value":"' in redact_line(FIELD[:-1])


def test_names_of_cookies_are_kept():
    """In the documented place: the cookies of an attack list, by name."""
    assert redact({"cookies": {"JSESSIONID": ["c1"], "x y": ["c2"], "c3": 5}}) == {
        "cookies": {
            "JSESSIONID": [sha256_hex("c1")],
            sha256_hex("x y"): [sha256_hex("c2")],
            sha256_hex("c3"): sha256_hex("5"),
        }
    }


@pytest.mark.parametrize(
    "url, shown_url",
    [
        ("https://u:p@h.example.com/a", "https://{u:p}@h.example.com/a"),
        ("https://u@h/a?b", "https://{u}@h/a?{b}"),
        ("u:p@h/a", "{u:p}@h/a"),
        ("https://u:p;x@h/a", "https://{u:p;x@h/a}"),
        ("u:p?x@h", "{u:p?x@h}"),
        ("https://u:p@x@h", "https://{u:p@x}@h"),
        ("//u:p@h", "//{u:p}@h"),
        ("/users/@me", "/users/@me"),
        ("https://h/users/@me", "https://h/users/@me"),
        ("https://u:p/x@h/a", "https://{u:p/x}@h/a"),
        ("/a?b=c", "/a?{b=c}"),
        ("/a?", "/a?"),
        ("/a", "/a"),
    ],
)
def test_user_and_query_of_a_url_are_hashed(url, shown_url):
    wanted = re.sub(r"\{(.*?)\}", lambda part: sha256_hex(part[1]), shown_url)
    assert redact_url(url) == wanted and redact({"api_url": url, url: 1}) == {
        "api_url": wanted,
        wanted: 1,
    }


def test_ddos_info_url_shows_no_password():
    assert "p4ss" not in json.dumps(
        redact({"ddos_info": "mongodb://abs:p4ss@db.example.com/abs_data"})
    )


def test_unparsable_payload_is_redacted():
    """The engine passes the whole text to the redaction."""
    events_ = events(
        [FIELD, "token=EXAMPLE-TOKEN-IN-CLEAR", ["EXAMPLE-TOKEN-IN-CLEAR"]], PLUGIN.datasets[0]
    )
    assert_hidden("EXAMPLE-TOKEN-IN-CLEAR", events_)
    assert all(event["event"]["kind"] == "pipeline_error" for event in events_)


def test_documented_values_are_kept():
    for folder in ("03-with-blanks", "as-it-is"):
        line = (
            json.dumps(ELEMENT)
            if folder == "as-it-is"
            else json.dumps(ELEMENT, separators=(" , ", " : "))
        )
        text = redact_line(line[:-1])
        assert all(
            f'"{value}"' in text
            for value in (
                "1772618533000",
                "HTTP(s)",
                "4",
                "Stolen Token Attack Type 1",
                "api",
                "SINGLE_API",
                "shop",
                "TOKEN",
            )
        ), text
    (event,) = events(parse_log_line(FIELD, settings_of(keep_original=False)), PLUGIN.datasets[0])
    assert (
        event["message"] == "Stolen Token Attack Type 1"
        and event["@timestamp"] == "2026-03-04T10:02:13.000Z"
        and event["rule"]["id"] == "4"
        and event["pingintelligence"]["token_hash"] == event["related"]["hash"][0]
    )


@pytest.mark.parametrize(
    "line",
    [
        "{" * 300_000,
        '{"a":' * 100_000,
        '{"' + "\\" * 300_000,
        '{"a"' + " " * 300_000,
        '{"a":"b",' * 60_000,
        '{"' + '\\"' * 200_000,
        "{" + "x" * 300_000,
        "{ " * 200_000,
    ],
)
def test_malicious_lines_are_redacted_quickly(line):
    (record_,) = parse_log_line(line, settings_of())
    (event,) = events([record_], PLUGIN.datasets[0])
    assert (
        event["event"]["kind"] == "pipeline_error"
        and len(json.loads(event["event"]["original"])["line"]) <= MAX_OUTPUT + 200
    )


@settings(max_examples=300)
@given(st.text(SIGNS + '"\\ \ta5é-', max_size=60))
def test_redaction_reads_any_text_to_its_end(text):
    assert isinstance(redact_line(text), str)


def test_cases_with_reported_secrets_show_none():
    cases = Path(simulator.__file__).parent / "cases"
    for case in ("attack_log_that_cannot_be_read", "report_with_sessions"):
        assert "IN-CLEAR" not in (cases / case / "expected.json").read_text(
            encoding="utf-8"
        ) and any(
            "IN-CLEAR" in path.read_text(encoding="utf-8") for path in (cases / case).iterdir()
        )
