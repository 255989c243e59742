"""What an agent's inputs send of a case, as documents for the pipelines; and the cases of which they cannot send the same."""

import base64
import gzip
import json

from cases import given_by, played
from siemtap.core.forms import Every
from siemtap.core.manifest import fill_in

# Case -> why the package does not make of it what Python does. What is sent at all becomes one `pipeline_error` event, with the whole of it.
OTHERWISE = {
    "a_wrapper_around_the_array": "one document cannot become several in a pipeline: the wrapper is kept whole",
    "two_lines_in_one_datagram_and_no_priority": "one document cannot become several in a pipeline: the datagram is kept whole",
    "slacks_text_as_a_form": "http_endpoint takes JSON only, and answers 400",
    "json_cut_in_the_middle": "http_endpoint takes JSON only, and answers 400",
    "not_utf_8": "http_endpoint takes JSON only, and answers 400",
    "gzip_that_is_none": "http_endpoint answers 400",
    "what_is_no_event": "http_endpoint takes objects, alone or in an array, and answers 400 to all else",
}


def pushed(folder, given):
    """The documents, without what a policy adds; none of what http_endpoint refuses."""
    path, = folder.glob("payload.*")
    body = base64.b64decode(path.read_bytes()) if given.get("base64") else path.read_bytes()
    if given["channel"] in ("udp", "tcp", "tls"):       # a datagram; lines of a stream, or one frame that is counted
        said = body.decode("utf-8", "replace")
        return [{"message": one} for one in (said.splitlines() if given["channel"] != "udp" and all(line.startswith("<") for line in said.splitlines()) else [said])]
    try:
        said = json.loads((gzip.decompress(body) if "gzip" in given.get("headers", {}).get("content-encoding", "") else body).decode("utf-8-sig"))
    except (ValueError, OSError):
        return []
    found = said if isinstance(said, list) else [said]
    return [{"_record": one} for one in found] if all(isinstance(one, dict) for one in found) else []


def documents(folder, plugin, dataset, wanted):
    """(documents, the events that Python makes) of a dataset. `wanted`: the settings that the pipeline reads."""
    given, settings, _, _ = given_by(folder, plugin)
    namespace = fill_in(Every, given.get("every", {})).namespace
    conf = {name: getattr(settings, name) for name in wanted}
    rest = {"agent": {"type": "filebeat"}, "data_stream": {"namespace": namespace}, **({"tags": ["preserve_original_event"]} if getattr(settings, "keep_original", False) else {})}
    records = [one for one in played(folder, plugin) if one[1] is dataset]
    if "channel" in given:
        if dataset is not plugin.datasets[0]:
            return [], []
        channel = {"webhook": "http_endpoint", "tls": "tcp"}.get(given["channel"], given["channel"])
        sent = [{**one, "@timestamp": given["now"], "_conf": {**conf, "channel": channel, **({"path": given["path"]} if given.get("path") else {})}} for one in pushed(folder, given)]
    else:
        sent = [{"message": json.dumps(record), "_conf": {**conf, "until": until}} for _, _, record, until, _ in records]
    return [{**one, **rest} for one in sent], [event for *_, event in records]
