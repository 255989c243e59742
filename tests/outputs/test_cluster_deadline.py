"""The time-out of a request to a cluster is for the whole request."""

import time

import pytest
from edge import test_deadline

from siemtap.core.manifest import fill_in
from siemtap.outputs.elasticsearch.client import FAILURES, build_client
from siemtap.outputs.elasticsearch.settings import Settings

dripping = test_deadline.dripping  # the fixture


@pytest.mark.slow
@test_deadline.EVERY
def test_call_of_a_cluster_ends(dripping):
    client = build_client(fill_in(Settings, {"hosts": [dripping], "timeout": "1s"}), "opensearch")
    began = time.monotonic()
    with pytest.raises(FAILURES):
        client.bulk(operations=b'{"create":{}}\n{}\n', index="x")
    assert time.monotonic() - began < 15
