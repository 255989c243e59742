"""Names of stanzas and accounts: quotes, percent signs, blanks, 1,000 characters, Unicode, control
characters. No event is lost, the stream stays XML, and the log is written."""

import io
import json
import logging
import re
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from splunk_breaker import break_events
from splunk_input import PROPS, checkpoints, connect, events, ids, log, run, save_account
from splunkd_stand_in import KEY

from siemtap.core.model import Mark, Unit
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.render import registry
from siemtap.splunk.runtime.logs import configure_logging
from siemtap.splunk.runtime.names import App, file_name
from siemtap.splunk.runtime.pages import delete_checkpoints
from siemtap.splunk.runtime.pipe import NOT_XML, Pipe

APPTRANA = registry.plugin("apptrana")
UNIT = Unit("x", "apptrana.attack", "")
EVENT = {
    "@timestamp": "2026-11-01T00:00:00.000Z",
    "event": {"id": "a" * 32, "dataset": "apptrana.attack", "module": "apptrana"},
    "url": {"path": "/"},
}
ODD = [
    'a"quote',
    "a'quote",
    "100%sure",
    "%s %(message)s",
    "{0} {name}",
    "two words",
    "a & b <c>",
    "]]>",
    "a/b/../c",
    "..",
    ".",
    "a:b::c",
    "-",
    "x" * 1_000,
    "ü" * 1_000,
    "日本語",
    "😀",
    "line\nend",
    "tab\there",
    "carriage\rreturn",
    "\x01\x1f\x7f",
    "\x85\u2028",
    "\ufffe\uffff",
    "\ud800",
    "\\",
    "$result.x$",
    "``splunk_cred_sep``1",
    "a?b#c;d=e+f",
]
NAMES = st.sampled_from(ODD) | st.text(max_size=30)


def each_odd_name(test):
    for name in ODD:
        test = example(name=name)(test)
    return test


@pytest.mark.slow
@each_odd_name
@settings(max_examples=60)
@given(name=NAMES)
def test_stream_of_any_name_is_xml_with_its_event(name):
    """expat reads it, as splunkd's parser would, and the names come back."""
    out, stanza = io.BytesIO(), f"apptrana://{name}"
    pipe = Pipe(APPTRANA, stanza, out)
    pipe.deliver(UNIT, [EVENT], None)
    large = {**EVENT, "apptrana": {"extra": {"x": "y" * 1_100_000}}}
    pipe.deliver(UNIT, [large], None)
    pipe.close()
    stanzas, parser = [], expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: stanzas.extend(attributes.values())
    parser.Parse(out.getvalue(), True)
    written = NOT_XML.sub("\ufffd", stanza)
    assert set(stanzas) - {"1"} == {written}
    first, second = break_events(out.getvalue(), PROPS)
    assert first.stanza == first.source == second.source == written
    assert json.loads(first.raw)["event.id"] == "a" * 32 and len(second.raw) > 1_100_000


@each_odd_name
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_log_of_any_name_is_one_line_that_splunk_reads(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SPLUNK_HOME", str(tmp_path))
    (tmp_path / "var/log/splunk").mkdir(parents=True, exist_ok=True)
    file = tmp_path / "var/log/splunk/ta_test_apptrana.log"
    file.unlink(missing_ok=True)
    siemtap_log = logging.getLogger("siemtap")
    before = siemtap_log.handlers[:], siemtap_log.level, siemtap_log.propagate
    try:
        configure_logging(App("TA-test", "ta_test", "apptrana"), f"apptrana://{name}")
        siemtap_log.error("the message")
        siemtap_log.handlers[0].close()
    finally:
        siemtap_log.handlers[:], siemtap_log.level, siemtap_log.propagate = before
    # EXTRACT-siemtap of props.conf
    pattern = r"^\S+ ([A-Z]+) pid=(\d+) input=(\S+) (.*)\n$"
    match = re.match(pattern, file.read_bytes().decode())
    assert match and match[1] == "ERROR" and match[4] == "the message"


@each_odd_name
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_file_of_any_name(name, tmp_path):
    file = file_name(name)
    assert re.fullmatch("[0-9A-Za-z_.-]{0,93}", file) and file not in (".", "..")
    assert file_name(f"{name}!") != file and file_name(f"{name}?") != file_name(f"{name}!")
    if re.fullmatch(r"\w{1,80}", name, re.ASCII):
        assert file == name, "the files of earlier versions are found"


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_checkpoints_of_odd_names(splunk, tmp_path, name):
    unit = Unit(name, "apptrana.attack", "")
    splunkd_name = f"apptrana://{name}"
    store = checkpoints(splunk)
    store.input = splunkd_name
    store.save(unit, Mark({"until": 5}))
    assert store.load(unit) == Mark({"until": 5})
    delete_checkpoints(connect(splunk), splunkd_name)
    assert store.load(unit) == Mark()
    database = Database(tmp_path / f"{file_name(name)}.db")
    try:
        Checkpoints(database).save(unit, Mark({"until": 6}))
        assert Checkpoints(database).load(unit) == Mark({"until": 6})
    finally:
        database.close()


@pytest.mark.parametrize(
    "name", [name for name in ODD if not NOT_XML.search(name) and "\r" not in name], ids=repr
)
def test_account_of_an_odd_name(splunk, name):
    """splunkd gives a conf file's stanza whatever its name is."""
    splunk.account(name, {"client_secret": "s"}, client_id="x")
    session = connect(splunk)
    assert session.read_stanza("account", name)["client_secret"] == "s"
    session.save_password("realm", name, "t" * 300)
    session.save_password("realm", name, "u" * 300)
    assert session.read_password("realm", name) == "u" * 300
    session.save_password("realm", name, "")
    assert session.read_password("realm", name) == ""
    assert session.has_account(name) and not session.has_account(f"{name}x")


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["kvstore", "file"])
@pytest.mark.parametrize(
    "name",
    ['q"uote', "100%sure", "two words", "a/b", "x" * 1_000, "日本語 😀", "a\nb\tc"],
    ids=repr,
)
def test_run_of_an_odd_stanza(splunk, vendor, tmp_path, name, checkpoint):
    save_account(splunk, vendor)
    stdin = (
        f"<input><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}"
        f"</session_key><checkpoint_dir>{tmp_path}</checkpoint_dir><configuration><stanza"
        f' name={quoteattr("apptrana://" + name)} app="TA-test"><param name="account">main</param>'
        f'<param name="lookback">30m</param><param name="checkpoint">{checkpoint}</param></stanza>'
        "</configuration></input>"
    )
    code, first, err = run(splunk, tmp_path, stdin=stdin)
    assert code == 0, err + log(tmp_path)
    code, second, _ = run(splunk, tmp_path, stdin=stdin)
    got = ids(first, second)
    assert code == 0 and len(ids(first)) > 50 and max(got.values()) == 1
    assert {indexed.stanza for indexed, _ in events(first)} == {f"apptrana://{name}"}
    assert "events" in log(tmp_path)
