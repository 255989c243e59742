"""The webhook answers with success only with a receipt of the spool."""

import ast
import inspect
import re

import pytest
from edge import raw_requests
from edge.raw_requests import BOTH, GOOD, H2C, ask, bodies, request_with_length

from siemtap.core.errors import Retry
from siemtap.edge.receive import listener as listener_module
from siemtap.edge.receive import spool as spools
from siemtap.edge.receive import webhook
from siemtap.edge.receive.webhook import refusal, success

# fixtures
spool = raw_requests.spool
listener = raw_requests.listener


# By the structure of the source


def test_only_a_receipt_gives_a_success():
    """The only 2xx of the webhook is in `success`, and only the writer of the spool creates the
    receipt it requires."""
    server = inspect.getsource(webhook) + inspect.getsource(listener_module)
    successes = [
        node.value
        for node in ast.walk(ast.parse(server))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, int)
        and 200 <= node.value < 300
    ]
    # and the one for the answer without a length
    assert inspect.getsource(success).count("204") == 1 and successes.count(204) == 2
    assert (
        not re.search(r"\bReceipt\(", server)
        and len(re.findall(r"\bReceipt\((?!N)", inspect.getsource(spools))) == 1
    )
    for status in (200, 204, 302):
        with pytest.raises(ValueError, match="is not an error status"):
            refusal(status)


@BOTH
def test_body_that_differs_from_its_length_is_rejected(listener, spool, monkeypatch):
    """Fewer or more bytes than announced are no success, whatever the parser makes of the
    request."""
    really = webhook.Webhook._body

    async def lost(self, endpoint, headers, receive):
        body = await really(self, endpoint, headers, receive)
        self.reading -= 1
        return body[:-1]

    monkeypatch.setattr(webhook.Webhook, "_body", lost)
    assert (
        ask(listener, request_with_length(GOOD), 1) == [400]
        and bodies(spool) == []
        and listener.app.reading == 0
    )
    assert listener.app.endpoints[0].counts == {"broken_off": 1}


@BOTH
def test_disk_error_is_not_a_success(listener, spool, monkeypatch):
    monkeypatch.setattr(spool, "_put", lambda data: Retry("the disk is full; nothing was kept"))
    assert ask(listener, request_with_length(GOOD, H2C), 1) == [503] and bodies(spool) == []
