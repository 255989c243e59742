"""Records with a secret inserted at a random place, and the events made of them."""

import base64
import json
import string
from urllib.parse import unquote

from hypothesis import strategies as st
from pingintelligence import PLUGIN
from pingintelligence.redaction import (
    HARMLESS,
    KINDS,
    LISTS,
)

from siemtap.core.compile import bind
from siemtap.core.manifest import fill_in

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
        ],
        "no_session": {"request_details": []},
        "suspicious_sessions": [],
    },
}


# Keys with a documented text that is no secret. A secret in such a place cannot be recognised.
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


HEAD, TAIL = "Zq7xWv", "Kx9wQz"  # the start of every secret, so that a part of one is found as well


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


# Names of secrets, and names that look like one. Below these a secret may be a key.
SECRET_NAMES = st.sampled_from(
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
        bind(dataset, filled, {"data_stream.namespace": "default"})(record, 1772618533417, None)
        for record in records
    ]


def texts_of(events_):
    """Return the events as text: as JSON, URL-decoded, and without escapes."""
    text = json.dumps(events_, ensure_ascii=False)
    originals = json.dumps(
        [event["event"].get("original", "") for event in events_], ensure_ascii=False
    )
    return [
        text,
        unquote(text),
        *(
            part.replace("\\\\", "\\").replace('\\"', '"')
            for part in (
                text,
                originals,
                originals.replace("\\\\", "\\").replace('\\"', '"'),
            )
        ),
    ]


def assert_hidden(secret, events_):
    """Assert that no form of the secret, and no part of it, is in the events."""
    texts = texts_of(events_)
    for form in (
        HEAD,
        TAIL,
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        unquote(secret),
        base64.b64encode(secret.encode()).decode().rstrip("="),
        secret.lower(),
    ):
        assert not any(form in text for text in texts), (form, events_)


def settings_of(**changed):
    return fill_in(PLUGIN.settings, {"report_details": True, "keep_original": True, **changed})


def places(value):
    """Yield every object and list in a value, except the lists in which the vendor documents times
    and addresses."""
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
    """Draw (secret, a copy of the record with the secret at a random place)."""
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
        place[draw(SECRET_NAMES.filter(lambda key: place is not copy or key != "cookie"))] = inner
    elif isinstance(place, list):
        place.insert(draw(st.integers(0, len(place))), value)
    else:
        # "cookie" of a report is the cookie's name
        place[draw(KEYS.filter(lambda key: place is not copy or key != "cookie"))] = value
    return secret, copy
