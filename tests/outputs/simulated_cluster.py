"""An output, events and `setup` for the simulated cluster."""

import json

from click.testing import CliRunner

from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.outputs.elasticsearch.output import Elasticsearch
from siemtap.outputs.elasticsearch.settings import Settings
from siemtap.shipper.cli.main import main

UNIT = Unit("it", "apptrana.attack")
STREAM = "logs-apptrana.attack-default"


def output(server, **more):
    return Elasticsearch(fill_in(Settings, {"hosts": [server.url], **more}))


def event(number, **more):
    return {
        "@timestamp": "2026-03-04T10:00:00.000Z",
        "data_stream": {"type": "logs", "dataset": "apptrana.attack", "namespace": "default"},
        "event": {
            "id": f"{number:032x}",
            "kind": "event",
            "dataset": "apptrana.attack",
            "module": "apptrana",
        },
        **more,
    }


def configured(server, folder, **more):
    path = folder / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "output": {"elasticsearch": {"hosts": [server.url], **more.pop("output", {})}},
                "inputs": [{"type": "apptrana", "client_id": "a", "client_secret": "b"}],
                **more,
            }
        )
    )
    return str(path)


def install(server, folder, **more):
    done = CliRunner().invoke(main, ["setup", "-c", configured(server, folder, **more)])
    assert done.exit_code == 0, done.output
    return done.output
