"""The converters of the mapping: both readers of headers give the same result, and no secret is
shown."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apptrana import mapping
from apptrana.manifest import Settings
from apptrana.mapping import ATTACK, MAPPED_KEYS, redact
from apptrana.redaction import headers, parse_lenient_headers, unpaired
from siemtap.core.compile import bind
from siemtap.core.manifest import fill_in
from siemtap.core.rows import Given

SETTINGS = fill_in(Settings, {"client_id": "x", "client_secret": "y"})
SECRET = ("cookie", "authorization")
BLANKS = ("", " ", "\t", "\u00a0", "\n", "  ")
WORD = st.text(
    st.characters(exclude_characters='"\\', exclude_categories=("Cs",)), max_size=12
) | st.sampled_from(["-", " - ", "", "Cookie", " COOKIE ", "\tcookie", "Host"])


@given(
    st.lists(
        st.tuples(
            WORD.filter(bool),
            WORD,
            st.sampled_from([":", " : ", " :", ": "]),
            st.sampled_from([",", " , ", ", "]),
        ),
        max_size=8,
    )
)
def test_headers_are_parsed_from_their_printed_form(rows):
    text = "".join(f'"{name}"{colon}"{value}"{comma}' for name, value, colon, comma in rows)[
        :-1
    ].rstrip(", ")
    values = {}
    for name, value, _, _ in rows:
        if value.strip() not in ("", "-"):
            values.setdefault(name.strip().lower(), []).append(value.strip())
    meant = {name: ", ".join(contents) for name, contents in values.items()}
    assert headers(text, ()) == parse_lenient_headers(text, ()) == meant
    assert headers(text, SECRET) == {
        name: "REDACTED" if name in SECRET else value for name, value in meant.items()
    }


@given(
    st.lists(
        st.sampled_from(
            [
                '"',
                '"A"',
                '"a"',
                ":",
                ",",
                '"-"',
                '"x"',
                '""',
                "1",
                "1e999",
                "null",
                "NaN",
                "{",
                "}",
                "[",
                "]",
                " ",
                '\\"',
                "\\u0022",
                "\\ud800",
                "\ud800",
                "\t",
                "18446744073709551616",
                '"A":"x"',
                '"B":1',
                ",",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_fast_and_full_header_parsers_agree(text):
    assert headers(text, ()) == parse_lenient_headers(text, ())


@given(st.text(st.sampled_from('"\\:,{}[] -aC\t\n'), max_size=30))
def test_any_header_text_is_accepted(text):
    assert isinstance(headers(text, SECRET), dict) and isinstance(
        redact({"requestHeader": text}, redact_headers=SECRET), dict
    )


@pytest.mark.parametrize(
    "text,meant",
    [
        ('"A":1,"B":["c"],"C":null', {"a": "1", "b": '["c"]', "c": "null"}),
        ('"A":"b"}, {"Cookie":"s3cret"', {"a": 'b"}, {"Cookie": REDACTED'}),
        ("[" * 100_000, {}),
        ('"A":' + "[" * 100_000, {}),
        ('"A":"x","A":"-"', {"a": "x"}),
    ],
)
def test_unusual_headers(text, meant):
    assert headers(text, SECRET) == meant


@pytest.mark.parametrize("before", BLANKS)
@pytest.mark.parametrize("after", BLANKS)
@pytest.mark.parametrize("spelled", ["Cookie", "cookie", "COOKIE"])
@pytest.mark.parametrize(
    "beside",
    [
        "",
        '"A":"b"}, {',
        '"A":"b",',
        '"A":"-" , ',
        '"A":"a "bare" quote",',
        '"A":"an \\"escaped\\" one",',
    ],
)
def test_secret_header_is_redacted_in_every_spelling(before, after, spelled, beside):
    text = f'{beside}"{before}{spelled}{after}":"s3cret"'
    assert "s3cret" not in json.dumps(headers(text, SECRET))
    assert "s3cret" not in json.dumps(
        redact(
            {"requestHeader": text, "responseHeader": text, "Cookie": "s3cret"},
            redact_headers=SECRET,
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "Cookie: s3cret",
        "x; cookie=s3cret; y",
        '{"Cookie" : ["s3cret"]}',
        "Authorization: Basic s3cret",
        '"COOKIE":"s3cret',
        '\\"Cookie\\":\\"s3cret\\"',
    ],
)
def test_unparsable_headers_are_cut_after_the_name_of_a_secret(text):
    assert "s3cret" not in unpaired(text, SECRET) and "REDACTED" in unpaired(text, SECRET)
    for record in (
        text,
        [text],
        {"requestHeader": text},
        {"requestHeader": {"Cookie": "s3cret"}},
        {"requestHeader": [{"Cookie": "s3cret"}]},
    ):
        assert "s3cret" not in json.dumps(redact(record, redact_headers=SECRET)), record


@pytest.mark.parametrize(
    "name",
    [
        *(
            name
            for row in ATTACK.rows
            if not isinstance(row, Given)
            for name in ([row.source] if isinstance(row.source, str) else row.source)
        )
    ],
)
@pytest.mark.parametrize("value", [[], ["x"], {"a": [1]}, True, 2.5, 10**30], ids=str)
def test_value_of_any_type_is_kept(name, value):
    event = bind(ATTACK, SETTINGS, {})(
        {
            "attackTime": "2026-03-04T10:02:13.417Z",
            "requestId": "r",
            "tlsVersion": "TLSv1.2",
            "hostName": "h",
            "attackUri": "/",
            name: value,
        },
        0,
        None,
    )
    assert (
        event["event"]["kind"] != "pipeline_error"
        and event["@timestamp"] == "2026-03-04T10:02:13.417Z"
    )
    if name == "attackData" and not isinstance(value, (bool, float, int)):
        assert json.loads(event["apptrana"]["attack_data"]) == value
    else:
        assert isinstance(value, (bool, float, int)) or name in event["apptrana"]["extra"]


def test_object_in_a_header_is_kept_as_an_object():
    assert headers('"A":[1,{"b":{"c":null}}]', ()) == {"a": '[1,{"b":{"c":null}}]'}


UNKNOWN = {
    "object": {"requestHeaders": {"Cookie": "s3cret"}},
    "other letters": {"RequestHeader": '"Cookie":"s3cret"'},
    "text": {"note": "Cookie: s3cret"},
    "pair": {"h": [{"name": "Cookie", "value": "s3cret"}]},
    "pair of other words": {"h": {"Key": " COOKIE ", "content": ["s3cret"]}},
    "two": {"h": [["Cookie", "s3cret"]]},
    "deep": {"a": {"b": [{" Authorization ": {"c": "s3cret"}}]}},
    "text inside": {"a": [{"b": "GET /\r\nCookie: s3cret"}]},
    "pair in a text": {"a": '{"name":"Cookie","value":"s3cret"}'},
    "header object": {"requestHeader": {"Cookie": "s3cret"}},
    "header list": {"responseHeader": [{"name": "Cookie", "value": "s3cret"}]},
    "object in a header": {"requestHeader": '"h": {"Cookie":"s3cret"}'},
    "pair in a header": {"requestHeader": '"h": [{"name":"Cookie","value":"s3cret"}]'},
    "header of a pair": {"requestHeader": '"name":"Cookie","value":"s3cret"'},
    "of another shape": {"attackUri": {"Cookie": "s3cret"}, "target": [["cookie", "s3cret"]]},
    "other quotes": {"note": "{'Cookie': 's3cret'}"},
    "header of other quotes": {"requestHeader": "'Cookie': 's3cret'"},
    "deeper than anybody looks": {"a": json.loads("[" * 300 + '"s3cret"' + "]" * 300)},
}


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize("time", ["2026-03-04T10:00:00.000Z", "yesterday"])
def test_undocumented_fields_show_no_secret(unknown, time):
    event = bind(ATTACK, dataclasses.replace(SETTINGS, keep_original=True))
    document = event(
        {
            "websiteName": "w",
            "attackTime": time,
            "requestId": "1",
            "ruleId": "2",
            **UNKNOWN[unknown],
        },
        1_772_618_533_000,
    )
    assert "s3cret" not in json.dumps(document) and "REDACTED" in json.dumps(document)
    assert "s3cret" not in json.dumps(redact([UNKNOWN[unknown]], redact_headers=SECRET))


def test_other_values_are_not_redacted():
    given = {
        "headers": {"Vary": "Cookie", "Host": "x", "N": [1, None, True]},
        "name": "Cookie policy",
        "list": ["Host", "x"],
        "attackData": "Cookie: an attack",
        "attackUri": "/?cookie=1",
    }
    assert redact(given, redact_headers=SECRET) == given


def test_every_field_read_by_a_row_is_known_to_the_redaction():
    painless = (Path(mapping.__file__).parent / "elastic/mapping.painless").read_text(
        encoding="utf-8"
    )
    assert all(
        f"'{name}'" in painless.partition("boolean read_by_rows")[2].partition("}")[0]
        for name in MAPPED_KEYS
    )
