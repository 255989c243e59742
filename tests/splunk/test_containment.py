"""What a stranger says ends neither the process nor anything else: a payload is written or still in the spool, a unit keeps its mark and is tried again."""

import io
import json
import logging
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from splunk_breaker import broken

from siemtap import contract
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.forms import Connection, Every, Receiving
from siemtap.core.identity import identify
from siemtap.core.manifest import fill_in
from siemtap.core.mapping import Dataset, Field
from siemtap.core.model import Batch, Payload, Plugin, Unit
from siemtap.core.windows import MINUTE
from siemtap.edge.arrivals import Arrivals
from siemtap.edge.checkpoints import Checkpoints, Database
from siemtap.edge.http import Http, Reply
from siemtap.engine import voice
from siemtap.render.splunk import props
from siemtap.runners import plugins, simulate, splunk, splunk_alert
from siemtap.runners.names import App
from siemtap.runners.receiving import RECEIVED, Reception
from siemtap.runners.splunk import ATTEMPTS, Input, without_account
from siemtap.runners.splunk_pipe import Gone
from siemtap.runners.splunk_webhook import Webhook
from world import Time

NOW = 1_772_618_533_000
ROOT = Path(__file__).parents[2]
MORE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def props_for(plugin):
    return props(plugin, contract.read("event.schema.json"), contract.read("cim.json"))


class Waits:
    """In the place of the event that says stop: no time passes, and it is said when there is nothing more to do, or after too many waits."""

    def __init__(self, done=lambda: False, most=60):
        self.done, self.most, self.waited, self.ended = done, most, [], False

    def is_set(self):
        return self.ended

    def wait(self, seconds):
        self.waited.append(seconds)
        self.ended = self.ended or self.done() or len(self.waited) >= self.most
        return self.ended

    def set(self):
        self.ended = True


def definition(plugin, folder, **found):
    return SimpleNamespace(inputs={f"{plugin.name}://here": found}, metadata={"server_uri": "https://127.0.0.1:8089", "session_key": "x", "checkpoint_dir": str(folder)})


# A plugin that fails wherever a payload tells it to

ERRORS = {error.__name__: error for error in (ZeroDivisionError, StopIteration, AssertionError, MemoryError, RecursionError, ValueError, OSError, EOFError, RuntimeError, UnicodeError, KeyError, Exception, AttributeError)}
ERRORS.update({error.__name__: error for error in (ConfigError, AuthError, Malformed, Retry)})
TRIED = Counter()
LOAD = Checkpoints.load


def fail(record, place):
    """`fails`: where, with what, how often (0: always)."""
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except ValueError:
            return
    where, error, times = record.get("fails") or ("", "", 0)
    if where == place and not 0 < times <= TRIED[record["token"]]:
        TRIED[record["token"]] += 1
        raise ERRORS[error]("a text with a secret")


def clock(record):
    fail(record, "clock")
    return "2026-03-04T10:00:00.000Z" if not record.get("time") else record["time"]


def word(record):
    fail(record, "identity")
    return record["token"]


def redact(record):
    fail(record, "redact")
    return record


def convert(value):
    fail(value, "row")
    return json.dumps(value)


def receive(settings, payload):
    record = json.loads(payload.body)
    fail(record, "receive")
    yield Batch(EVENT, [record], {}, payload.received)


EVENT = Dataset("mischief.event", clock, (word,), (Field("token", "mischief.token"), Field("whole", "mischief.whole", convert)), redact=redact)
MISCHIEF = Plugin("mischief", Every, (EVENT,), connect=lambda settings, http: None, units=lambda client, settings: [], collect=lambda *words: iter(()), receive=receive, webhook=True)


