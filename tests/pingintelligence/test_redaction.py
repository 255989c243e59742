"""No secret in clear, whatever the shape it comes in, and a pushed line's id is of all that it
says. Secrets are planted where chance wants them."""

import base64
import json
import re
import string
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pingintelligence import PLUGIN, simulator
from pingintelligence.attacks import Asked, flatten, of_log
from pingintelligence.redaction import (
    HARMLESS,
    KINDS,
    LISTS,
    SHOWN,
    SIGNS,
    hashed,
    redacted,
    redacted_line,
    without_query,
)
from pingintelligence.reports import REPORTS, record

from siemtap.core.errors import Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Payload

FIELD = (
    '{"timestamp":"1772618533000","protocol":"HTTP(s)","attack_id":"4","description":"Stolen Token'
    " Attack Type"
    ' 1","attack_bucket":"api","attack_scope":"SINGLE_API","attacked_api":"shop","attack_identifier_type":"TOKEN","attack_key":"","attack_value":"EXAMPLE-TOKEN-IN-CLEAR"}'
)
ELEMENT = json.loads(FIELD)
REPORT = {
    "company": "ping identity",
    "attack_type": "Decoy Attack",
    "description": "client calling a decoy API",
    "api_name": "shop",
    "later_date": "Wed Mar 04 18:00:00:000 2026",
    "cookies": [
        {
            "cookie": "c1",
            "details": [{"access_time": "Wed Mar 04 10:02:13:417 2026", "attack_code": "decoy"}],
        }
    ],
    "ips": [{"ip": "192.0.2.1", "details": ["Wed Mar 04 10:02:13:417 2026"]}],
}
METRICS = {
    "name": "api_metrics",
    "api_name": "shop",
    "summary": {"total_requests": 3},
    "details": {
        "session_details": [
            {
                "session_id": "s1",
                "source_ip": [{"ip": "192.0.2.7", "count": 3}],
                "path_info": [{"path": "/a", "count": 3}],
            }
        ]
    },
}
# Where a text of the page's stands that is no secret: nobody can tell whether a secret was put
# there instead.
CLEAR = HARMLESS | {
    "timestamp",
    "attack_key",
    "url",
    "path",
    "api_url",
    "basePath",
    "request_url",
    "destination_api",
    "decoy_url",
    "most_suspicious_anomalies_urls",
    "urls",
    *(name for name, kind in {**KINDS, **LISTS}.items() if kind in ("username", "ip")),
}
HEAD, TAIL = "Zq7xWv", "Kx9wQz"  # of every secret, so that a torn one is seen, too
SECRETS = st.text(string.ascii_letters + string.digits + '-_.~+/=%"\\ :,{}é', max_size=30).map(
    lambda text: f"{HEAD}{text}{TAIL}"
)
KEYS = st.one_of(
    st.sampled_from(
        [
            "session_id",
            "session",
            "token",
            "jwt",
            "cookie",
            "cookies",
            "api_keys",
            "@who",
            "@clear",
            "@element",
            "@when",
            "line",
            "element",
            "identifier",
            "items",
            "user_agent_id",
            "x",
        ]
    ),
    st.text(min_size=1, max_size=12),
).filter(lambda key: key not in CLEAR)

# Names of secrets and what sounds like one: below these a secret may be a key.
AROUND = st.sampled_from(
    [
        "session_id",
        "tokens",
        "token",
        "api_keys",
        "access_tokens",
        "cookie",
        "cookies",
        "oauth_token",
        "session",
        "jwt",
        "refresh_tokens",
        "X-API-Key",
        "clientSecret",
        "Authorization",
    ]
)


def events(records, dataset, **changed):
    filled = fill_in(PLUGIN.settings, {"keep_original": True, "report_details": True, **changed})
    return [
        dataset.bind(filled, {"data_stream.namespace": "default"})(record, 1772618533417, None)
        for record in records
    ]


def shown(made):
    """All of the events as text, as it is and decoded."""
    text = json.dumps(made, ensure_ascii=False)
    inside = json.dumps([event["event"].get("original", "") for event in made], ensure_ascii=False)
    return [
        text,
        unquote(text),
        *(
            part.replace("\\\\", "\\").replace('\\"', '"')
            for part in (text, inside, inside.replace("\\\\", "\\").replace('\\"', '"'))
        ),
    ]


