"""What the table's converters must never do: differ by the road taken, or let a secret through."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apptrana import mapping
from apptrana.manifest import Settings
from apptrana.mapping import ATTACK, headers, redact, thorough_headers, unpaired
from siemtap.core.manifest import fill_in
from siemtap.core.mapping import Given

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
def test_headers_are_what_was_printed(rows):
    said = "".join(f'"{name}"{colon}"{value}"{comma}' for name, value, colon, comma in rows)[
        :-1
    ].rstrip(", ")
    meant = {
        name.strip().lower(): value.strip()
        for name, value, _, _ in rows
        if value.strip() not in ("", "-")
    }
    assert headers(said, ()) == thorough_headers(said, ()) == meant
    assert headers(said, SECRET) == {
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
def test_the_quick_way_and_the_thorough_one_find_the_same(said):
    assert headers(said, ()) == thorough_headers(said, ())


@given(st.text(st.sampled_from('"\\:,{}[] -aC\t\n'), max_size=30))
def test_no_text_whatever_is_an_error(said):
    assert isinstance(headers(said, SECRET), dict) and isinstance(
        redact({"requestHeader": said}, redact_headers=SECRET), dict
    )


@pytest.mark.parametrize(
    "said,meant",
    [
        ('"A":1,"B":["c"],"C":null', {"a": "1", "b": '["c"]', "c": "null"}),
        ('"A":"b"}, {"Cookie":"s3cret"', {"a": 'b"}, {"Cookie": REDACTED'}),
        ("[" * 100_000, {}),
        ('"A":' + "[" * 100_000, {}),
        ('"A":"x","A":"-"', {"a": "x"}),
    ],
)
def test_odd_headers(said, meant):
    assert headers(said, SECRET) == meant


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
def test_no_spelling_of_a_secret_header_lets_it_through(before, after, spelled, beside):
    said = f'{beside}"{before}{spelled}{after}":"s3cret"'
    assert "s3cret" not in json.dumps(headers(said, SECRET))
    assert "s3cret" not in json.dumps(
        redact(
            {"requestHeader": said, "responseHeader": said, "Cookie": "s3cret"},
            redact_headers=SECRET,
        )
    )


@pytest.mark.parametrize(
    "said",
    [
        "Cookie: s3cret",
        "x; cookie=s3cret; y",
        '{"Cookie" : ["s3cret"]}',
        "Authorization: Basic s3cret",
        '"COOKIE":"s3cret',
        '\\"Cookie\\":\\"s3cret\\"',
    ],
)
def test_what_nothing_can_read_is_cut_after_a_secrets_name(said):
    assert "s3cret" not in unpaired(said, SECRET) and "REDACTED" in unpaired(said, SECRET)
    for record in (
        said,
        [said],
        {"requestHeader": said},
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
            for name in ([row.theirs] if isinstance(row.theirs, str) else row.theirs)
        )
    ],
)
@pytest.mark.parametrize("value", [[], ["x"], {"a": [1]}, True, 2.5, 10**30], ids=str)
def test_a_value_of_any_kind_in_any_place_is_kept_and_stops_nobody(name, value):
    event = ATTACK.bind(SETTINGS, {})(
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
    assert isinstance(value, (bool, float, int)) or name in event["apptrana"]["extra"]


def test_an_object_in_a_header_stays_one():
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
def test_what_no_row_reads_shows_no_secret(unknown, time):
    event = ATTACK.bind(dataclasses.replace(SETTINGS, keep_original=True))
    made = event(
        {
            "websiteName": "w",
            "attackTime": time,
            "requestId": "1",
            "ruleId": "2",
            **UNKNOWN[unknown],
        },
        1_772_618_533_000,
    )
    assert "s3cret" not in json.dumps(made) and "REDACTED" in json.dumps(made)
    assert "s3cret" not in json.dumps(redact([UNKNOWN[unknown]], redact_headers=SECRET))


def test_what_is_no_secret_stays_as_it_is():
    given = {
        "headers": {"Vary": "Cookie", "Host": "x", "N": [1, None, True]},
        "name": "Cookie policy",
        "list": ["Host", "x"],
        "attackData": "Cookie: an attack",
        "attackUri": "/?cookie=1",
    }
    assert redact(given, redact_headers=SECRET) == given


def test_the_names_that_the_rows_read_are_all_of_them():
    theirs = {
        name
        for row in ATTACK.rows
        if not isinstance(row, Given)
        for name in ([row.theirs] if isinstance(row.theirs, str) else row.theirs)
    }
    painless = (Path(mapping.__file__).parent / "elastic/mapping.painless").read_text(
        encoding="utf-8"
    )
    assert theirs | {"attackTime"} == mapping.READ and all(
        f"'{name}'" in painless.partition("boolean read_by_rows")[2].partition("}")[0]
        for name in mapping.READ
    )