def delivered(plugin, payloads, folder, most=200, out=None):
    """The webhook's own loop, until the spool is empty: (what splunkd makes of it, payloads that are still in the spool, the waits)."""
    out = out or io.BytesIO()
    receiving, every = fill_in(Receiving, {"listen": "127.0.0.1:0", "secret": "x" * 16}), fill_in(Every, {})
    webhook = Webhook(plugin, App("TA-test", "ta_test", plugin.name), definition(plugin, folder), out)
    database, reception = Database(folder / "here.db"), Reception(plugin, receiving, folder / "here.spool")
    try:
        if payloads:
            reception.spool.append(payloads).result(10)
        unit, marks = Unit("here", plugin.datasets[0].name, RECEIVED), Checkpoints(database)
        webhook.stopping = Waits(lambda: not reception.spool.pending(LOAD(marks, unit).cursor), most)
        webhook._deliver(reception, database, Arrivals(database, receiving.remember), without_account(plugin, {}), every)
        webhook.pipe.close()
        left, _ = reception.spool.read(LOAD(marks, unit).cursor, 10_000)
        return broken(out.getvalue(), {EVENT.name.replace(".", ":"): {"SHOULD_LINEMERGE": "false", "TRUNCATE": "0"}, **props_for(plugin)}), left, webhook.stopping.waited
    finally:
        reception.close()
        database.close()


def ids(found):
    return [said.get("event.id") or said["event"]["id"] for said in (json.loads(indexed.raw) for indexed in found)]


def mischief(number, fails=None, **more):
    record = {"token": f"token-{number}", "fails": fails, **more}
    return Payload(json.dumps({**record, "whole": {**record}}).encode(), "webhook", "", "192.0.2.1", NOW + number, {})


FAILS = st.none() | st.tuples(st.sampled_from(["receive", "clock", "identity", "redact", "row"]), st.sampled_from(sorted(ERRORS)), st.sampled_from([0, 0, 1, 2]))


@MORE
@given(st.lists(FAILS, max_size=6))
def test_a_payload_that_makes_us_fail_is_kept_and_stops_nobody(all_of):
    TRIED.clear()
    with tempfile.TemporaryDirectory() as folder:
        found, left, waited = delivered(MISCHIEF, [mischief(number, fails) for number, fails in enumerate(all_of)], Path(folder))
        waiting = {json.loads(payload.body)["token"] for payload in left}
        shown, names = " ".join(indexed.raw for indexed in found), ids(found)
        for number, fails in enumerate(all_of):
            text = mischief(number, fails).body.decode()
            hidden = fails and fails[0] == "redact" and identify(EVENT.name, [text]) in names
            assert f"token-{number}" in waiting or f"token-{number}" in shown or hidden, (number, fails)
        assert not waiting or any(fails and fails[1] == "Retry" for fails in all_of), "only what says `later` waits"
        again = ids(delivered(MISCHIEF, [], Path(folder), most=3)[0])
        assert not set(again) & set(names), "and the next start writes nothing twice"


@pytest.mark.parametrize("where", ["receive", "clock", "identity", "row", "redact"])
def test_one_that_always_fails_is_a_pipeline_error_and_those_around_it_are_events(where, tmp_path, caplog):
    caplog.set_level(logging.ERROR, "siemtap")
    found, left, waited = delivered(MISCHIEF, [mischief(number, (where, "ZeroDivisionError", 0) if number == 5 else None) for number in range(10)], tmp_path)
    said = [json.loads(indexed.raw) for indexed in found]
    errors = [one for one in said if one.get("event", {}).get("kind") == "pipeline_error"]
    assert not left and len(said) == 10 and len(errors) == 1
    assert ("token-5" in json.dumps(errors)) == (where != "redact"), "what cannot be redacted is named and not shown"
    assert where != "redact" or "neither be read nor redacted" in errors[0]["error"]["message"]
    assert sum(waited) < 10 and len(caplog.text.splitlines()) < 10 and "a secret" not in caplog.text and "Traceback" not in caplog.text


@pytest.mark.parametrize("fails", [None, ("row", "ZeroDivisionError", 1)], ids=["from the beginning", "while payloads are read one by one"])
def test_a_disk_that_says_later_costs_no_payload(tmp_path, monkeypatch, fails):
    """Retry from the marks: nothing becomes a pipeline_error, waits grow, and it goes on by itself."""
    TRIED.clear()
    saved, failures = Arrivals.save, iter([True] * 7)

    def save(self, unit, mark):
        if next(failures, False):
            raise Retry("the disk of here.db is full")
        saved(self, unit, mark)

    monkeypatch.setattr(Arrivals, "save", save)
    found, left, waited = delivered(MISCHIEF, [mischief(number, fails) for number in range(3)], tmp_path)
    assert not left and len(found) == 3 and b"pipeline_error" not in json.dumps([one.raw for one in found]).encode() and waited[:7] == sorted(waited[:7]) and waited[6] > 20


