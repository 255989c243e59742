"""Fixtures of the tests of outputs."""

import threading

import pytest
from elastic_simulator import Cluster, Server
from outputs.output_stores import collector
from outputs.strange_server import StrangeServer

from siemtap.core.manifest import fill_in
from siemtap.edge.store.checkpoints import Database
from siemtap.outputs import OutputContext
from siemtap.outputs.elasticsearch.output import Elasticsearch
from siemtap.outputs.elasticsearch.settings import Settings


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "siemtap.db")
    yield database
    database.close()


@pytest.fixture
def opened():
    """Return a function that opens an output to HEC, to be closed after the test."""
    outputs = []

    def open_output(*servers, **settings):
        outputs.append(collector(*servers, **settings))
        return outputs[-1]

    yield open_output
    [output.close() for output in outputs]


@pytest.fixture
def served(request, monkeypatch):
    monkeypatch.setattr("siemtap.outputs.elasticsearch.output.PATIENCE", 1.0)
    monkeypatch.setattr("siemtap.outputs.elasticsearch.output.LONGEST_PAUSE", 0.05)
    with Server(Cluster(**getattr(request, "param", {}))) as server:
        yield server


@pytest.fixture(scope="module")
def server():
    server = StrangeServer()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", params=["one request", "several requests"])
def output(request, server):
    """Return an output that raises Retry after the first attempt."""
    stopping = threading.Event()
    stopping.set()
    more = {"bulk_max_size": 1, "worker": 2} if request.param == "several requests" else {}
    elasticsearch_output = Elasticsearch(
        fill_in(Settings, {"hosts": [f"http://127.0.0.1:{server.server_port}"], **more}),
        OutputContext(stopping=stopping),
    )
    yield elasticsearch_output
    elasticsearch_output.close()
