"""A server that returns prepared answers, and an HTTP client, for the tests of the client."""

import pytest

from siemtap.core.manifest import fill_in
from siemtap.core.settings import Connection
from siemtap.edge.client.http import connect
from siemtap.testing.simulation import Answer, Server


class EchoServer:
    """A simulated server that returns the answers it was given, and records the requests."""

    def __init__(self):
        self.next, self.seen = Answer(200, {"Content-Type": "application/json"}, b'{"ok": 1}'), []

    def answer(self, request, now):
        self.seen.append(request)
        return self.next


@pytest.fixture
def server():
    server = Server(EchoServer())
    yield server
    server.close()


def http(**settings):
    return connect(fill_in(Connection, {"timeout": "1s", **settings}))


def ask(server, client=None, **answer):
    server.simulated.next = Answer(**answer) if answer else server.simulated.next
    client = client or http()
    return client.json(client.get(f"{server.url}/x", {"secret": "s3cret"}))