def test_marks_that_cannot_be_read_do_not_end_the_receiver(tmp_path, monkeypatch):
    failures = iter([TypeError, KeyError, ConfigError])

    def load(self, unit):
        error = next(failures, None)
        if error:
            raise error("x")
        return LOAD(self, unit)

    monkeypatch.setattr(Checkpoints, "load", load)
    found, left, _ = delivered(MISCHIEF, [mischief(number) for number in range(3)], tmp_path)
    assert not left and len(found) == 3


def test_a_pipe_that_nobody_reads_ends_the_process_and_keeps_the_rest(tmp_path):
    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(Gone):
        delivered(MISCHIEF, [mischief(number) for number in range(3)], tmp_path, out=Closed())
    found, left, _ = delivered(MISCHIEF, [], tmp_path)
    assert not left and len(found) == 3


# The real one, with anything at all

CENTURYLINK = plugins.plugin("centurylink_ips")
SAMPLES = sorted(path for path in (ROOT / "plugins/centurylink_ips/cases").glob("*/payload.*") if path.suffix != ".b64")
ODD_PARTS = [b"Thu Mar 05 03:39:12 UTC 0999", b"Thu Mar 05 03:39:12 UTC 9999", b"0999-03-05T03:39:12Z", b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"\\ud800", b"\xed\xa0\x80", b"\\u0000", b"\x00", b"1e400", b"9" * 400,
             b"-9223372036854775809", b"[" * 1_200, b'{"a":' * 1_200, b"CEF:0|", b"|", b"=", b"\n<13>", b"null", b"NaN", b"]]>", b"</data>", b"\xef\xbf\xbf", b"253402300800000", b"99999999999999", b"\r\n\r\n"]
TEXT = st.text() | st.text(st.characters(categories=["Cs", "Cc", "Cn"]))


@st.composite
def mutated(draw):
    body = draw(st.sampled_from(SAMPLES)).read_bytes()[:4_000]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        body = body[:start] + draw(st.sampled_from(ODD_PARTS) | st.binary(max_size=8)) + body[start + draw(st.integers(0, 40)):]
    return body


VALUE = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from([part.decode("utf-8", "replace") for part in ODD_PARTS]), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6)
FIELDS = ["startTime", "endTime", "driverTime", "severity", "data", "sourceIP", "destinationPort", "hostName", "reason", "action", "tags", "protocol", "packetSize", "EventType", "LogDate", "text"]
JSON = st.dictionaries(st.sampled_from(FIELDS) | TEXT, VALUE, max_size=5).map(json.dumps).map(str.encode)
BODY = mutated() | JSON | st.binary(max_size=60) | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass"))
PAYLOAD = st.builds(Payload, BODY, st.sampled_from(["webhook", "webhook", "udp", "replay"]), st.text(max_size=10), st.just("192.0.2.1"), st.integers(0, NOW * 2),
                    st.dictionaries(st.sampled_from(["content-type", "content-encoding"]), st.sampled_from(["application/json", "gzip", "application/x-www-form-urlencoded"]) | st.text(max_size=10), max_size=2))
SETTINGS = without_account(CENTURYLINK, {})


def names_of(payload):
    """The ids of a payload's records, those that the mapping takes; and whether there was anything that it, or we, did not."""
    say, found, well = voice(CENTURYLINK, SETTINGS, fill_in(Every, {}), {}, lambda: None), set(), True
    try:
        batches = list(CENTURYLINK.receive(SETTINGS, payload))
    except Exception:
        return found, False
    for batch in batches:
        for record in batch.records:
            try:
                found.update(event["event"]["id"] for event in say(batch._replace(records=[record])))
            except Exception:
                well = False
    return found if well else set(), well


@settings(max_examples=150, deadline=None)
@given(st.lists(PAYLOAD, min_size=1, max_size=4))
def test_any_payload_goes_through_the_webhook(payloads):
    with tempfile.TemporaryDirectory() as folder:
        found, left, _ = delivered(CENTURYLINK, payloads, Path(folder))
        names = ids(found)
        assert not left and max(Counter(names).values(), default=0) <= 1
        for payload in payloads:
            wanted, well = names_of(payload)
            assert wanted <= set(names) and (well or "pipeline_error" in " ".join(indexed.raw for indexed in found))
        assert delivered(CENTURYLINK, [], Path(folder), most=3)[0] == []


