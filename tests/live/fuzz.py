"""Coverage-guided fuzzing of everything that a stranger's bytes reach first: `ci/fuzz`.

usage: python tests/live/fuzz.py TARGET [libFuzzer's options: -max_total_time=60 corpus…]

No exception but Malformed; and what came out keeps what went in, where there is something to keep.
"""

import sys

import atheris

with atheris.instrument_imports(include=["siemtap.core", "siemtap.edge", "centurylink_ips"]):
    from centurylink_ips import PLUGIN

    from siemtap.core import syslog
    from siemtap.core.errors import Malformed
    from siemtap.core.forms import Every
    from siemtap.core.manifest import fill_in
    from siemtap.core.model import Payload
    from siemtap.engine import voice

SETTINGS = fill_in(PLUGIN.settings, {"decode_data": "true", "json_timezone": "Europe/Berlin"})
SAY = voice(PLUGIN, SETTINGS, fill_in(Every, {}), {}, lambda: None)
NOON = 1_772_625_600_000


def frames(said):
    try:
        found, rest = syslog.frames(said)
    except Malformed:
        return
    assert sum(map(len, found)) + len(rest) <= len(said)
    syslog.is_worth_a_look(rest, said[-10:])


def line(said):
    text = said.decode("utf-8", "replace")
    head = syslog.line(text)
    assert head.message in text
    syslog.moment(head.stamp, NOON)


def cef(said):
    text = said.decode("utf-8", "replace")
    for read in (syslog.cef, syslog.leef):
        try:
            read(text)
        except Malformed:
            continue


def event(channel, headers):
    def one(said):
        try:
            batches = list(
                PLUGIN.receive(SETTINGS, Payload(said, channel, "ACME", "192.0.2.1", NOON, headers))
            )
        except Malformed:
            return
        events = [made for batch in batches for made in SAY(batch)]
        assert all(made["event"]["id"] and made["@timestamp"] for made in events)
        assert (
            events
            or not said.decode("utf-8-sig", "replace").strip("\r\n\0 \t")
            or headers
            or channel == "udp"
            or said.strip() in (b"[]",)
        )

    return one


TARGETS = {
    "frames": frames,
    "line": line,
    "cef": cef,
    "webhook": event("webhook", {}),
    "gzip": event("webhook", {"content-encoding": "gzip"}),
    "form": event("webhook", {"content-type": "application/x-www-form-urlencoded"}),
    "udp": event("udp", {}),
}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup([*sys.argv, "-max_len=4096", "-timeout=5", "-rss_limit_mb=2048"], target)
    atheris.Fuzz()
