"""`siemtap run` in its own process, with a simulator over a socket."""

import json
import re
import signal
import time

import pytest
from processes import HANG, Process, page, siemtap, wait_for
from shipper import vendor_process
from shipper.vendor_process import stored, write

from apptrana import simulator
from siemtap.edge.encode import REPLACED
from siemtap.testing import simulation

pytestmark = pytest.mark.slow

# fixtures
vendor = vendor_process.vendor


# run


def test_run_once_collects_everything_that_is_due(tmp_path, vendor):
    path = write(tmp_path, vendor)
    done = siemtap("run", "--once", "-c", path)
    expected = vendor.simulated.ledger(*(int(time.time() - ago) * 1000 for ago in (0, 1700, 60)))
    assert len(expected) > 50 and expected <= stored(tmp_path)
    assert "events accepted" in done.stderr and "demo-secret" not in done.stderr
    before = stored(tmp_path)
    siemtap("run", "--once", "-c", path)
    assert before <= stored(tmp_path)


def test_file_output(tmp_path, vendor):
    path = write(tmp_path, vendor, f"output.file: {{path: {tmp_path}/out}}")
    siemtap("run", "--once", "-c", path)
    siemtap("run", "--once", "-c", path)
    ids = [
        json.loads(line)["event"]["id"]
        for line in (tmp_path / "out/events.ndjson").read_bytes().splitlines()
    ]
    assert len(ids) == len(set(ids)) > 50


def test_stdout_output(tmp_path, vendor):
    done = siemtap("run", "--once", "-c", write(tmp_path, vendor, "output.stdout:"))
    events = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert (
        len(events) > 50
        and events[0]["agent"]["type"] == "siemtap"
        and events[0]["event"]["created"].endswith("Z")
    )


def test_tags_fields_and_namespace_are_in_events(tmp_path, vendor):
    path = write(
        tmp_path,
        vendor,
        "output.stdout:",
        tags=["waf"],
        fields={"team": "blue"},
        namespace="prod",
        drop={"action": ["logged"]},
    )
    events = [
        json.loads(line) for line in siemtap("run", "--once", "-c", path).stdout.split("\n") if line
    ]
    # the vendor sends lone surrogates at times: such an event says so in a tag of its own
    assert all(
        event["tags"] in (["waf"], ["waf", REPLACED])
        and event["fields"] == {"team": "blue"}
        and event["data_stream"]["namespace"] == "prod"
        for event in events
    )
    assert {event["event"].get("action") for event in events} & {"logged"} == set() and len(
        events
    ) > 20


def test_time_range_does_not_change_checkpoints(tmp_path, vendor):
    path = write(tmp_path, vendor, lookback="5m")
    siemtap("run", "--once", "-c", path)
    marks = siemtap("state", "list", "-c", path).stdout
    before = stored(tmp_path)
    start, stop = time.time() - 7200, time.time() - 3600
    times = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (start, stop)]
    siemtap("run", "--from", times[0], "--to", times[1], "-c", path)
    more = stored(tmp_path) - before
    assert (
        vendor.simulated.ledger(
            int(time.time() * 1000), int(start + 1) * 1000, int(stop - 1) * 1000
        )
        <= more
    )
    assert siemtap("state", "list", "-c", path).stdout == marks
    siemtap("run", "--from", times[0], "--to", times[1], "-c", path)
    assert stored(tmp_path) == before | more


def test_wrong_key_degrades_only_its_input(tmp_path, vendor):
    path = write(
        tmp_path,
        vendor,
        id="bad",
        client_secret="n0t-the-k3y",
        inputs=(
            f"  - type: apptrana\n    url: {vendor.url}\n    client_id: demo\n    client_secret:"
            " demo-secret\n    lookback: 30m\n"
        ),
    )
    done = siemtap("run", "--once", "-c", path, code=1)
    assert (
        "AuthError" in done.stderr
        and "check client_id/client_secret" in done.stderr
        and "not finished: bad/" in done.stderr
    )
    assert len(stored(tmp_path)) > 50 and "n0t-the-k3y" not in done.stderr


def test_run_once_retries_a_failing_vendor_for_a_limited_time(tmp_path, vendor):
    vendor.simulated.faults.append(simulation.Fault("getAttackInfo", 3, 503))
    siemtap("run", "--once", "-c", write(tmp_path, vendor))
    vendor.simulated.faults.append(simulation.Fault("getAttackInfo", 10**6, 503))
    assert (
        "not finished"
        in siemtap(
            "run", "--once", "--patience", "2s", "-c", tmp_path / "siemtap.yml", code=1
        ).stderr
    )


def test_configuration_error_is_one_sentence_and_exit_status_2(tmp_path, vendor):
    path = write(tmp_path, vendor, lookback="1 day")
    done = siemtap("run", "-c", path, code=2)
    assert re.fullmatch(
        r'siemtap: .*siemtap.yml line \d+: inputs\[0\].lookback is "1 day"; use a number and a'
        r" unit, such as 30s, 5m, 12h or 1d\n",
        done.stderr,
    )
    assert not (tmp_path / "data").exists()
    siemtap("run", "-c", tmp_path / "nowhere.yml", code=2)
    for options in (
        ["--to", "2026-01-01T00:00Z"],
        ["--from", "tomorrow"],
        ["--from", "2026-01-02T00:00Z", "--to", "2026-01-01T00:00Z"],
    ):
        siemtap("run", *options, "-c", write(tmp_path, vendor), code=2)