@pytest.mark.parametrize("time", ["Thu Mar 05 03:39:12 UTC 0999", "Thu Mar 05 03:39:12 UTC 0001", "Fri Dec 31 23:59:59 PST 9999"])
def test_a_year_before_1000_or_after_9999_between_two_others(time, tmp_path):
    """It ended the process at every start, before the mark."""
    sample = json.loads((ROOT / "plugins/centurylink_ips/cases/a_webhook_event/payload.json").read_text())

    def sent(number, **more):
        return Payload(json.dumps({**sample, "reason": f"1000{number} - a rule", **more}).encode(), "webhook", received=NOW, headers={"content-type": "application/json"})

    odd = {name: time for name in ("startTime", "endTime", "driverTime")}
    found, left, _ = delivered(CENTURYLINK, [sent(1), sent(2, **odd), sent(3)], tmp_path)
    assert not left and len(found) == 3 and all(f"1000{number}" in " ".join(one.raw for one in found) for number in (1, 2, 3))


# An input that asks

def asked(plugin, send, folder, monkeypatch, every=None, units=None, **own):
    """One cycle as splunkd starts it: (exit status, what it wrote, the waits)."""
    out, time = io.BytesIO(), Time(NOW)
    monkeypatch.setattr(splunk, "connect", lambda connection, clock: Http(send, clock=clock))
    monkeypatch.setattr(splunk, "logs", lambda *words: None)
    started = Input(plugin, App("TA-test", "ta_test", plugin.name), definition(plugin, folder, checkpoint="file"), out, time.clock)
    started.in_main, started.stopping = False, Waits(most=10_000)
    monkeypatch.setattr(started, "_listen_to_splunkd", lambda: None)
    monkeypatch.setattr(started, "splunkd", SimpleNamespace(settings=lambda name: {}))
    monkeypatch.setattr(started, "configured", lambda: (fill_in(plugin.settings, own), every or fill_in(Every, {}), fill_in(Connection, {})))
    try:
        return started.run(), out.getvalue(), started.stopping.waited
    finally:
        started.checkpoints.database.close()


ODD_HEADER = st.sampled_from(["", "999999999", "99999999999999999999", "-1", "1e9", "Thu, 05 Mar 99999 03:39:12 GMT", "Thu, 05 Mar 0001 03:39:12 GMT", "Thu, 99 Foo 2026 99:99:99 GMT", "Mon, 01 Jan 2026 00:00:00 +999999", "\u20ac", "\x00"]) | st.text(
    st.characters(max_codepoint=255), max_size=20)
HEADERS = st.dictionaries(st.sampled_from(["date", "retry-after", "content-type", "content-encoding"]), ODD_HEADER, max_size=3)
WRONG = st.sampled_from(sorted(ERRORS)) | st.builds(Reply, st.sampled_from([0, 100, 204, 301, 400, 401, 403, 404, 408, 413, 429, 500, 503, 599, 999]), HEADERS, st.binary(max_size=40) | VALUE.map(json.dumps).map(lambda text: text.encode("utf-8", "surrogatepass")))
PULLED = [plugin for plugin in plugins.installed().values()]


def simulated(plugin):
    made = simulate.simulator(plugin.name, {})
    own = made.settings("https://vendor.example.com/rest")
    if plugin.name == "centurylink_ips":
        return made, {**own, "servers": ["VA1ACMEWEB01"], "our_url": "https://siem.example.com/centurylink_ips/x"}
    return made, {**own, "lookback": "20m"}


