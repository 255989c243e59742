"""The output against a strict simulator of Elasticsearch: features that OpenSearch does not
have, and cases that must not be confused."""

import json
import threading

import pytest
from click.testing import CliRunner
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError
from outputs.simulated_cluster import STREAM, UNIT, configured, event, install, output

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.edge.clock import Clock
from siemtap.outputs import OutputContext
from siemtap.outputs.elasticsearch.client import error_from
from siemtap.outputs.elasticsearch.output import Elasticsearch, Opensearch
from siemtap.outputs.elasticsearch.settings import Settings
from siemtap.shipper.cli.main import main


def test_event_stored_before_is_counted_as_a_duplicate(served):
    elasticsearch_output = output(served)
    assert (
        elasticsearch_output.deliver(UNIT, [event(1), event(2)], None) == []
        and elasticsearch_output.deliver(UNIT, [event(2), event(3)], None) == []
    )
    assert elasticsearch_output.counts["duplicates"] == 1 and elasticsearch_output.holds(
        UNIT, [event(number) for number in range(5)]
    ) == {event(number)["event"]["id"] for number in (1, 2, 3)}
    elasticsearch_output.close()


def test_truncated_answer_is_unknown_and_sent_again(served):
    elasticsearch_output = output(served)
    served.cut = 2
    assert (
        elasticsearch_output.deliver(UNIT, [event(1), event(2)], None) == []
        and elasticsearch_output.counts["duplicates"] == 2
        and len(served.cluster.streams[STREAM]["backing"][0]) == 2
    )
    elasticsearch_output.close()


def test_a_look_up_that_fails_leaves_the_first_reason(served, monkeypatch):
    """The cluster is asked what it has before each attempt; the last failure is told once."""
    elasticsearch_output = output(served)
    served.cut = 1
    failures = [f"asking for ids: no answer, {number}" for number in range(100)]

    def search(*_):
        raise Retry(failures.pop(0))

    monkeypatch.setattr(elasticsearch_output.search, "ids", search)
    with pytest.raises(Retry) as caught:
        elasticsearch_output.deliver(UNIT, [event(1), event(2)], None)
    assert len(failures) < 99, "several attempts"
    last = 100 - len(failures) - 1
    message = caught.value.message
    assert message.startswith("output.elasticsearch: bulk: ConnectionError ('Connection broken: ")
    assert message.endswith(
        "; which of the events are stored cannot be looked up:"
        f" asking for ids: no answer, {last}; 2 of 2 events wait"
    )
    assert message.count("asking for ids") == 1
    elasticsearch_output.close()


class RollingOver(threading.Event):
    """Not set; each wait for it rolls the data streams of a cluster over."""

    def __init__(self, cluster):
        super().__init__()
        self.cluster = cluster

    def wait(self, timeout=None):
        for stream in self.cluster.streams.values():
            stream["backing"].append({})
        return False


@pytest.mark.parametrize("truncated", [1, 3])
def test_truncated_answer_and_a_rollover_before_the_next_attempt(served, truncated):
    settings = fill_in(Settings, {"hosts": [served.url]})
    context = OutputContext(stopping=RollingOver(served.cluster))
    elasticsearch_output = Elasticsearch(settings, context)
    served.cut = truncated
    assert elasticsearch_output.deliver(UNIT, [event(1), event(2)], None) == []
    stored = [id for backing in served.cluster.streams[STREAM]["backing"] for id in backing]
    assert sorted(stored) == [f"{number:032x}" for number in (1, 2)]
    elasticsearch_output.close()


@pytest.mark.parametrize(
    "status, kind, in_doubt",
    [(503, "unavailable_shards_exception", True), (500, "exception", True), (429, "busy", False)],
)
def test_result_that_leaves_open_whether_an_event_is_stored(served, status, kind, in_doubt):
    elasticsearch_output = output(served)
    error = {"create": {"status": status, "error": {"type": kind, "reason": "of a shard"}}}
    verdict = elasticsearch_output.bulk._judge([event(1)], {"errors": True, "items": [error]})
    assert verdict.again == [event(1)] and verdict.in_doubt == in_doubt
    elasticsearch_output.close()


@pytest.mark.parametrize("status", [408, 425])
def test_status_of_a_proxy_that_time_mends(status):
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "h", 9200))
    error = error_from(ApiError("a proxy", meta, "<html>"), "elasticsearch", "bulk")
    assert isinstance(error, Retry) and error.status == status


