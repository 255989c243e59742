"""A reload: what it takes over, what it names because only a restart applies it, and inputs.d."""

import logging
import threading
import time
from contextlib import contextmanager

import pytest
from processes import wait_for

from siemtap.shipper import logs
from siemtap.shipper.config.load import load
from siemtap.shipper.config.reload import Reloader

INPUT = "inputs:\n  - {type: apptrana, client_id: a, client_secret: b}\n"
MORE = "- {type: apptrana, id: more, client_id: a, client_secret: b}\n"


@contextmanager
def watched(shipper, reloader, tmp_path):
    """Let a reloader watch a new inputs.d meanwhile; yield the path of a file for it."""
    watcher = threading.Thread(target=reloader.watch)
    watcher.start()
    try:
        folder = tmp_path / "inputs.d"
        folder.mkdir()
        yield folder / "more.yml"
    finally:
        shipper.stopping.set()
        watcher.join()


class Shipper:
    """Keeps the inputs that it is given."""

    def __init__(self, config):
        self.config, self.inputs = config, config.inputs
        self.stopping = threading.Event()

    def reconfigure(self, config):
        self.inputs = config.inputs


@pytest.fixture
def running(tmp_path, caplog):
    """Return (file, shipper, reloader) of a running configuration."""
    file = tmp_path / "siemtap.yml"
    file.write_text(INPUT)
    file.chmod(0o600)
    shipper = Shipper(load(str(file), {}))
    reloader = Reloader(shipper, lambda settings: None, interval=0.02)
    logger = logging.getLogger("siemtap")
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.propagate = True
    caplog.set_level("INFO", logger="siemtap")
    yield file, shipper, reloader
    shipper.stopping.set()
    for handler in logger.handlers:
        if handler not in before[0]:
            handler.close()
    logger.handlers[:], _, logger.propagate = before
    logger.setLevel(before[1])


RESTART = {
    "workers: 3": "workers",
    "processes: 2": "processes",
    "path.data: other": "path.data",
    "http.port: 1": "http.port",
    "health.enabled: true": "health.enabled",
    "output.file.path: x": "output.file",
    "output.sqlite.max_bytes: 99999999": "output.sqlite.max_bytes",
}


@pytest.mark.parametrize("setting", RESTART)
def test_what_needs_a_restart_is_named(running, caplog, setting):
    file, shipper, reloader = running
    file.write_text(f"{setting}\n{INPUT}")
    for _ in range(2):  # as long as the running process differs from the file
        caplog.clear()
        reloader.reload()
        warnings = [
            record.getMessage() for record in caplog.records if record.levelname == "WARNING"
        ]
        assert warnings == [f"{RESTART[setting]} changed in {file}: only a restart applies this"]


def test_inputs_and_setup_need_no_restart(running, caplog):
    file, shipper, reloader = running
    file.write_text(f"setup.lifecycle: none\n{INPUT}  {MORE}")
    reloader.reload()
    assert [entry.id for entry in shipper.inputs] == ["apptrana", "more"]
    assert "restart" not in caplog.text


def test_logging_is_taken_over(running, tmp_path):
    file, shipper, reloader = running
    reloader.start_logging = logs.start
    file.write_text(f"logging: {{level: debug, file: {tmp_path}/log}}\n{INPUT}")
    reloader.reload()
    assert logging.getLogger("siemtap").level == logging.DEBUG
    assert "inputs reloaded" in (tmp_path / "log").read_text()
    file.write_text(f"logging: {{file: {tmp_path}/no/log}}\n{INPUT}")
    reloader.reload()
    assert "logging not reloaded" in (tmp_path / "log").read_text()


def test_mistakes_change_nothing_and_are_all_logged(running, caplog):
    file, shipper, reloader = running
    file.write_text(f"wrokers: 3\nhttp.prt: 4\n{INPUT}  {MORE}")
    reloader.reload()
    assert [entry.id for entry in shipper.inputs] == ["apptrana"]
    assert caplog.text.count("inputs unchanged") == 2


def test_files_of_inputs_d_are_watched(running, tmp_path):
    file, shipper, reloader = running
    with watched(shipper, reloader, tmp_path) as more:
        more.write_text(MORE)
        wait_for(lambda: len(shipper.inputs) == 2)
        more.write_text(MORE.replace("id: more", "id: other"))
        wait_for(lambda: shipper.inputs[-1].id == "other")
        more.unlink()
        wait_for(lambda: len(shipper.inputs) == 1)
        file.write_text(f"{INPUT}  {MORE}")  # the file itself waits for SIGHUP
        time.sleep(0.1)
        assert len(shipper.inputs) == 1


def test_an_error_does_not_end_the_watch(running, tmp_path, caplog):
    file, shipper, reloader = running
    reconfigure, errors = shipper.reconfigure, [OSError(24, "Too many open files")]

    def fail_once(config):
        if errors:
            raise errors.pop()
        reconfigure(config)

    shipper.reconfigure = fail_once
    with watched(shipper, reloader, tmp_path) as more:
        more.write_text(MORE)
        wait_for(lambda: "inputs.d cannot be reloaded: OSError: [Errno 24]" in caplog.text)
        assert len(shipper.inputs) == 1 and "Traceback" not in caplog.text
        more.write_text(MORE.replace("id: more", "id: other"))
        wait_for(lambda: shipper.inputs[-1].id == "other")
