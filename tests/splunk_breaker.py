"""A model of how splunkd splits the standard output of a modular input into events, as strict as
the documentation allows.

1. An element without `unbroken` is a whole event and has no `<done/>`: solnlib 7.0.0,
modular_input/event.py line 85, rejects the pair.
2. `unbroken="1"` is a fragment: it is appended to the previous fragments of its channel until one
has `<done/>` (splunk-sdk-python 2.1.1, splunklib/modularinput/event.py lines 45 to 71; Splunk's
manual of modular inputs, "Set up streaming"). Fragments without an end are an error here.
3. A whole event is then processed by LINE_BREAKER, TRUNCATE and SHOULD_LINEMERGE of the
sourcetype (props.conf.spec 10.2.3, "Line breaking"): the first group of each match separates two
events; TRUNCATE counts bytes, rounded down to a whole character, 0 is no limit; lines that may
be merged are an error here, because the documentation does not say how."""

import re
from typing import NamedTuple
from xml.etree import ElementTree

DEFAULTS = {
    "LINE_BREAKER": r"([\r\n]+)",
    "TRUNCATE": "10000",
    "SHOULD_LINEMERGE": "true",
}  # the defaults of props.conf.spec
CHANNEL = ("source", "sourcetype", "host", "index")


class IndexedEvent(NamedTuple):
    """An indexed event. `time`: seconds; None if splunkd extracts the timestamp from the text."""

    stanza: str
    source: str
    sourcetype: str
    time: float
    raw: str


def break_events(out, props):
    """Return the events of a whole stream. `props`: stanza -> settings of props.conf.

    Raise AssertionError where splunkd would join two events, truncate one, or wait for more."""
    stream, events, fragments = ElementTree.fromstring(out), [], {}
    assert stream.tag == "stream"
    for element in stream:
        assert element.tag == "event" and {child.tag for child in element} <= {
            "time",
            "data",
            "done",
            *CHANNEL,
        }, ElementTree.tostring(element)[:300]
        channel = (element.get("stanza"), *(element.findtext(name) for name in CHANNEL))
        data, is_fragment, is_done = (
            element.findtext("data") or "",
            element.get("unbroken") == "1",
            element.find("done") is not None,
        )
        if is_fragment:
            data = fragments.pop(channel, "") + data
            if not is_done:
                fragments[channel] = data
                continue
        else:
            assert not is_done, "<done/> without fragments"
            assert channel not in fragments, "a whole event between fragments is joined to them"
        rules = {**DEFAULTS, **props.get(channel[2], {})}
        assert rules["SHOULD_LINEMERGE"].lower() in (
            "false",
            "0",
        ), f"lines of {channel[2]} may be merged"
        for line in break_lines(data, rules["LINE_BREAKER"]):
            events.append(
                IndexedEvent(
                    channel[0],
                    channel[1],
                    channel[2],
                    float(element.findtext("time")) if element.findtext("time") else None,
                    truncate(line, int(rules["TRUNCATE"])),
                )
            )
    assert not fragments, f"never ended: {[text[:80] for text in fragments.values()]}"
    return events


def break_lines(text, breaker):
    """Yield the lines between the first groups of the matches of a LINE_BREAKER."""
    start = 0
    for match in re.finditer(breaker, text):
        if match.start(1) > start:
            yield text[start : match.start(1)]
        start = match.end(1)
    if text[start:]:
        yield text[start:]


def truncate(line, most):
    """Return a line truncated to so many bytes, at a whole character; 0 is no limit."""
    return line.encode()[:most].decode("utf-8", "ignore") if most else line


def parse_props(text):
    """Return a conf file as stanza -> settings."""
    stanzas, stanza = {}, {}
    for line in text.splitlines():
        if line.startswith("["):
            stanza = stanzas.setdefault(line[1 : line.rindex("]")], {})
        elif " = " in line:
            name, _, value = line.partition(" = ")
            stanza[name] = value
    return stanzas
