"""The script of the modular input: its scheme, the validation of a stanza, invalid calls."""

import re
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from splunk_input import run
from splunkd_stand_in import KEY

from siemtap.core.errors import ConfigError
from siemtap.splunk.runtime.parameters import check_interval

pytestmark = pytest.mark.slow


def test_scheme(splunk, tmp_path):
    for kind in ("apptrana", "centurylink_ips", "pingintelligence"):
        code, out, _ = run(splunk, tmp_path, kind=kind, arguments=["--scheme"], stdin="")
        names = [arg.get("name") for arg in ElementTree.fromstring(out).iter("arg")]
        assert (
            code == 0
            and "account" in names
            and not {"client_secret", "secret_key", "password", "interval"} & set(names)
            and len(names) == len(set(names))
        )


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({}, ""),
        ({"lookback": "7d", "websites": "a.example.com, b.example.com"}, ""),
        ({"lookback": "soon"}, "is not a duration"),
        ({"lookback": "31d"}, "lookback"),
        ({"nonsense": "1"}, "no setting nonsense"),
        ({"severity_map": '{"2": 73}'}, ""),
        ({"severity_map": "2=73"}, "is not a JSON object"),
        ({"event_type": "Blocked"}, "did you mean"),
        ({"lookback": "<&>"}, "<&>"),
        ({"interval": "0"}, "at least 1"),
        ({"interval": "61 * * * *"}, "is no minute"),
    ],
)
def test_validation(splunk, tmp_path, settings, sentence):
    params = "".join(
        f'<param name="{name}">{escape(value)}</param>'
        for name, value in {
            "account": "main",
            "interval": "60",
            "index": "main",
            **settings,
        }.items()
    )
    stdin = (
        f"<items><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>x</checkpoint_dir><item"
        f' name="first">{params}</item></items>'
    )
    code, out, _ = run(splunk, tmp_path, arguments=["--validate-arguments"], stdin=stdin)
    assert (
        (code, out) == (0, b"")
        if not sentence
        else (code == 1 and sentence in ElementTree.fromstring(out).findtext("message"))
    )


@pytest.mark.parametrize(
    "interval", ["1", "60", "60.5", "86400", "* * * * *", "*/5 0-6,18 1-31/2 * 1-5", "0 0 1 1 0"]
)
def test_interval(interval):
    check_interval(interval)


@pytest.mark.parametrize(
    "interval, sentence",
    [
        ("0", "at least 1"),
        ("-1", "at least 1"),
        ("0.5", "at least 1"),
        ("1e9", "at least 1"),
        ("5m", "at least 1"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("61 * * * *", '"61" is no minute of a cron expression; write *, numbers from 0 to 59'),
        ("* 24 * * *", '"24" is no hour'),
        ("* * 0 * *", '"0" is no day of month'),
        ("* * * 13 *", '"13" is no month'),
        ("* * * jan *", '"jan" is no month'),
        ("* * * * 8", '"8" is no day of week'),
        ("*/0 * * * *", '"*/0" is no minute'),
        ("9-3 * * * *", '"9-3" is no minute'),
        ("1, * * * *", '"1," is no minute'),
        ("\u0661 * * * *", "is no minute"),
    ],
)
def test_interval_that_is_none(interval, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        check_interval(interval)


def test_invalid_arguments_and_input(splunk, tmp_path):
    assert run(splunk, tmp_path, arguments=["--nonsense"], stdin="")[0] == 1
    code, out, err = run(splunk, tmp_path, stdin="this is no XML")
    assert code == 1 and out == b"" and err.startswith("ERROR ")