def assert_hidden(secret, made):
    whole = shown(made)
    for spelled in (
        HEAD,
        TAIL,
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        unquote(secret),
        base64.b64encode(secret.encode()).decode().rstrip("="),
        secret.lower(),
    ):
        assert not any(spelled in text for text in whole), (spelled, made)


def settings_of(**changed):
    return fill_in(PLUGIN.settings, {"report_details": True, "keep_original": True, **changed})


def places(value):
    """Every object and list in a value, but for the lists in which the page has times and
    addresses."""
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            yield from (
                place
                for place in places(inner)
                if not (place is inner and isinstance(inner, list) and name in ("details", "ips"))
            )
    elif isinstance(value, list):
        yield value
        for inner in value:
            yield from places(inner)


@st.composite
def planted(draw, whole):
    """(secret, a copy of the record with the secret somewhere under some key)"""
    secret, copy = draw(SECRETS), json.loads(json.dumps(whole))
    place = draw(st.sampled_from(list(places(copy))))
    value = draw(
        st.sampled_from(
            [
                secret,
                [secret],
                {"inner": secret},
                [{"any": [secret]}],
                {"user": {"cookie": [secret, 1]}},
            ]
        )
    )
    if isinstance(place, dict) and draw(st.booleans()):
        inner = draw(
            st.sampled_from(
                [
                    {secret: 9},
                    {secret: {"count": 1}},
                    {"x": {secret: [1]}},
                    [{secret: 9}],
                    [[{secret: True}]],
                    {secret: None, "count": 2},
                ]
            )
        )
        place[draw(AROUND.filter(lambda key: place is not copy or key != "cookie"))] = inner
    elif isinstance(place, list):
        place.insert(draw(st.integers(0, len(place))), value)
    else:
        # "cookie" of a report is the cookie's name
        place[draw(KEYS.filter(lambda key: place is not copy or key != "cookie"))] = value
    return secret, copy


@settings(max_examples=400, deadline=None)
@given(
    planted(ELEMENT),
    st.sampled_from(["", "pi-attack-info-", "Mar  4 10:02:13 abs01 ", "a {b} c "]),
    st.sampled_from([None, (",", ":"), (", ", ": ")]),
    st.booleans(),
)
def test_a_line_with_a_secret_under_any_key(given_, before, separators, ascii_only):
    secret, element = given_
    line = before + json.dumps(element, separators=separators, ensure_ascii=ascii_only)
    made = events(of_log(line, settings_of()), PLUGIN.datasets[0])
    assert_hidden(secret, made)
    assert "Stolen Token Attack Type 1" in made[0].get("message", "") + made[0]["event"]["original"]


@settings(max_examples=600, deadline=None)
@given(SECRETS, st.data())
def test_a_line_cut_anywhere(secret, data):
    """At its end, at its beginning, both; the secret wherever a value stands that is no word of
    the page's."""
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
        made = events(of_log(text, settings_of()), PLUGIN.datasets[0])
        assert_hidden(secret, made)


@settings(max_examples=300, deadline=None)
@given(planted(REPORT))
def test_a_report_with_a_secret_under_any_key(given_):
    secret, report = given_
    try:
        assert_hidden(
            secret, events(flatten([report], Asked(0, "shop"), settings_of()), PLUGIN.datasets[0])
        )
    except Retry as error:
        assert secret not in str(error)


@settings(max_examples=200, deadline=None)
@given(planted(METRICS))
def test_metrics_with_a_secret_under_any_key(given_):
    secret, report = given_
    made = events(
        record(
            REPORTS["metrics"],
            report,
            "shop",
            "2026-03-04T17:00",
            "2026-03-04T18:00",
            1772618533417,
            settings_of(),
        ),
        PLUGIN.dataset("pingintelligence.report"),
    )
    assert_hidden(secret, made)
    assert made[0]["pingintelligence"]["summary"] if "summary" in report else True