@pytest.mark.slow
def test_429_and_the_flood_stage_are_retried(served):
    elasticsearch_output = output(served)
    served.cluster.busy = 3
    assert (
        elasticsearch_output.deliver(UNIT, [event(number) for number in range(100)], None) == []
        and elasticsearch_output.counts["waits"] >= 2
        and elasticsearch_output.bulk.most < 1600
    )
    served.cluster.blocked = True
    with pytest.raises(Retry, match="403 cluster_block_exception"):
        elasticsearch_output.deliver(UNIT, [event(200)], None)
    served.cluster.blocked = False
    assert elasticsearch_output.deliver(UNIT, [event(200)], None) == []
    elasticsearch_output.close()


def test_a_look_up_in_more_indices_than_a_url_holds(served):
    """Events of many data streams, after an answer that was lost."""
    out = output(served)
    events = [event(number) for number in range(250)]
    for number, each in enumerate(events):
        each["data_stream"]["namespace"] = f"customer_{number}"
    assert out.deliver(UNIT, events[:200], None) == []
    assert out.holds(UNIT, events) == {each["event"]["id"] for each in events[:200]}
    assert out.has_any(UNIT, events)
    served.cut = 1
    assert out.deliver(UNIT, events, None) == []
    assert len(served.cluster.streams) == 250
    out.close()


def test_a_right_that_is_given_is_used_without_a_restart(served, caplog):
    now = 0.0
    context = OutputContext(clock=Clock(lambda: 0, lambda: now))
    out = Elasticsearch(fill_in(Settings, {"hosts": [served.url]}), context)
    assert out.deliver(UNIT, [event(1)], None) == []
    served.cluster.missing_rights = {"read"}
    assert out.holds(UNIT, [event(1)]) is None and out.has_any(UNIT, [event(1)])
    served.cluster.missing_rights = set()
    assert out.holds(UNIT, [event(1)]) is None, "not asked again at once"
    other = event(2)
    other["data_stream"]["namespace"] = "other"
    assert out.holds(UNIT, [other]) == set(), "another data stream"
    now += 601
    assert out.holds(UNIT, [event(1)]) == {event(1)["event"]["id"]}
    assert caplog.text.count("the user may not refresh and read") == 1
    out.close()


@pytest.mark.slow
@pytest.mark.parametrize("served", [{"version": "9.1.4"}, {"version": "8.19.2"}], indirect=True)
def test_events_in_the_failure_store_are_counted_and_shown(served, tmp_path, caplog):
    install(served, tmp_path)
    served.cluster.templates["siemtap-apptrana.attack"]["template"]["settings"]["index"][
        "mapping"
    ] = {"ignore_malformed": "false"}
    seconds = [0.0]
    elasticsearch_output = Elasticsearch(
        fill_in(Settings, {"hosts": [served.url]}),
        OutputContext(clock=Clock(lambda: 0, lambda: seconds[0])),
    )
    assert elasticsearch_output.deliver(UNIT, [event(1)], None) == []
    assert list(elasticsearch_output.problems()) == []
    assert (
        elasticsearch_output.deliver(UNIT, [event(1), event(2, source={"ip": "nobody"})], None)
        == []
    )
    assert (
        elasticsearch_output.counts["failure_store"] == 1
        and len(served.cluster.failed[STREAM]) == 1
    )
    (problem,) = elasticsearch_output.problems()
    assert problem.startswith("events are in the failure store, and in no search of their data ")
    assert f"1 since the start, the latest is {2:032x} of apptrana.attack" in problem
    assert sum(problem in text for text in caplog.messages) == 1
    seconds[0] = 24 * 3600.0 + 1
    assert list(elasticsearch_output.problems()) == []
    elasticsearch_output.close()


def test_ignored_fields_are_counted_when_events_are_read_back(served, tmp_path):
    """`logs@settings` has `ignore_malformed`, so that a bad value is also answered with 201."""
    install(served, tmp_path)
    elasticsearch_output = output(served)
    assert (
        elasticsearch_output.deliver(UNIT, [event(1), event(2, source={"ip": "nobody"})], None)
        == []
        and elasticsearch_output.counts["failure_store"] == 0
    )
    assert (
        len(list(elasticsearch_output.read(UNIT, "default", 0, 2_000_000_000_000))) == 2
        and elasticsearch_output.counts["ignored"] == 1
    )
    elasticsearch_output.close()


