"""What splunkd makes events of: a model of how it reads a modular input's standard output, and as
strict as the papers allow.

1. An element without `unbroken` is a whole event, and has no `<done/>`: solnlib 7.0.0,
   modular_input/event.py line 85, refuses the pair.
2. `unbroken="1"` is a fragment: it is glued to the fragments of its channel before it, until one
   has `<done/>` (splunk-sdk-python 2.1.1, splunklib/modularinput/event.py lines 45 to 71; Splunk's
   manual of modular inputs, "Set up streaming"). What never ends is an error here.
3. What is whole then goes through the sourcetype's LINE_BREAKER, TRUNCATE and SHOULD_LINEMERGE
   (props.conf.spec 10.2.3, "Line breaking"): the first group of each match lies between two
   events, TRUNCATE counts bytes, rounded down to a whole character, 0 is never; lines that may be
   merged are an error here, for nobody can tell how.
"""

import re
from typing import NamedTuple
from xml.etree import ElementTree

DEFAULTS = {
    "LINE_BREAKER": r"([\r\n]+)",
    "TRUNCATE": "10000",
    "SHOULD_LINEMERGE": "true",
}  # props.conf.spec's own
CHANNEL = ("source", "sourcetype", "host", "index")


class Indexed(NamedTuple):
    """One event: where it came from, when it was (None: splunkd reads it from the text), and
    what is searched."""

    stanza: str
    source: str
    sourcetype: str
    time: float
    raw: str


def broken(out, props):
    """The events of a whole stream. AssertionError for what splunkd would glue, cut or keep
    waiting for. `props`: stanza -> settings of props.conf."""
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
            assert not is_done, "an end of fragments that are none"
            assert channel not in fragments, "a whole event between fragments: glued to them"
        rules = {**DEFAULTS, **props.get(channel[2], {})}
        assert rules["SHOULD_LINEMERGE"].lower() in (
            "false",
            "0",
        ), f"lines of {channel[2]} may be merged"
        for line in lines(data, rules["LINE_BREAKER"]):
            events.append(
                Indexed(
                    channel[0],
                    channel[1],
                    channel[2],
                    float(element.findtext("time")) if element.findtext("time") else None,
                    cut(line, int(rules["TRUNCATE"])),
                )
            )
    assert not fragments, f"never ended: {[text[:80] for text in fragments.values()]}"
    return events


def lines(text, breaker):
    start = 0
    for match in re.finditer(breaker, text):
        if match.start(1) > start:
            yield text[start : match.start(1)]
        start = match.end(1)
    if text[start:]:
        yield text[start:]


def cut(line, most):
    return line.encode()[:most].decode("utf-8", "ignore") if most else line


def props_of(text):
    """A conf file -> stanza -> settings."""
    stanzas, stanza = {}, {}
    for line in text.splitlines():
        if line.startswith("["):
            stanza = stanzas.setdefault(line[1 : line.rindex("]")], {})
        elif " = " in line:
            name, _, value = line.partition(" = ")
            stanza[name] = value
    return stanzas
