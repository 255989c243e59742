"""The commands with the output `splunk_hec`."""

import json

import pytest
from click.testing import CliRunner
from hec_stand_in import TOKEN, Hec

from siemtap.shipper.cli.main import main

APPTRANA = {"type": "apptrana", "client_id": "a", "client_secret": "b"}


@pytest.fixture
def hec():
    with Hec() as server:
        yield server


def invoke(folder, hosts, *words, **settings):
    """Run a command; return its exit code and what it printed."""
    path = folder / "siemtap.yml"
    output = {"hosts": hosts, "token": TOKEN, **settings}
    config = {"path": {"data": str(folder / "data")}, "inputs": [APPTRANA]}
    path.write_text(json.dumps({**config, "output": {"splunk_hec": output}}))
    path.chmod(0o600)
    done = CliRunner().invoke(main, [*words, "-c", str(path)])
    assert TOKEN not in done.output
    return done.exit_code, done.output


def test_output(hec, tmp_path):
    code, printed = invoke(tmp_path, [hec.url], "test", "output", index="waf")
    assert code == 0, printed
    assert printed.splitlines() == [
        f"ok    {hec.url}: health: 200 code 17: HEC is healthy",
        f"ok    {hec.url}: the token is valid",
        f"ok    {hec.url}: without indexer acknowledgement, as `ack: false` says",
        "ok    no test event was sent, because HEC cannot delete one; the first event shows whether"
        " the token may write to waf",
    ]
    assert not hec.indexed


@pytest.mark.parametrize(
    "more, settings, text",
    [
        ({"health": 18}, {}, "FAIL  {}: health: 503 code 18: HEC is unhealthy, queues are full"),
        ({"token": "other"}, {}, "FAIL  {}: an empty request: 403 code 4: Invalid token; check"),
        ({"disabled": True}, {}, "FAIL  {}: an empty request: 403 code 1: Token disabled; check"),
        ({"ack": True}, {}, "the token demands indexer acknowledgement: set `ack: true`"),
        ({}, {"ack": True}, "the token has no indexer acknowledgement: turn it on"),
    ],
)
def test_output_that_fails(hec, tmp_path, more, settings, text):
    hec.__dict__.update(more)
    code, printed = invoke(tmp_path, [hec.url], "test", "output", **settings)
    assert code == 1 and text.format(hec.url) in printed, printed


def test_every_host_is_tested(hec, tmp_path):
    hec.ack = True
    hosts = ["http://127.0.0.1:9", hec.url]
    code, printed = invoke(tmp_path, hosts, "test", "output", ack=True)
    assert code == 1 and "FAIL  GET http://127.0.0.1:9/services/collector/health" in printed
    assert f"ok    {hec.url}: the token has indexer acknowledgement" in printed


def test_commands_that_it_cannot_serve(hec, tmp_path):
    code, printed = invoke(tmp_path, [hec.url], "setup")
    assert code == 2 and "output.splunk_hec needs no setup" in printed
    code, printed = invoke(tmp_path, [hec.url], "events", index="waf")
    assert code == 2 and f"in Splunk, in the index waf, received by {hec.url}" in printed


def test_mistakes_of_the_configuration(tmp_path):
    for settings, text in (
        ({"hosts": ["splunk.example.com:8088"]}, "write https://splunk.example.com:8088"),
        ({"token": ""}, "output.splunk_hec.token"),
        ({"ack_timeout": "2h"}, "ack_timeout"),
        ({"proxy_user": "a"}, "needs `proxy_password`"),
    ):
        hosts = settings.pop("hosts", ["https://splunk.example.com:8088"])
        code, printed = invoke(tmp_path, hosts, "test", "config", **settings)
        assert code == 2 and text in printed, printed
    code, printed = invoke(tmp_path, ["http://splunk.example.com:8088"], "test", "config")
    assert code == 0 and "http://splunk.example.com without TLS" in printed
