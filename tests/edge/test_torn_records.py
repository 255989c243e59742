"""Bytes inside a payload are no record of the spool, even if the payload's own record is torn."""

import json
import struct
import time
import zlib

import pytest

from siemtap.core.model import Payload
from siemtap.edge.receive.records import HEAD, MAGIC, NAME, Record, encode_record
from siemtap.edge.receive.spool import Spool

FORGED = Payload(b"forged", "webhook", "ACME/ceo", "192.0.2.66", 1)


def earlier_record(payload):
    """Return a record of the first format: magic, length, checksum."""
    head = [payload.channel, payload.path, payload.peer, payload.received, {}]
    data = json.dumps(head).encode() + b"\n" + payload.body
    return struct.pack("<4sII", MAGIC, len(data), zlib.crc32(data)) + data


def torn_spool(folder, body, cut=1):
    """Return the folder of a spool whose last record, with this body, lacks its last bytes."""
    spool = Spool(folder)
    spool.append([Payload(b"before", "udp", "", "192.0.2.7", 1)]).result(10)
    spool.append([Payload(body, "webhook", "", "192.0.2.66", 1)]).result(10)
    spool.close()
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    return folder


@pytest.mark.parametrize(
    "inner",
    [
        earlier_record(FORGED),
        encode_record(FORGED).head(b"", 0) + encode_record(FORGED).data,
        encode_record(FORGED).head(b"k" * 16, 200) + encode_record(FORGED).data,
    ],
    ids=["first format", "no key", "another key"],
)
def test_record_inside_a_torn_payload_is_not_delivered(tmp_path, inner):
    spool = Spool(torn_spool(tmp_path, b"x" * 50 + inner + b"y" * 50))
    assert [payload.body for payload in spool.read({}, 10)[0]] == [b"before"]
    spool.append([Payload(b"after", "udp", "", "192.0.2.7", 1)]).result(10)
    assert [payload.body for payload in spool.read({}, 10)[0]] == [b"before", b"after"]
    spool.close()


def test_copy_of_a_record_is_no_record_at_another_offset(tmp_path):
    """Also if a sender has read the file, with its key."""
    spool = Spool(tmp_path)
    spool.append([Payload(b"stolen", "udp", "", "192.0.2.7", 1)]).result(10)
    (path,) = tmp_path.iterdir()
    copy = path.read_bytes()[NAME.size :]
    spool.append([Payload(b"x" * 50 + copy + b"y" * 50, "udp", "", "192.0.2.66", 1)]).result(10)
    spool.close()
    path.write_bytes(path.read_bytes()[:-1])
    again = Spool(tmp_path)
    assert [payload.body for payload in again.read({}, 10)[0]] == [b"stolen"]
    again.close()


def test_payload_full_of_heads_does_not_delay_the_start(tmp_path):
    heads = Record(b"x" * 900_000, 1).head(b"k" * 16, 0) * 40_000  # 960 KB
    folder = torn_spool(tmp_path, heads)
    start = time.perf_counter()
    spool = Spool(folder)
    assert time.perf_counter() - start < 10 and len(heads) == 40_000 * HEAD.size
    assert [payload.body for payload in spool.read({}, 10)[0]] == [b"before"]
    spool.close()