@pytest.mark.parametrize("plugin", PULLED, ids=lambda plugin: plugin.name)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.none() | WRONG | st.builds(Reply, st.just(200), HEADERS, VALUE.map(json.dumps).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60)), min_size=1, max_size=12))
def test_any_answer_and_any_header_to_an_input_that_asks(plugin, answers, monkeypatch):
    made, own = simulated(plugin)
    honest, left = simulate.in_memory(made, Time(NOW).clock), iter(answers)

    def send(request, seconds):
        answer = next(left, None)
        if isinstance(answer, str):
            raise ERRORS[answer]("x")
        return honest(request, seconds) if answer is None else answer

    with tempfile.TemporaryDirectory() as folder:
        code, out, waited = asked(plugin, send, Path(folder), monkeypatch, **own)
        assert code in (0, 1) and all(0 <= seconds <= splunk.LONGEST_WAIT for seconds in waited)
        broken(out, props_for(plugin))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | WRONG | HEADERS, min_size=1, max_size=12))
def test_after_refusals_faults_and_odd_headers_nothing_is_missing(monkeypatch, answers):
    """Answers that deny or break are no answers; what the vendor has is there after the next good cycle, once."""
    plugin = plugins.plugin("apptrana")
    made, own = simulated(plugin)
    honest, left = simulate.in_memory(made, Time(NOW).clock), iter(answers)

    def send(request, seconds):
        answer = next(left, None)
        if isinstance(answer, str):
            raise ERRORS[answer]("x")
        if isinstance(answer, Reply):
            return answer
        reply = honest(request, seconds)
        return reply._replace(headers={**reply.headers, **{name: value for name, value in (answer or {}).items() if name in ("date", "retry-after")}})

    with tempfile.TemporaryDirectory() as folder:
        outs = [asked(plugin, send, Path(folder), monkeypatch, **own)[1]]
        left = iter(())
        code, out, _ = asked(plugin, send, Path(folder), monkeypatch, **own)
        got = Counter(name for out in [*outs, out] for name in ids(broken(out, props_for(plugin))))
        assert code == 0 and made.ledger(NOW, NOW - 19 * MINUTE, NOW - MINUTE) <= set(got) and max(got.values(), default=1) == 1


def test_a_unit_that_fails_stops_no_other_and_is_tried_again(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "siemtap")
    tried = Counter()

    def collect(client, unit, cursor, now):
        tried[unit.scope] += 1
        yield Batch(EVENT, [{"token": f"{unit.scope}-{cursor.get('until', 0)}"}], {"until": cursor.get("until", 0) + 1}, now)
        if unit.scope == "b":
            raise ZeroDivisionError("a text with a secret")
        if unit.scope == "c" and tried["c"] == 1:
            raise KeyError("once")

    plugin = Plugin(**{**MISCHIEF.__dict__, "units": lambda client, settings: [(EVENT.name, scope) for scope in "abcd"], "collect": collect})
    code, out, waited = asked(plugin, None, tmp_path, monkeypatch)
    found = [json.loads(indexed.raw)["mischief.token"] for indexed in broken(out, {"mischief:event": {"SHOULD_LINEMERGE": "false"}})]
    assert code == 1 and tried == {"a": 1, "b": ATTEMPTS, "c": 2, "d": 1} and waited == [2.0, 4.0, 2.0]
    assert {"a-0", "b-0", "b-1", "b-2", "c-0", "c-1", "d-0"} == set(found) and max(Counter(found).values()) == 1, "from the mark on that is saved"
    assert "here/mischief.event/b: ZeroDivisionError at test_containment.py" in caplog.text and "a secret" not in caplog.text and ElementTree.fromstring(out).tag == "stream"


# An alert action

@pytest.mark.parametrize("said", ["", "[]", "{}", "null", "[" * 100_000, '{"server_uri": 5, "session_key": "x"}', '{"server_uri": "https://127.0.0.1:9", "session_key": "x\\ud800", "configuration": []}',
                                  '{"server_uri": "https://127.0.0.1:9", "session_key": "secret\\u20ac", "configuration": {"account": "\\ud800"}, "search_name": "\\udfff"}'])
def test_whatever_an_alert_hands_over_the_action_ends_with_a_sentence(said, capsys, monkeypatch):
    monkeypatch.setattr(splunk_alert, "logs", lambda *words: None)
    plugin = plugins.plugin("pingintelligence")
    name = next(command.name for command in plugin.commands if command.alert)
    assert splunk_alert.main(plugin, App("TA-test", "ta_test", plugin.name), name, ["--execute"], io.StringIO(said)) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("ERROR ") and err.count("\n") == 1 and len(err) < 1_100 and "secret" not in err
