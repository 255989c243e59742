"""The sample data of an add-on, as Eventgen would write it."""

import json
import re
from datetime import datetime, timezone

import pytest
from splunk_search import searched, tags_of

from siemtap.bundles.integration import described, events_of_sample, packaged
from siemtap.edge.splunk.serializer import sourcetype
from siemtap.render import registry
from siemtap.splunk.build import knowledge
from siemtap.splunk.build.eventgen import eventgen, sample_file, sample_lines
from siemtap.testing.cases import folder_of

NOW = datetime(2026, 11, 3, 4, 5, 6, tzinfo=timezone.utc)
ID = "0123456789ABCDEF" * 2


def generated(stanza, line):
    """Replace the tokens of a line: the first group of each match (eventgen.conf.spec, "Token
    replacement settings")."""
    for number in range(sum(key.endswith(".token") for key in stanza)):
        kind = stanza[f"token.{number}.replacementType"]
        replacement = stanza[f"token.{number}.replacement"]
        assert (kind, replacement) in (("timestamp", replacement), ("random", "hex(32)"))
        text = NOW.strftime(replacement) if kind == "timestamp" else ID
        matches = list(re.finditer(stanza[f"token.{number}.token"], line))
        assert len(matches) == 1, line
        line = line[: matches[0].start(1)] + text + line[matches[0].end(1) :]
    return line


@pytest.mark.parametrize("plugin", packaged().values(), ids=lambda plugin: plugin.name)
def test_generated_events_are_new_events_of_the_sourcetype(plugin):
    streams = described(plugin).streams.values()
    events = [event for s in streams for event in events_of_sample(folder_of(plugin), plugin, s)]
    lines = sample_lines(plugin, events)
    conf = eventgen(dict(lines))
    assert {name for name, _ in lines} == {dataset.name for dataset in plugin.datasets}
    for dataset, line in lines:
        stanza = conf[sample_file(dataset)]
        raw = generated(stanza, line)
        props = knowledge.props(plugin)[stanza["sourcetype"]]
        assert stanza["sourcetype"] == sourcetype(dataset) and stanza["timezone"] == "0000"
        after = re.search(props["TIME_PREFIX"], raw).end()
        shown = raw[after : after + int(props["MAX_TIMESTAMP_LOOKAHEAD"])].partition('"')[0]
        time_format = props["TIME_FORMAT"].replace("%3N", "%f")
        assert datetime.strptime(shown, time_format) == NOW.replace(tzinfo=None)
        fields = searched(raw, props)
        assert fields["event.id"] == [ID] and json.loads(raw)
        assert (
            tags_of(fields, plugin, stanza["sourcetype"]) or not plugin.dataset(dataset).cim.models
        )


def test_an_event_that_reports_an_error_is_no_sample():
    plugin = registry.plugin("apptrana")
    event = {"event": {"dataset": "apptrana.attack", "kind": "pipeline_error"}}
    assert sample_lines(plugin, [event]) == []
