"""Render sample data for Eventgen, Splunk's generator of events: try the dashboards without a
vendor."""

from __future__ import annotations

from typing import Dict, Iterable, List, Tuple

from ...core.model import Plugin
from ...core.rows import Event
from ...edge.splunk.lines import line_encoder
from ...edge.splunk.serializer import sourcetype
from .conf import Conf


def sample_file(dataset: str) -> str:
    """Return the name of a dataset's file in samples/, such as `acme.attack.sample`."""
    return f"{dataset}.sample"


def eventgen(datasets: Iterable[str]) -> Conf:
    """Return eventgen.conf: each minute the events of each sample, with the present time
    and ids of their own. Settings: eventgen.conf.spec of Eventgen 7.2."""
    return {sample_file(dataset): _stanza(dataset) for dataset in datasets}


def _stanza(dataset: str) -> Dict[str, str]:
    stanza = {
        "mode": "sample",
        "sourcetype": sourcetype(dataset),
        "source": "eventgen",
        "interval": "60",
        "earliest": "-60s",
        "latest": "now",
        "timezone": "0000",
    }
    tokens = (
        (r'"@timestamp":"([^"]+)"', "timestamp", "%Y-%m-%dT%H:%M:%S.000Z"),
        (r'"(?:event\.)?id":"([0-9a-f]{32})"', "random", "hex(32)"),
    )
    for number, (pattern, kind, replacement) in enumerate(tokens):
        stanza[f"token.{number}.token"] = pattern
        stanza[f"token.{number}.replacementType"] = kind
        stanza[f"token.{number}.replacement"] = replacement
    return stanza


def sample_lines(plugin: Plugin, events: Iterable[Event]) -> List[Tuple[str, str]]:
    """Return (dataset, line in Splunk) of each event that was read without an error."""
    encoders = {dataset.name: line_encoder(dataset) for dataset in plugin.datasets}
    return [
        (event["event"]["dataset"], encoders[event["event"]["dataset"]](event).decode())
        for event in events
        if event["event"].get("kind") != "pipeline_error"
    ]
