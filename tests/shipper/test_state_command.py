"""`siemtap state` inside the test process."""

from contextlib import closing

import pytest
from click.testing import CliRunner

from siemtap.core.model import Mark, Unit
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.shipper.cli.main import main
from siemtap.shipper.config import load as configuration

KNOWN, UNKNOWN = "waf/apptrana.attack", "nobody/nothing"


@pytest.mark.parametrize(
    "arguments,code",
    [
        (["list"], 0),
        (["show", KNOWN], 0),
        (["set", KNOWN, '{"until": 2}'], 0),
        (["delete", KNOWN], 0),
        (["show", UNKNOWN], 2),
        (["set", UNKNOWN, '{"until": 2}'], 2),
        (["delete", UNKNOWN], 2),
    ],
    ids=str,
)
def test_the_configuration_is_read_once(tmp_path, monkeypatch, arguments, code):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\noutput.sqlite: {{}}\n"
        "inputs:\n  - {type: apptrana, id: waf, client_id: a, client_secret: b}\n"
    )
    path.chmod(0o600)
    (tmp_path / "data").mkdir()
    with closing(Database(tmp_path / "data/siemtap.db")) as database:
        Checkpoints(database).save(Unit("waf", "apptrana.attack"), Mark({"until": 1}))
    read, reads = configuration.load, []

    def counted(*given, **more):
        reads.append(given)
        return read(*given, **more)

    monkeypatch.setattr(configuration, "load", counted)
    result = CliRunner().invoke(main, ["state", *arguments, "-c", str(path)])
    assert result.exit_code == code, result.output
    assert len(reads) == 1
