"""A Produce request that no library would write: protocol.apache.org's Produce 3, and a record batch
of the format 2 (Kafka's documentation, "Messages")."""

from __future__ import annotations

import socket
import struct


def produce(host: str, topic: str, value: bytes, header: bytes, time: int) -> None:
    """Write a message to partition 0. header: the name of its only header; time: milliseconds, or
    any other number."""
    body = struct.pack(">hiqqqhii", 0, 0, time, time, -1, -1, -1, 1) + _record(value, header)
    inner = struct.pack(">ibI", -1, 2, _crc32c(body)) + body
    batch = struct.pack(">qi", 0, len(inner)) + inner
    name = topic.encode()
    message = (
        struct.pack(">hhih", 0, 3, 1, 3)  # Produce 3, its number, the length of the client's name
        + b"raw"
        + struct.pack(">hhiih", -1, -1, 5_000, 1, len(name))
        + name
        + struct.pack(">iii", 1, 0, len(batch))
        + batch
    )
    address, _, port = host.rpartition(":")
    with socket.create_connection((address, int(port)), 20) as broker:
        broker.sendall(struct.pack(">i", len(message)) + message)
        answer = broker.recv(10_000)
    # length, number of the request, topics, name, partitions, partition, then the error
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 4 + 2 + len(name) + 4 + 4)
    assert not error, error


def _record(value: bytes, header: bytes) -> bytes:
    record = b"\0" + _varint(0) + _varint(0) + _varint(-1) + _varint(len(value)) + value
    record += _varint(1) + _varint(len(header)) + header + _varint(1) + b"v"
    return _varint(len(record)) + record


def _varint(number: int) -> bytes:
    zigzag = ((number << 1) ^ (number >> 63)) & 0xFFFFFFFFFFFFFFFF
    written = b""
    while zigzag > 127:
        written += bytes([zigzag & 127 | 128])
        zigzag >>= 7
    return written + bytes([zigzag])


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