def test_damaged_database_is_rejected(tmp_path, vendor):
    path = write(tmp_path, vendor)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/siemtap.db").write_bytes(b"x" * 9000)
    done = siemtap("run", "--once", "-c", path, code=2)
    assert (
        "is damaged" in done.stderr
        and "move it away" in done.stderr
        and (tmp_path / "data/siemtap.db").read_bytes() == b"x" * 9000
    )


def test_run_resumes_after_a_full_disk(tmp_path, vendor):
    """Files are limited to 400 kB for a while; in the end every event is stored once."""
    import resource

    path = write(tmp_path, vendor, lookback="6h", window="60s")
    process = Process(
        path,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY)
        ),
    )
    process.until("nothing was committed")
    process.until("nothing was committed.*\n(.*\n)*.*nothing was committed")
    resource.prlimit(
        process.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    now = int(time.time())
    wait_for(
        lambda: (
            vendor.simulated.ledger(now * 1000, (now - 6 * 3600 + 60) * 1000, (now - 60) * 1000)
            <= stored(tmp_path)
        ),
        40,
    )
    assert process.end() == 0


def test_second_process_on_a_data_folder_is_rejected(tmp_path, vendor):
    """With exit code 1, and not 2: a restart succeeds once the first process has ended."""
    path = write(tmp_path, vendor)
    process = Process(path)
    address = process.until(r"status page at (\S+)")[1]
    assert (
        f"in use by another siemtap (process {process.process.pid})"
        in siemtap("run", "--once", "-c", path, code=1).stderr
    )
    siemtap("state", "list", "-c", path)
    siemtap("state", "set", "apptrana/apptrana.attack", "{}", "-c", path, code=1)
    wait_for(lambda: "ok" in page(address, "stats")[1] and stored(tmp_path))
    assert page(address, "health") == (200, '{"healthy": true, "reason": "ok"}')
    assert process.end() == 0 and "events accepted" in process.output
    siemtap("run", "--once", "-c", path)


def test_sigterm_while_the_vendor_hangs(tmp_path, vendor):
    path = write(tmp_path, vendor, "shutdown_timeout: 1s", timeout="10m")
    vendor.simulated.faults.append(simulation.Fault("getAttackInfo", 99, delay=4.0 * HANG))
    process = Process(path)
    process.until("status page")
    wait_for(lambda: vendor.simulated.counts.get("getAttackInfo"))
    assert process.end() == 0


def test_sighup_reloads_the_inputs(tmp_path, vendor):
    path = write(tmp_path, vendor)
    process = Process(path)
    address = process.until(r"status page at (\S+)")[1]
    path.write_text(
        path.read_text()
        + f"  - type: apptrana\n    id: second\n    url: {vendor.url}\n    client_id: demo-2\n   "
        " client_secret: demo-secret\n    lookback: 10m\n"
    )
    process.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "second/apptrana.attack" in page(address, "stats")[1])
    path.write_text("inputs: 7\n")
    process.process.send_signal(signal.SIGHUP)
    process.until("not reloaded, inputs unchanged")
    assert "second/apptrana.attack" in page(address, "stats")[1]
    assert process.end() == 0


def test_health_endpoint_gives_the_reason(tmp_path, vendor):
    process = Process(write(tmp_path, vendor, client_secret="wrong"))
    address = process.until(r"status page at (\S+)")[1]
    wait_for(lambda: page(address, "health")[0] == 503)
    status, body = page(address, "health")
    assert "check client_id/client_secret" in body
    assert process.end() == 0


def test_input_without_events_for_silent_after_is_degraded(tmp_path):
    server = simulation.Server(simulator.Simulator(simulator.Knobs(rate=0.0)))
    process = Process(write(tmp_path, server, silent_after="2s"))
    address = process.until(r"status page at (\S+)")[1]
    wait_for(lambda: page(address, "health")[0] == 503)
    assert "silent_after" in page(address, "health")[1]
    assert process.end() == 0
    server.close()


def test_prometheus_metrics(tmp_path, vendor):
    process = Process(write(tmp_path, vendor))
    address = process.until(r"status page at (\S+)")[1]
    wait_for(
        lambda: re.search(
            r'siemtap_unit_up\{input="apptrana",unit="apptrana/apptrana.attack"\} 1.0',
            page(address, "metrics")[1],
        )
    )
    metrics = page(address, "metrics")[1]
    assert (
        re.search(r'siemtap_events_total\{dataset="apptrana.attack"\} \d\d+', metrics)
        and "siemtap_accepted_total" in metrics
        and "siemtap_healthy 1.0" in metrics
    )
    assert page(address, "nowhere")[0] == 404
    assert process.end() == 0


def test_port_in_use_is_a_configuration_error(tmp_path, vendor):
    port = int(vendor.url.rpartition(":")[2])
    assert (
        "cannot listen" in siemtap("run", "-c", write(tmp_path, vendor, port=port), code=2).stderr
    )


def test_json_log_file(tmp_path, vendor):
    siemtap(
        "run",
        "--once",
        "-c",
        write(tmp_path, vendor, f"logging: {{format: json, file: {tmp_path}/log}}"),
    )
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines and all(
        {"@timestamp", "log.level", "message", "ecs.version"} <= set(line) for line in lines
    )


def test_late_events_are_measured_and_logged(tmp_path):
    server = simulation.Server(simulator.Simulator(simulator.Knobs(rate=120.0, late=(0.0, 4.0))))
    process = Process(write(tmp_path, server, lag="0s", overlap="4s", lookback="1m"))
    process.until("came .* s late, and `overlap` is 4 s: raise `overlap`")
    assert process.end() == 0
    server.close()
