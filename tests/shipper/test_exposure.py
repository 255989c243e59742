"""No password on the screen, no key on the network without a warning, no control of a terminal."""

import json
import logging
import os
import sqlite3

import pytest
from processes import siemtap

from siemtap.core.errors import ConfigError
from siemtap.core.manifest import fill_in
from siemtap.core.model import Mark, Unit
from siemtap.edge.printable import printable
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.edge.store.rejected import RejectedEvents
from siemtap.outputs.elasticsearch.client import build_client
from siemtap.outputs.elasticsearch.settings import Settings
from siemtap.shipper import logs
from siemtap.shipper.config import exposure
from siemtap.shipper.config.load import parse
from siemtap.shipper.config.sections import Logging

HOSTILE = "\x1b[2J\x1b]0;title\x07\nerror forged\r\x9b31m\u202etxt\u200f\ud800"
SAFE = r"\x1b[2J\x1b]0;title\x07\nerror forged\r\x9b31m\u202etxt\u200f\ud800"
INPUT = "{type: apptrana, client_id: demo, client_secret: demo-secret"


def write(tmp_path, more="", output=""):
    path = tmp_path / "siemtap.yml"
    path.write_text(f"path.data: {tmp_path}/data\n{output}\ninputs:\n  - {INPUT}{more}}}\n")
    return path


@pytest.mark.slow
def test_password_of_a_proxy_is_not_printed(tmp_path):
    path = write(tmp_path, ", proxy: 'http://me:hunter2@proxy.example.com:3128'")
    done = siemtap("test", "config", "-c", path)
    assert "proxy.example.com:3128" in done.stdout and "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "host", ["https://me:hunter2@es.example.com:port", "http://me:hunter2@h:99999"]
)
def test_password_of_a_host_is_not_in_an_error(host):
    with pytest.raises(ConfigError) as error:
        build_client(fill_in(Settings, {"hosts": [host]}), "elasticsearch")
    assert "hunter2" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more, output, warned",
    [
        (", url: 'http://api.example.com'", "", ["apptrana: ", "http://api.example.com"]),
        (", url: 'http://127.0.0.1:8080'", "", []),
        (
            "",
            "output.elasticsearch: {hosts: ['http://es.example.com'], api_key: a2V5}",
            ["output.elasticsearch: "],
        ),
        ("", "output.elasticsearch: {hosts: ['http://es.example.com']}", []),
        ("", "output.elasticsearch: {hosts: ['https://es.example.com'], api_key: a2V5}", []),
    ],
)
def test_key_over_plain_http_is_warned_of(tmp_path, more, output, warned):
    path = write(tmp_path, more, output)
    warnings = list(exposure.warnings(parse(path.read_text())))
    assert len(warnings) == bool(warned) and all(word in warnings[0] for word in warned)
    shown = siemtap("test", "config", "-c", path).stderr
    assert ("without TLS" in shown) == bool(warned) and "a2V5" not in shown


def test_controls_are_escaped():
    assert printable(HOSTILE) == SAFE
    assert printable("é 日本 ✓") == "é 日本 ✓"
    assert printable("one\ntwo\x1b", lines=True) == "one\n    two\\x1b"


@pytest.mark.parametrize("format", ["text", "json"])
def test_log_has_a_line_for_each_message(tmp_path, format):
    log = logging.getLogger("siemtap")
    before = log.handlers[:], log.level, log.propagate
    try:
        settings = {"level": "debug", "format": format, "file": str(tmp_path / "log")}
        logs.start(fill_in(Logging, settings))
        log.warning("the vendor says: %s", HOSTILE)
        log.debug("Traceback:\n%s", HOSTILE)
        log.handlers[0].close()
    finally:
        log.handlers[:], log.level, log.propagate = before
    text = (tmp_path / "log").read_text()
    lines = text.splitlines()
    assert lines[0].count(r"\x1b[2J" if format == "text" else r"\\x1b[2J") == 1
    assert not set("\x1b\x07\x9b\u202e\u200f") & set(text)
    assert not any(line.startswith("error forged") for line in lines)
    if os.name == "posix":
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_lists_print_no_controls(tmp_path):
    path = write(tmp_path)
    database = Database(tmp_path / "data/siemtap.db")
    hostile = HOSTILE.replace("\ud800", "")
    Checkpoints(database).save(Unit("it", "acme.event", hostile), Mark({"until": 1}))
    event = {"event": {"id": "1" * 32, "dataset": "acme.event"}}
    RejectedEvents(database).store(Unit("it", "acme.event"), [(event, f"value: '{hostile}'")])
    database.close()
    for command in (["rejected", "list"], ["state", "list"]):
        shown = siemtap(*command, "-c", path).stdout
        assert r"\x1b[2J" in shown and shown.count("\n") == 1
        assert not set("\x1b\x07\x9b\u202e\u200f") & set(shown)
    error = siemtap("state", "show", HOSTILE[:20], "-c", path, code=2).stderr
    assert "\x1b" not in error and not error.splitlines()[1].startswith("error")


@pytest.mark.slow
def test_private_data_folder(tmp_path):
    siemtap("state", "list", "-c", write(tmp_path), code=2)
    (tmp_path / "data").mkdir(mode=0o755)
    sqlite3.connect(tmp_path / "x.db").close()
    siemtap(
        "run",
        "--once",
        "--patience",
        "1s",
        "-c",
        write(tmp_path, ", url: 'http://127.0.0.1:9'"),
        code=1,
    )
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.slow
def test_data_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "data").write_text("")
    done = siemtap("run", "--once", "-c", write(tmp_path), code=2)
    assert "path.data" in done.stderr and "Traceback" not in done.stderr
    json.dumps(done.stderr)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "siemtap.example.com"])
def test_a_page_that_other_machines_reach_is_named_at_the_start(host):
    inputs = "inputs: [{type: apptrana, client_id: a, client_secret: '${S}'}]\n"
    page = f"http: {{host: '{host}', remote: true}}\n"
    (warning,) = exposure.warnings(parse(inputs + page, environment={"S": "s"}))
    assert warning.startswith(f"http.host: the status page listens on {host} and has no login")
    for quiet in ("", "http.host: localhost\n", "http: {host: '::1', remote: true}\n"):
        assert not list(exposure.warnings(parse(inputs + quiet, environment={"S": "s"})))
    off = f"http: {{host: '{host}', enabled: false}}\n"
    assert not list(exposure.warnings(parse(inputs + off, environment={"S": "s"})))
