"""Commands of plugins on the command line."""

import json

from centurylink_ips.simulator import Knobs, Simulator
from click.testing import CliRunner
from pingintelligence import simulator as abs_simulator

from siemtap.shipper.cli.main import main
from siemtap.testing import simulation

WEB = "VA1ACMEWEB01"
WEBHOOK_URL = "https://siem.example.com/centurylink_ips/3f9c1d7ab2e04c58/ACME"


def test_commands_of_centurylink_ips(tmp_path):
    server = simulation.Server(Simulator(Knobs()))
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "inputs": [{"type": "centurylink_ips", **server.simulated.settings(server.url)}],
            }
        )
    )

    def siemtap(*arguments):
        return CliRunner().invoke(main, ["centurylink_ips", *arguments, "-c", str(path)])

    try:
        result = siemtap("install", WEB, "NOWHERE", "--json")
        assert result.exit_code == 1 and [
            json.loads(line)["well"] for line in result.output.splitlines()
        ] == [True, False]
        result = siemtap("notifications", "add", WEB, "--webhook", WEBHOOK_URL)
        assert (
            result.exit_code == 0
            and "+ WEBHOOK https://siem.example.com/centurylink_ips/…"
            in " ".join(result.output.split())
        )
        assert (
            "operator" not in result.output
            and siemtap("notifications", "list", WEB, "--input", "other").exit_code == 2
        )
        assert siemtap("install").exit_code == 2
    finally:
        server.close()


def test_commands_of_pingintelligence(tmp_path):
    server = simulation.Server(abs_simulator.Simulator(abs_simulator.Knobs(role="admin")))
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "inputs": [{"type": "pingintelligence", **server.simulated.settings(server.url)}],
            }
        )
    )

    def siemtap(*arguments):
        return CliRunner().invoke(main, ["pingintelligence", *arguments, "-c", str(path)])

    try:
        result = siemtap(
            "unblock",
            "--ip",
            "192.0.2.7",
            "--ip",
            "192.0.2.8",
            "--cookie",
            "JSESSIONID=x=y",
            "--dry-run",
            "--json",
        )
        assert (
            result.exit_code == 0
            and json.loads(result.output)["data"]
            == {
                "ips": ["192.0.2.7", "192.0.2.8"],
                "cookies": {"JSESSIONID": ["x=y"]},
            }
            and not server.simulated.unblocked
        )
        result = siemtap("unblock", "--ip", "192.0.2.7")
        assert (
            result.exit_code == 0
            and "taken off" in result.output
            and server.simulated.unblocked == {"192.0.2.7"}
        )
        assert (
            siemtap("unblock").exit_code == 2
            and siemtap("unblock", "--cookie", "x").exit_code == 2
            and siemtap("forensics").exit_code == 2
        )
        result = siemtap(
            "forensics",
            "--token",
            "EXAMPLETOKEN0001",
            "--start",
            "2026-03-04T10:00Z",
            "--stop",
            "2026-03-04T12:00Z",
        )
        assert result.exit_code == 0 and json.loads(result.stdout)["details"]["metrics"] == {
            "token": "EXAMPLETOKEN0001"
        }
        assert (
            "earlier_date=2026-03-04T10%3A00" in server.simulated.requests[-1].url
            and siemtap("forensics", "--ip", "192.0.2.7", "--username", "anna").exit_code == 2
        )
        path.write_text(path.read_text().replace('"admin"', '"restricted"'))
        for arguments in (["forensics"], ["unblock"], ["unblock", "--dry-run"]):
            result = siemtap(*arguments, "--ip", "192.0.2.9")
            assert result.exit_code == 2 and "use an input with `role: admin`" in result.output
    finally:
        server.close()
