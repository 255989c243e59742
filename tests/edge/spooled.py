"""Payloads in a spool, for tests."""

from siemtap.core.model import Payload
from siemtap.edge.receive.spool import Spool


def payload(number, size=40):
    return Payload(
        f"{number}:".encode() + b"x" * size,
        "webhook",
        "ACME/web01",
        "192.0.2.7",
        1_772_618_400_000 + number,
        {"content-type": "application/json"},
    )


def read_all(spool, cursor=None, at_most=100):
    payloads, cursor = [], cursor or {}
    while True:
        some, cursor = spool.read(cursor, at_most)
        payloads += some
        if not some:
            return payloads, cursor


def filled(folder, count, **more):
    spool = Spool(folder, **more)
    for number in range(count):
        spool.append([payload(number)]).result(10)
    return spool