@pytest.mark.parametrize("served", [{"version": "8.12.0"}], indirect=True)
def test_document_rejected_without_a_failure_store_has_the_servers_reason(served, tmp_path):
    install(served, tmp_path)
    elasticsearch_output = output(served)
    ((refused, reason),) = elasticsearch_output.deliver(
        UNIT, [event(1), event(2, source={"ip": "nobody"}), event(3)], None
    )
    assert (
        refused["source"] == {"ip": "nobody"}
        and reason == "400 document_parsing_exception: failed to parse field [source.ip]"
    )
    assert len(served.cluster.streams[STREAM]["backing"][0]) == 2
    elasticsearch_output.close()


@pytest.mark.parametrize("served", [{"limit": 20_000}], indirect=True)
def test_request_that_is_too_large_is_split(served):
    elasticsearch_output = output(served, compression_level=0)
    ((refused, reason),) = elasticsearch_output.deliver(
        UNIT,
        [event(number, message="x" * (30_000 if number == 5 else 900)) for number in range(60)],
        None,
    )
    assert (
        refused["event"]["id"] == f"{5:032x}"
        and reason.startswith("413 ")
        and len(served.cluster.streams[STREAM]["backing"][0]) == 59
    )
    elasticsearch_output.close()


@pytest.mark.parametrize("served", [{"api_key": "abc="}], indirect=True)
def test_right_and_wrong_api_keys(served, tmp_path):
    good, bad = output(served, api_key="abc="), output(served, api_key="wrong")
    assert good.deliver(UNIT, [event(1)], None) == []
    with pytest.raises(AuthError, match="401.*check api_key") as raised:
        bad.deliver(UNIT, [event(2)], None)
    assert "wrong" not in str(raised.value)
    good.close()
    bad.close()


@pytest.mark.parametrize(
    "served", [{"privileges": ["read", "monitor", "manage_index_templates"]}], indirect=True
)
def test_each_missing_privilege_is_reported(served, tmp_path, caplog):
    elasticsearch_output = output(served)
    elasticsearch_output.deliver(UNIT, [event(1)], None)
    assert (
        elasticsearch_output.holds(UNIT, [event(1)]) is None
        and elasticsearch_output.holds(UNIT, [event(1)]) is None
        and caplog.text.count("`read` and `maintenance`") == 1
    )
    elasticsearch_output.close()
    done = CliRunner().invoke(main, ["test", "output", "-c", configured(served, tmp_path)])
    assert (
        done.exit_code == 1
        and "FAIL  the cluster privilege monitor is missing" in done.output
        and "ok    the cluster privilege manage_index_templates is missing (only" in done.output
    )
    assert done.output.count("FAIL  the privilege read on logs-apptrana.") == 2


@pytest.mark.parametrize(
    "more,sentence",
    [
        ({"api_key": "a", "username": "b", "password": "c"}, "api_key and username are set"),
        ({"username": "b"}, "go together"),
        ({"cloud_id": "not-a-cloud"}, "output.elasticsearch: "),
        ({"index": "Upper"}, "index: .Upper. is not allowed"),
        ({"hosts": ["nowhere"]}, "output.elasticsearch: "),
        ({"ca_fingerprint": "zz"}, "ca_fingerprint"),
    ],
)
def test_settings_that_cannot_work_are_rejected(more, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Elasticsearch(fill_in(Settings, more))


def test_index_of_an_input_is_checked_at_the_start(tmp_path):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "output": {"elasticsearch": {}},
                "inputs": [
                    {
                        "type": "apptrana",
                        "client_id": "a",
                        "client_secret": "b",
                        "index": "Not*Allowed",
                    }
                ],
            }
        )
    )
    done = CliRunner().invoke(main, ["run", "--once", "-c", str(path)])
    assert (
        done.exit_code == 2
        and "line 1: inputs[0].index" in done.output
        and '"Not*Allowed"' in done.output
        and "lower case letters" in done.output
    )


def test_api_key_is_rejected_for_opensearch():
    with pytest.raises(ConfigError, match="neither api_key nor cloud_id"):
        Opensearch(fill_in(Settings, {"api_key": "a"}))


def test_unreachable_host_is_retried(monkeypatch):
    monkeypatch.setattr("siemtap.outputs.elasticsearch.output.PATIENCE", 0.2)
    elasticsearch_output = Elasticsearch(
        fill_in(Settings, {"hosts": ["http://127.0.0.1:9"]}), OutputContext()
    )
    with pytest.raises(Retry, match="ConnectionError.*1 of 1 events wait"):
        elasticsearch_output.deliver(UNIT, [event(1)], None)
    with pytest.raises(Retry):
        elasticsearch_output.holds(UNIT, [event(1)])
    elasticsearch_output.close()
