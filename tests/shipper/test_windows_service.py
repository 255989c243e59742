"""`siemtap service`, with stand-ins of pywin32: no Windows is at hand."""

import importlib
import json
import logging
import os
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from processes import HANG, page
from shipper import windows_modules

from siemtap.shipper.cli.main import main
from siemtap.shipper.cli.service import commands
from siemtap.testing.simulation import Server, simulator


@pytest.fixture
def manager(monkeypatch):
    yield windows_modules.install(monkeypatch)
    for handler in logging.getLogger("siemtap").handlers:
        handler.close()


@pytest.fixture
def config(tmp_path):
    """Write a configuration that a service can have; return a function that does."""

    def write(**more):
        settings = {
            "path.data": str(tmp_path / "data"),
            "logging.file": str(tmp_path / "siemtap.log"),
            "http.port": 0,
            "inputs": [{"type": "trend_vision_one", "api_key": "a-key"}],
            **more,
        }
        path = tmp_path / "siemtap.yml"
        path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
        return path

    return write


def call(*arguments, code=0):
    result = CliRunner().invoke(main, ["service", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.skipif(os.name == "nt", reason="this is Windows")
@pytest.mark.parametrize("command", ["install", "start", "stop", "remove"])
def test_elsewhere_it_is_a_sentence(command):
    output = call(command, code=2)
    assert "needs Windows and pywin32" in output and "systemd" in output


def test_life_of_a_service(manager, config, monkeypatch):
    path = config()
    monkeypatch.chdir(path.parent)
    assert str(path) in call("install")
    installed = manager.services["siemtap"]
    assert installed["class"] == commands.CLASS and installed["start"] == 2
    assert installed["options"] == {"config": str(path)}
    assert installed["userName"] == r"NT AUTHORITY\LocalService" and "password" not in installed
    call("start")
    assert "runs already" in call("start", code=2)
    call("stop")
    assert "does not run" in call("stop", code=2)
    assert "remove it first" in call("install", code=2)
    assert "data stay" in call("remove") and not manager.services
    assert "install it first" in call("remove", code=2)


def test_who_is_no_administrator(manager, config):
    manager.fails = (5, "Access is denied.")
    output = call("install", "-c", config(), code=2)
    assert "Access is denied; run this as an administrator" in output


@pytest.mark.parametrize(
    "more, reason",
    [
        ({"logging.file": None}, "set logging.file"),
        ({"logging.file": "siemtap.log"}, "logging.file is siemtap.log; write a whole path"),
        ({"path.data": "data"}, "path.data is data; write a whole path"),
        ({"inputs": [{"type": "nothing"}]}, "inputs[0].type"),
    ],
)
def test_configuration_that_no_service_can_have(manager, config, more, reason):
    assert reason in call("install", "-c", config(**more), code=2)
    assert not manager.services


def test_class_is_where_pythonservice_looks_for_it(manager):
    module, _, name = commands.CLASS.rpartition(".")
    service = getattr(importlib.import_module(module), name)
    assert service._svc_name_ == commands.NAME
    assert service.__module__ == module


@pytest.mark.slow
def test_service_collects_until_it_is_stopped(manager, config, tmp_path):
    """As Windows does: run in a thread, where no signal can be handled; stopped from another."""
    vendor = Server(simulator("apptrana", {}))
    try:
        entry = {
            "type": "apptrana",
            "url": vendor.url,
            "client_id": "demo",
            "client_secret": "demo-secret",
        }
        call("install", "-c", config(inputs=[entry]))
        module = importlib.import_module("siemtap.shipper.cli.service.windows")
        service = module.SiemtapService(["siemtap"])
        thread = windows_modules.in_thread(service.SvcRun)
        log = tmp_path / "siemtap.log"
        deadline = time.monotonic() + HANG
        accepted = 0
        while not accepted and time.monotonic() < deadline:
            time.sleep(0.2)
            match = log.exists() and re.search(r"status page at (\S+)", log.read_text())
            if match:
                accepted = json.loads(page(match[1], "stats")[1])["output"]["accepted"]
        assert accepted, log.read_text()
        windows_modules.in_thread(service.SvcStop).join(HANG)
        thread.join(HANG)
        assert not thread.is_alive() and manager.events == []
        assert manager.statuses == ["RUNNING", "STOP_PENDING", "STOP_PENDING"]
    finally:
        vendor.close()
    assert "events accepted" in log.read_text()


@pytest.mark.slow
def test_stop_before_the_shipper_is_there(manager, config):
    call("install", "-c", config())
    module = importlib.import_module("siemtap.shipper.cli.service.windows")
    service = module.SiemtapService(["siemtap"])
    service.SvcStop()
    thread = windows_modules.in_thread(service.SvcRun)
    thread.join(HANG)
    assert not thread.is_alive()


def test_mistake_is_in_the_event_log(manager, config, monkeypatch):
    call("install", "-c", config())
    config(inputs=[{"type": "nothing"}])
    module = importlib.import_module("siemtap.shipper.cli.service.windows")
    codes = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    module.SiemtapService(["siemtap"]).SvcRun()
    assert codes == [2] and "inputs[0].type" in manager.events[0]


def test_pywin32_is_imported_only_there():
    root = Path(commands.__file__).parents[3]
    naming = {
        path.name
        for path in root.rglob("*.py")
        if re.search(r"win32service|servicemanager|pywintypes", path.read_text())
    }
    assert naming == {"commands.py", "windows.py"}
