"""Events and outputs shared by the tests in this folder."""

import json

from hec_stand_in import TOKEN

from siemtap.core.convert import rfc3339
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.edge.clock import Clock
from siemtap.outputs import OutputContext, file, sqlite
from siemtap.outputs.splunk_hec.output import SplunkHec
from siemtap.outputs.splunk_hec.settings import Settings

UNIT = Unit("it", "acme.event", "a")
NOW = 1_772_618_400_000


def event(number, **more):
    return {
        "@timestamp": rfc3339(NOW + number),
        "event": {
            "id": f"{number:032x}",
            "kind": "alert",
            "dataset": "acme.event",
            "severity": 73,
            "action": "blocked",
        },
        **more,
    }


def store(database, clock=Clock(lambda: NOW, lambda: 0.0), **settings):
    return sqlite.Sqlite(
        sqlite.Settings(**{"retention": 0, "max_bytes": 0, **settings}),
        OutputContext(database, clock),
    )


def files(tmp_path, *, rotate_every_bytes=10**9, number_of_files=0):
    return file.File(
        file.Settings(str(tmp_path / "out"), rotate_every_bytes, number_of_files),
        OutputContext(clock=Clock(lambda: NOW, lambda: 0.0)),
    )


def collector(*servers, context=OutputContext(), **settings):
    """Return an output to stand-ins for HEC, with indexer acknowledgement as the first has."""
    given = {"hosts": [server.url for server in servers], "token": TOKEN, "ack": servers[0].ack}
    return SplunkHec(fill_in(Settings, {**given, **settings}), context)


def lines(output):
    return [
        json.loads(line)
        for path in [*output.closed(), output.path]
        for line in path.read_bytes().splitlines()
    ]
