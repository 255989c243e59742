"""Coverage-guided fuzzing of the parsers of received bytes: `ci/fuzz`.

usage: python tests/live/fuzz.py TARGET [options of libFuzzer: -max_total_time=60 corpus…]

A parser may raise only Malformed, and its result must contain the input where there is something
to keep."""

import sys

import atheris

with atheris.instrument_imports(include=["siemtap.core", "siemtap.edge", "centurylink_ips"]):
    from centurylink_ips import PLUGIN

    from siemtap.core.errors import Malformed
    from siemtap.core.formats import cef, leef, syslog
    from siemtap.core.manifest import fill_in
    from siemtap.core.model import Payload
    from siemtap.core.settings import CommonSettings
    from siemtap.engine.mapper import batch_mapper
    from siemtap.testing.cases import batches_of

SETTINGS = fill_in(PLUGIN.settings, {"decode_data": "true", "json_timezone": "Europe/Berlin"})
MAP_BATCH = batch_mapper(PLUGIN, SETTINGS, fill_in(CommonSettings, {}), {}, lambda: None)
NOON = 1_772_625_600_000


def frames(data):
    try:
        complete, rest = syslog.split_frames(data)
    except Malformed:
        return
    assert sum(map(len, complete)) + len(rest) <= len(data)
    syslog.may_be_complete(rest, data[-10:])


def line(data):
    text = data.decode("utf-8", "replace")
    head = syslog.parse_line(text)
    assert head.message in text
    syslog.parse_time(head.timestamp, NOON)


def fuzz_cef(data):
    text = data.decode("utf-8", "replace")
    for parse in (cef.parse, leef.parse):
        try:
            parse(text)
        except Malformed:
            continue


def event(channel, headers):
    def fuzz_payload(data):
        payload = Payload(data, channel, "ACME", "192.0.2.1", NOON, headers)
        try:
            batches = list(batches_of(PLUGIN, SETTINGS, payload))
        except Malformed:
            return
        events = [event for batch in batches for event in MAP_BATCH(batch)]
        assert all(event["event"]["id"] and event["@timestamp"] for event in events)
        assert (
            events
            or not data.decode("utf-8-sig", "replace").strip("\r\n\0 \t")
            or headers
            or channel == "udp"
            or data.strip() in (b"[]",)
            or any(received.notices for received in PLUGIN.receive(SETTINGS, payload))
        )

    return fuzz_payload


TARGETS = {
    "frames": frames,
    "line": line,
    "cef": fuzz_cef,
    "webhook": event("webhook", {}),
    "gzip": event("webhook", {"content-encoding": "gzip"}),
    "form": event("webhook", {"content-type": "application/x-www-form-urlencoded"}),
    "udp": event("udp", {}),
}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup([*sys.argv, "-max_len=4096", "-timeout=5", "-rss_limit_mb=2048"], target)
    atheris.Fuzz()
