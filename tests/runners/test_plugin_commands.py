"""A plugin's commands on the command line."""

import json

from centurylink_ips.simulator import Knobs, Simulator
from click.testing import CliRunner

from siemtap.runners import simulate
from siemtap.runners.cli import main

WEB = "VA1ACMEWEB01"
OURS = "https://siem.example.com/centurylink_ips/3f9c1d7ab2e04c58/ACME"


def test_the_command_line(tmp_path):
    server = simulate.Server(Simulator(Knobs()))
    path = tmp_path / "siemtap.yml"
    path.write_text(json.dumps({"path": {"data": str(tmp_path / "data")}, "inputs": [{"type": "centurylink_ips", **server.simulated.settings(server.url)}]}))

    def siemtap(*words):
        return CliRunner().invoke(main, ["centurylink_ips", *words, "-c", str(path)])

    try:
        done = siemtap("install", WEB, "NOWHERE", "--json")
        assert done.exit_code == 1 and [json.loads(line)["well"] for line in done.output.splitlines()] == [True, False]
        done = siemtap("notifications", "add", WEB, "--webhook", OURS)
        assert done.exit_code == 0 and "+ WEBHOOK https://siem.example.com/centurylink_ips/…" in " ".join(done.output.split())
        assert "operator" not in done.output and siemtap("notifications", "list", WEB, "--input", "other").exit_code == 2
        assert siemtap("install").exit_code == 2
    finally:
        server.close()