@pytest.mark.parametrize(
    "key", ["session_id", "jwt", "authorization", "x-api-key", "Set-Cookie", "refresh_token", "sid"]
)
def test_what_an_adversary_tries(key):
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
            secret, events(flatten(report, Asked(0, "shop"), settings_of()), PLUGIN.datasets[0])
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
        assert_hidden(secret, events(of_log(line, settings_of()), PLUGIN.datasets[0]))
    with pytest.raises(Retry) as caught:
        flatten({"error": "wrong", key: secret}, Asked(), settings_of())
    assert secret not in str(caught.value) and "wrong" in str(caught.value)


@pytest.mark.parametrize(
    "inner",
    [{HEAD: 9}, {HEAD: {"count": 1}}, [{HEAD: {"count": 1}}], [{"a": {HEAD: 3}}], {HEAD: "x"}],
)
@pytest.mark.parametrize(
    "name", ["api_keys", "tokens", "session_id", "cookie", "cookies", "jwt", "refresh_tokens"]
)
def test_a_secret_is_a_key(name, inner):
    for details in ({name: inner}, [{name: inner}], {"a": [{name: inner}]}):
        made = events(
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
        assert_hidden(HEAD, made)
        assert name in json.dumps(made)
    assert_hidden(
        HEAD,
        events(of_log(json.dumps({**ELEMENT, name: inner}), settings_of()), PLUGIN.datasets[0]),
    )
    assert_hidden(
        HEAD,
        events(
            flatten([{**REPORT, "tokens": [inner]}], Asked(0, "shop"), settings_of()),
            PLUGIN.datasets[0],
        ),
    )


def test_an_unreadable_line_shows_no_key_that_is_on_no_page():
    for tail in (f',"{HEAD}":"x', f',"{HEAD}":1,', f',"x":{{"{HEAD}":[', f'"{HEAD}":'):
        assert_hidden(HEAD, events(of_log(FIELD[:-1] + tail, settings_of()), PLUGIN.datasets[0]))
    assert '"attack_value":"' in redacted_line(FIELD[:-1])


def test_the_names_of_cookies_stay():
    """Where the page has them: an attack list's cookies, by name."""
    assert redacted({"cookies": {"JSESSIONID": ["c1"], "x y": ["c2"], "c3": 5}}) == {
        "cookies": {
            "JSESSIONID": [hashed("c1")],
            hashed("x y"): [hashed("c2")],
            hashed("c3"): hashed("5"),
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
def test_of_a_url_user_and_query_are_hashed(url, shown_url):
    wanted = re.sub(r"\{(.*?)\}", lambda part: hashed(part[1]), shown_url)
    assert without_query(url) == wanted and redacted({"api_url": url, url: 1}) == {
        "api_url": wanted,
        wanted: 1,
    }


def test_a_pointer_shows_no_password():
    assert "p4ss" not in json.dumps(
        redacted({"ddos_info": "mongodb://abs:p4ss@db.example.com/abs_data"})
    )


def test_a_payload_that_could_not_be_taken_apart():
    """The engine hands over the whole text, then."""
    made = events(
        [FIELD, "token=EXAMPLE-TOKEN-IN-CLEAR", ["EXAMPLE-TOKEN-IN-CLEAR"]], PLUGIN.datasets[0]
    )
    assert_hidden("EXAMPLE-TOKEN-IN-CLEAR", made)
    assert all(event["event"]["kind"] == "pipeline_error" for event in made)


def test_the_words_of_the_page_stay():
    for folder in ("03-with-blanks", "as-it-is"):
        line = (
            json.dumps(ELEMENT)
            if folder == "as-it-is"
            else json.dumps(ELEMENT, separators=(" , ", " : "))
        )
        text = redacted_line(line[:-1])
        assert all(
            f'"{word}"' in text
            for word in (
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
    (made,) = events(of_log(FIELD, settings_of(keep_original=False)), PLUGIN.datasets[0])
    assert (
        made["message"] == "Stolen Token Attack Type 1"
        and made["@timestamp"] == "2026-03-04T10:02:13.000Z"
        and made["rule"]["id"] == "4"
        and made["pingintelligence"]["token_hash"] == made["related"]["hash"][0]
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
def test_a_line_that_wants_to_take_long(line):
    (record_,) = of_log(line, settings_of())
    (made,) = events([record_], PLUGIN.datasets[0])
    assert (
        made["event"]["kind"] == "pipeline_error"
        and len(json.loads(made["event"]["original"])["line"]) <= SHOWN + 200
    )


@settings(max_examples=300, deadline=None)
@given(st.text(SIGNS + '"\\ \ta5é-', max_size=60))
def test_any_text_is_read_to_its_end(text):
    assert isinstance(redacted_line(text), str)


# Identity

VALUES = st.one_of(st.text(max_size=8), st.integers(-10, 10**12), st.none(), st.booleans())


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=4),
    st.dictionaries(st.sampled_from(sorted(ELEMENT)), VALUES, max_size=4),
    st.randoms(),
)
def test_lines_that_differ_in_any_key_have_ids_of_their_own(more, changed, luck):
    one = {**ELEMENT, **more}
    other = {**one, **changed}
    made, again, differs = (
        events(of_log("pi-attack-info-" + json.dumps(element), settings_of()), PLUGIN.datasets[0])[
            0
        ]
        for element in (one, dict(luck.sample(list(one.items()), len(one))), other)
    )
    assert made == again, "the order of keys changes nothing"
    assert (made["event"]["id"] == differs["event"]["id"]) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


@pytest.mark.parametrize(
    "kind, value",
    [
        ("TOKEN", "EXAMPLE-TOKEN-IN-CLEAR"),
        ("COOKIE", "AB" * 32),
        ("API_KEY", "0123456789abcdef" * 4),
        ("IP", "192.0.2.7"),
        ("Fingerprint", "x"),
    ],
)
def test_the_id_of_a_line_does_not_depend_on_settings_or_transport(kind, value):
    """64 hex digits are a hash already, or a secret: that is up to the role."""
    element = {**ELEMENT, "attack_identifier_type": kind, "attack_value": value}
    line_of_page = json.dumps(element, separators=(",", ":"))
    ids = {
        events(of_log(before + line, settings_of(**changed)), PLUGIN.datasets[0])[0]["event"]["id"]
        for line in (line_of_page, json.dumps(element))
        for before in ("", "pi-attack-info-", "Mar  4 10:02:13 abs01 ")
        for changed in ({}, {"hash_identifiers": False}, {"role": "admin"}, {"role": "restricted"})
    }
    payload = Payload(
        f"<134>1 2026-03-04T10:02:13.000Z abs01 APIIntelligence - Audit [mdc@18060] {line_of_page}".encode(),
        "tcp",
        received=1772618533417,
    )
    ids |= {
        event["event"]["id"]
        for batch in PLUGIN.receive(settings_of(), payload)
        for event in events(batch.records, batch.dataset)
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({**ELEMENT, "protocol": {"a": 1}}),
        json.dumps({**ELEMENT, "@who": 5, "@when": {}, "@api": [1]}),
        FIELD.replace('"4"', "NaN"),
        json.dumps({**ELEMENT, "ddos_info": {"a": 1}, "access_time": 7}),
        json.dumps({**ELEMENT, "attack_key": True, "attack_id": 10**30}),
    ],
)
def test_no_line_stops_the_mapping(line):
    assert len(events(of_log(line, settings_of()), PLUGIN.datasets[0])) == 1


def test_the_simulators_ledger_of_lines():
    sent = [
        thing
        for thing in simulator.Simulator(simulator.Knobs(rate=0.02)).pushed(
            1772618533417, 1772618533417 + 3_600_000
        )
    ]
    made = [
        event["event"]["id"]
        for thing in sent
        for batch in PLUGIN.receive(
            settings_of(),
            Payload(thing.body, "tcp", received=thing.at if hasattr(thing, "at") else 0),
        )
        for event in events(batch.records, batch.dataset)
    ]
    assert len(sent) > 20 and made == [id for thing in sent for id in thing.ids]


def test_the_field_inputs_stand_as_cases():
    cases = Path(simulator.__file__).parent / "cases"
    for case in ("attack_log_that_cannot_be_read", "report_with_sessions"):
        assert "IN-CLEAR" not in (cases / case / "expected.json").read_text(
            encoding="utf-8"
        ) and any(
            "IN-CLEAR" in path.read_text(encoding="utf-8") for path in (cases / case).iterdir()
        )
