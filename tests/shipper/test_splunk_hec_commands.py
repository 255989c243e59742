"""The commands with the output `splunk_hec`."""

import gzip
import json
import signal

import pytest
from click.testing import CliRunner
from hec_stand_in import TOKEN, Hec
from processes import HANG, Process, siemtap
from shipper import vendor_process
from shipper.vendor_process import write

from siemtap.core.windows import MINUTE
from siemtap.edge.clock import SYSTEM
from siemtap.shipper.cli.main import main

vendor = vendor_process.vendor  # a fixture
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


OUTPUT = "output.splunk_hec: {{hosts: ['{}'], token: {}, {}}}\nhealth.enabled: {}\n"


def configured(folder, vendor, hec, settings="index: main", health="false"):
    return write(folder, vendor, OUTPUT.format(hec.url, TOKEN, settings, health))


def ids_of(hec, sourcetype="apptrana:"):
    return [
        json.loads(each["raw"]).get("event.id") or json.loads(each["raw"])["event"]["id"]
        for each in hec.indexed
        if each["sourcetype"].startswith(sourcetype)
    ]


def truth_of(vendor):
    """Return the ids of the vendor's attacks of the last 25 minutes, but for the last 4."""
    now = SYSTEM.now()
    return vendor.simulated.ledger(now, now - 25 * MINUTE, now - 4 * MINUTE)


@pytest.mark.slow
@pytest.mark.parametrize("ack", [False, True])
def test_a_run_delivers_every_event_once(hec, tmp_path, vendor, ack):
    """A second run continues at the checkpoint. A busy server changes nothing."""
    hec.ack, hec.faults = ack, [9, None, 26]
    path = configured(tmp_path, vendor, hec, f"ack: {json.dumps(ack)}", "true")
    siemtap("run", "--once", "-c", path)
    siemtap("run", "--once", "-c", path)
    ids = ids_of(hec)
    assert len(ids) == len(set(ids)) and len(truth_of(vendor)) > 50
    assert truth_of(vendor) <= set(ids)
    own = {each["source"] for each in hec.indexed if each["sourcetype"] == "siemtap:health"}
    assert own == {"siemtap://siemtap"}
    audit = siemtap("audit", "--since", "1h", "-c", path, code=2)
    assert "output.splunk_hec: splunk_hec cannot return its events: an HTTP Event" in audit.stderr


@pytest.mark.slow
def test_a_kill_loses_nothing(hec, tmp_path, vendor):
    """What was sent and not saved is sent again after the start, with the same ids."""
    path = configured(tmp_path, vendor, hec)
    killed = []

    def kill(handler):
        handler.index(gzip.decompress(hec.requests[-1][2]))
        killed[-1].process.kill()
        handler.hang_up()

    for _ in range(3):
        hec.faults = [kill]
        killed.append(Process(path))
        killed[-1].process.communicate(timeout=HANG)
        assert killed[-1].process.returncode == -signal.SIGKILL
    siemtap("run", "--once", "-c", path)
    ids = ids_of(hec)
    assert truth_of(vendor) <= set(ids) and len(ids) > len(set(ids))
