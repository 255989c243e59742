"""sample_event.json: an event as an agent sends it and the pipeline makes it."""

from __future__ import annotations

from typing import Any, Dict

from ...core.rows import Dataset, Event
from .manifests import KIBANA, default_tags
from .model import Stream

# Of no agent; the ids have the form of a UUID.
AGENT_ID = "00000000-0000-4000-8000-000000000001"
RUN_ID = "00000000-0000-4000-8000-000000000002"


def sample_event(event: Event, dataset: Dataset, stream: Stream) -> Dict[str, Any]:
    """Return an event of a case with what an agent and Fleet add to it.

    It ran through the first input of the stream, with the default settings.
    """
    version = KIBANA.split(" || ")[0].lstrip("^")
    return {
        **event,
        "agent": {
            "ephemeral_id": RUN_ID,
            "id": AGENT_ID,
            "name": "elastic-agent",
            "type": "filebeat",
            "version": version,
        },
        "elastic_agent": {"id": AGENT_ID, "snapshot": False, "version": version},
        "event": {
            **event["event"],
            "agent_id_status": "verified",
            "ingested": event["@timestamp"],
        },
        "input": {"type": stream.ways[0].input},
        "tags": ["preserve_duplicate_custom_fields", *default_tags(dataset)],
    }
