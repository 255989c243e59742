"""One cycle of a collecting input in this process, with a simulated vendor in memory."""

import io
from types import SimpleNamespace

from odd_input import NOW, FakeStopEvent, definition

from siemtap.core.manifest import fill_in
from siemtap.core.settings import CommonSettings, Connection
from siemtap.edge.client.http import Http
from siemtap.splunk.runtime import input as splunk
from siemtap.splunk.runtime.input import Input
from siemtap.splunk.runtime.names import App
from siemtap.testing import simulation
from siemtap.testing.world import Time


def run_cycle(plugin, send, folder, monkeypatch, time=None, **own):
    """Run one cycle, and return (exit status, standard output, seconds waited)."""
    out, time = io.BytesIO(), time or Time(NOW)
    monkeypatch.setattr(splunk, "connect", lambda connection, clock: Http(send, clock=clock))
    monkeypatch.setattr(splunk, "configure_logging", lambda *arguments: None)
    process = Input(
        plugin,
        App("TA-test", "ta_test", plugin.name),
        definition(plugin, folder, checkpoint="file"),
        out,
        time.clock,
    )
    process.in_main_thread, process.stopping = False, FakeStopEvent(most=10_000)
    monkeypatch.setattr(process, "_handle_signals", lambda: None)
    monkeypatch.setattr(process, "splunkd", SimpleNamespace(read_settings=lambda name: {}))
    monkeypatch.setattr(
        process,
        "read_settings",
        lambda: (
            fill_in(plugin.settings, own),
            fill_in(CommonSettings, {}),
            fill_in(Connection, {}),
        ),
    )
    try:
        return process.run(), out.getvalue(), process.stopping.waited
    finally:
        process.checkpoints.database.close()


def simulated(plugin):
    simulator = simulation.simulator(plugin.name, {})
    own = simulator.settings("https://vendor.example.com/rest")
    if plugin.name == "centurylink_ips":
        return simulator, {
            **own,
            "servers": ["VA1ACMEWEB01"],
            "our_url": "https://siem.example.com/centurylink_ips/x",
        }
    return simulator, {**own, "lookback": "20m"}
