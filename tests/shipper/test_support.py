"""`siemtap support`, and no secret anywhere: a run with a marked value in every secret setting, whose
vendors and clusters send all that they are told back."""

import json
import re
import subprocess
import time
import urllib.request
import zipfile
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from processes import COMMAND, ENVIRONMENT, HANG, page
from search_node import free_port
from shipper.marked_secrets import MarkedSecrets, mirror

from siemtap.shipper.cli.main import main
from siemtap.shipper.support.redaction import Redactor, shape

PASSWORD = "Zq7.the_password_of_the_keystore~Xv"


def read_archive(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def support(file, into, *arguments, code=0, **variables):
    words = ["support", "-c", str(file), "--into", str(into), *arguments]
    result = CliRunner().invoke(main, words, env=variables)
    assert result.exit_code == code, result.output
    return read_archive(into) if code == 0 else result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with marked secrets. Return `marked`, and `outputs`: name -> text of all that it said,
    showed or stored."""
    folder = tmp_path_factory.mktemp("marked")
    server = mirror()
    try:
        observed = observe(MarkedSecrets(folder, server.url), folder)
        observed.seen = "".join(server.simulated.seen)
        yield observed
    finally:
        server.close()


def observe(marked, folder):
    variables = {**marked.variables, "SIEMTAP_KEYSTORE_PASSWORD": PASSWORD}
    environment = {**ENVIRONMENT, **variables}
    outputs = {}

    def call(*arguments, **how):
        words = [*COMMAND, *arguments, "-c", str(marked.file)]
        result = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=HANG, **how
        )
        outputs[" ".join(arguments)] = result.stdout + result.stderr
        return result

    assert call("keystore", "create").returncode == 0
    for name, secret in marked.keystore.items():
        assert call("keystore", "add", name, "--stdin", input=secret).returncode == 0
    checked = call("test", "config")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    call("test", "inputs")
    call("test", "output")
    with open(folder / "stderr", "w") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "run", "-c", str(marked.file)], env=environment, stderr=stderr
        )
    try:
        address = wait_for_page(folder / "siemtap.log", process)
        send_webhooks(marked, folder)
        time.sleep(8)
        for path in ("", "stats", "health", "metrics", "rejected", "events"):
            outputs[f"page {path}"] = page(address, path)[1]
        port = address.rsplit(":", 1)[1].strip("/")
        call("support", "--into", str(folder / "support.zip"), "-E", f"http.port={port}")
    finally:
        process.terminate()
        process.wait(HANG)
    for arguments in (["state", "list"], ["rejected", "list"], ["queue", "list"]):
        call(*arguments)
    call("keystore", "list")
    outputs.update(stored_files(folder))
    archive = read_archive(folder / "support.zip")
    outputs.update({f"archive {name}": text for name, text in archive.items()})
    return SimpleNamespace(marked=marked, outputs=outputs, archive=archive, folder=folder)


def wait_for_page(log, process):
    deadline = time.monotonic() + HANG
    while time.monotonic() < deadline and process.poll() is None:
        match = log.exists() and re.search(r"status page at (\S+)", log.read_text())
        if match:
            return match[1]
        time.sleep(0.1)
    raise AssertionError((log.parent / "stderr").read_text())


def send_webhooks(marked, folder):
    """Send to each webhook with its secret, and with it in a query and in a body."""
    log = (folder / "siemtap.log").read_text()
    addresses = set(re.findall(r"listening at .*?(http://[^/\s,]+)", log))
    assert addresses, log
    for place, secret in marked.secrets.items():
        if place.endswith(".secret"):
            for address in addresses:
                for path in (f"/centurylink_ips/{secret}", f"/other/{secret}?secret={secret}"):
                    request = urllib.request.Request(address + path, data=b"{", method="POST")
                    try:
                        urllib.request.urlopen(request, timeout=HANG).close()
                    except urllib.error.HTTPError as error:
                        error.close()


def stored_files(folder):
    """Return what is in the files that siemtap wrote: log, checkpoints, spool, events."""
    files = [folder / "stderr", *folder.glob("siemtap.log*")]
    files += [path for path in (folder / "data").rglob("*") if path.is_file()]
    files += [path for path in (folder / "events").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes().decode("latin-1") for path in files}


@pytest.mark.slow
def test_every_kind_of_secret_was_used(run):
    """Those of the forms are in: this is what the marked run cannot forget."""
    places = set(run.marked.secrets)
    assert {"apptrana.client_secret", "centurylink_ips.secret"} <= places
    assert {"elasticsearch_api_key.api_key", "splunk_hec_token.token"} <= places
    assert {"setup.kibana.api_key", "pingintelligence.mongodb"} <= places
    assert len(places) > 15 and run.marked.keystore and run.marked.variables
    sent = set(run.marked.leaks(run.seen))
    assert {"apptrana.client_secret", "pingintelligence.secret_key"} <= sent
    assert {"elasticsearch_api_key.api_key", "opensearch_password.password"} <= sent
    assert {"splunk_hec_token.token", "trend_vision_one.proxy_password"} <= sent
    for name in ("siemtap.log", "test inputs", "test output", "page stats"):
        assert "mirror" in run.outputs[name], f"{name} shows what a vendor answers"


@pytest.mark.slow
def test_no_secret_is_logged_shown_or_stored(run):
    leaks = {name: run.marked.leaks(text) for name, text in run.outputs.items()}
    assert {name: places for name, places in leaks.items() if places} == {}
    assert not [name for name, text in run.outputs.items() if PASSWORD in text]


@pytest.mark.slow
def test_archive_of_a_running_siemtap(run):
    archive = run.archive
    assert set(archive) == {
        "README.txt",
        "configuration.json",
        "versions.json",
        "status.json",
        "state.json",
        "rejected.json",
        "stores.json",
        "log.txt",
    }
    assert oct((run.folder / "support.zip").stat().st_mode & 0o777) == "0o600"
    status = json.loads(archive["status.json"])
    assert status["stats"]["inputs"] and status["process"].isdigit()
    configuration = json.loads(archive["configuration.json"])
    assert configuration["mistakes"] == []
    entry = configuration["configuration"]["inputs"][0]
    assert entry["client_secret"] in ("REDACTED", "${MARKED_1}") or "${" in entry["client_secret"]
    assert "status page at" in archive["log.txt"]
    assert "siemtap.db" in archive["stores.json"]
    assert json.loads(archive["versions.json"])["libraries"]["click"]


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "siemtap.yml"
        path.write_text(f"path.data: {tmp_path}/data\n{text}")
        return path

    return write


def test_broken_configuration_is_told_without_its_values(file, tmp_path):
    path = file(
        "output.elasticsearch: {hosts: ['https://me:hunter2@es.example.com'], pasword: hunter3}\n"
        "inputs:\n"
        "  - {type: apptrana, client_id: me, client_secret: hunter4, interval: hunter5}\n"
        "  - {type: nothing, key: [hunter6, {deep: hunter7}]}\n"
        "logging: {level: '${LEVEL:hunter8}'}\nunknown: 123456789\n"
    )
    archive = support(path, tmp_path / "a.zip")
    whole = "".join(archive.values())
    assert not re.findall(r"hunter[2-478]|hunter6|123456789", whole), whole
    configuration = json.loads(archive["configuration.json"])
    assert len(configuration["mistakes"]) >= 4
    assert "interval" in str(configuration["mistakes"])
    shown = configuration["configuration"]
    assert shown["logging"] == {"level": "${LEVEL:REDACTED}"} and shown["unknown"] == "REDACTED"
    assert shown["output"]["elasticsearch"]["hosts"] == ["https://REDACTED@es.example.com"]
    assert shown["inputs"][0]["client_id"] == "me"
    assert "has mistakes" in archive["state.json"]


def test_text_that_is_no_yaml_is_not_quoted(file, tmp_path):
    archive = support(file("key: *hunter2\n"), tmp_path / "a.zip")
    assert "cannot be read as YAML" in archive["configuration.json"]
    assert "hunter2" not in "".join(archive.values())


def test_damaged_database_is_no_obstacle(file, tmp_path):
    path = file("inputs:\n  - {type: apptrana, client_id: me, client_secret: secret-of-mine}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/siemtap.db").write_bytes(b"no database" * 1000)
    archive = support(path, tmp_path / "a.zip")
    assert "not collected" in archive["state.json"] and "damaged" in archive["state.json"]
    assert json.loads(archive["stores.json"])[str(tmp_path / "data")]["bytes"] == {
        "siemtap.db": 11_000
    }


def test_no_events_are_in_the_archive(tmp_path):
    """Stored events, events that wait and rejected ones, with their reasons."""
    from siemtap.core.model import Mark, Unit
    from siemtap.edge.store.checkpoints import Checkpoints, Database
    from siemtap.edge.store.rejected import RejectedEvents

    database = Database(tmp_path / "data/siemtap.db")
    unit = Unit("apptrana", "apptrana.attack", "www.example.com")
    event = {"event": {"id": "an-id-of-an-event"}, "source": {"ip": "198.51.100.77"}}
    Checkpoints(database).save(
        unit, Mark({"until": 5, "next": "https://h/x?token=abc"}, {"seen": 1})
    )
    RejectedEvents(database).store(unit, [(event, "source.ip 198.51.100.77 is wrong")])
    database.close()
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\ninputs: [{{type: trend_vision_one, api_key: k}}]\n"
    )
    archive = support(path, tmp_path / "a.zip")
    whole = "".join(archive.values())
    assert "198.51.100.77" not in whole and "an-id-of" not in whole and "token=" not in whole
    (row,) = json.loads(archive["rejected.json"])
    assert (row["dataset"], row["events"], row["acknowledged"]) == ("apptrana.attack", 1, 0)
    (saved,) = json.loads(archive["state.json"])
    assert saved["unit"] == str(unit) and saved["ids"] == 1
    assert saved["cursor"] == {"until": 5, "next": "text of 21"}


def test_clients_in_a_cursor_are_told_by_their_shape():
    rows = [["ip", "198.51.100.77", "", "active"], ["user", "bob", "", "active"]]
    cursor = {
        "seen": rows * 50,
        "until": 1_772_618_400_000,
        "since": "2026-03-04T10:00:00.000Z",
        "position": {"file": "ab" * 32, "offset": 7},
        "by_client": {"198.51.100.77": 1, "Bob": None, "5": 2.5},
    }
    told = shape(cursor)
    assert told["seen"][1] == ["text of 4", "text of 3", "text of 0", "text of 6"]
    assert told["seen"][20:] == ["80 more"]
    assert told["until"] == 1_772_618_400_000 and told["since"] == "2026-03-04T10:00:00.000Z"
    assert told["position"] == {"file": "text of 64", "offset": 7}
    assert list(told["by_client"].values()) == [1, None, 2.5]
    assert not re.search(r"198\.51|[Bb]ob|abab", json.dumps(told))
    assert shape({str(number): 0 for number in range(30)})["..."] == "10 more"


def test_archive_that_exists_is_not_replaced(file, tmp_path):
    (tmp_path / "a.zip").write_text("mine")
    output = support(file("inputs: []\n"), tmp_path / "a.zip", code=2)
    assert "exists already" in output and (tmp_path / "a.zip").read_text() == "mine"


def test_page_that_does_not_answer(file, tmp_path):
    port = free_port()
    path = file(f"http.port: {port}\ninputs: [{{type: trend_vision_one, api_key: kkkkkk}}]\n")
    status = json.loads(support(path, tmp_path / "a.zip")["status.json"])
    assert status == {"process": None, "page": "did not answer: ConnectionRefusedError"}


@pytest.mark.parametrize(
    "text",
    [
        'a "pass\\"word/1" b',
        "x=pass%22word%2F1&y",
        "https://u:secret@h/",
        "basic cGFzcyJ3b3JkLzE=",
    ],
)
def test_redactor_finds_other_spellings(text):
    cleaned = Redactor(['pass"word/1']).clean(text)
    assert "REDACTED" in cleaned and "secret" not in cleaned and "word" not in cleaned


def test_short_values_are_left_in_texts():
    assert Redactor(["info", ""]).clean("info: started") == "info: started"
