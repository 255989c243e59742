"""Fixtures of the tests against real servers."""

import pytest
from error_documents import start_installed_node
from search_node import Node


@pytest.fixture(scope="session")
def node():
    with Node() as node:
        yield node


@pytest.fixture(scope="session")
def installed_node():
    """Return a node with every package installed, which takes large requests."""
    with start_installed_node() as node:
        yield node


@pytest.fixture
def clean(request):
    """Delete data, blocks, templates and pipelines of the node."""
    node = next(
        (
            request.getfixturevalue(name)
            for name in ("node", "narrow")
            if name in request.fixturenames
        ),
        None,
    )
    if node:
        node.ask("PUT", "/_cluster/settings", json={"transient": {"*": None}})
        node.ask("DELETE", "/_data_stream/*")
        node.ask("DELETE", "/_index_template/siemtap*")
        node.ask("DELETE", "/_component_template/siemtap*")
        node.ask("DELETE", "/_ingest/pipeline/siemtap*")
