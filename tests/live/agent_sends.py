"""The documents that an agent sends to the pipelines for a case, and the cases that an agent
sends in another form."""

import base64
import gzip
import json
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pingintelligence.ingest import HERE, NAMES
from pingintelligence.mapping import ATTACK
from pingintelligence.report_types import REPORTS

from siemtap.core.convert import millis_of
from siemtap.core.manifest import fill_in
from siemtap.core.settings import CommonSettings
from siemtap.elastic.cel import expression, literal
from siemtap.testing.cases import Exchange, load, records_of

# What the parts of the program read: a state with a response and its query.
GIVEN = {
    **{name: literal(value) for name, value in NAMES.items()},
    "body": "state.response",
    "object": "type(state.response) == map ? state.response : {}",
}
ASKED = {"type": "state.type", "api": "state.api"}
REFUSAL = expression(HERE, "refusal", ATTACK, GIVEN, "refusal")
PIECES = expression(HERE, "pieces", ATTACK, {**GIVEN, **ASKED}, "records")

# Case -> why the package and Python differ. The input becomes one `pipeline_error` event with the
# whole text.
OTHERWISE = {
    "a_wrapper_around_the_array": (
        "one document cannot become several in a pipeline: the wrapper is kept whole"
    ),
    "two_lines_in_one_datagram_and_no_priority": (
        "one document cannot become several in a pipeline: the datagram is kept whole"
    ),
    "sns_with_several_events": (
        "one document cannot become several in a pipeline: the envelope is kept whole"
    ),
    "sns_confirmation": "a pipeline writes no log: the confirmation is kept whole, with its URL",
    "slacks_text_as_a_form": "http_endpoint takes JSON only, and answers 400",
    "json_cut_in_the_middle": "http_endpoint takes JSON only, and answers 400",
    "not_utf_8": "http_endpoint takes JSON only, and answers 400",
    "gzip_that_is_none": "http_endpoint answers 400",
    "gzip_and_a_byte_order_mark": "Go's decoder of JSON knows no byte order mark: 400",
    "what_is_no_event": (
        "http_endpoint takes objects, alone or in an array, and answers 400 to all else"
    ),
}


def evaluated(mito, program, state):
    """Return the value of a CEL expression for a state."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "state.json").write_text(json.dumps(state))
        (Path(folder) / "program.cel").write_text(program)
        result = subprocess.run(
            [mito, "-data", Path(folder) / "state.json", Path(folder) / "program.cel"],
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def pieces(mito, response, type, api, settings):
    """Return the pieces that the program splits a response of ABS into, each with its id."""
    state = {
        "response": response,
        "type": type,
        "api": api,
        "role": settings.role,
        "hash_identifiers": settings.hash_identifiers,
    }
    return evaluated(mito, PIECES, state)


def pushed(folder, case):
    """Return the documents that a receiving input makes of a payload; none if http_endpoint
    rejects it."""
    (path,) = folder.glob("payload.*")
    body = base64.b64decode(path.read_bytes()) if case.get("base64") else path.read_bytes()
    if case["channel"] != "webhook":
        return [{"message": line} for line in _messages(body.decode("utf-8", "replace"), case)]
    try:
        if "gzip" in case.get("headers", {}).get("content-encoding", ""):
            body = gzip.decompress(body)
        payload = json.loads(body.decode("utf-8"))
    except (ValueError, OSError):
        return []
    records = payload if isinstance(payload, list) else [payload]
    if not all(isinstance(record, dict) for record in records):
        return []
    return [{"_record": record} for record in records]


def _messages(text, case):
    """Return the messages in a payload: the lines of a file or a stream; a datagram or a counted
    frame as a whole."""
    lines = text.splitlines()
    if case["channel"] == "replay":
        return lines
    if case["channel"] != "udp" and all(line.startswith("<") for line in lines):
        return lines
    return [text]


def answered(folder, case, settings, records, mito):
    """Return what a CEL program emits for the ABS responses of a case: pieces of attack reports,
    the licence, and other reports with the time range of the query."""
    messages = []
    exchange = Exchange((folder / "exchange.http").read_text(encoding="utf-8"))
    for (line, _, _), reply in exchange.pairs:
        url = line.partition(" ")[2]
        query = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
        path = urlsplit(url).path.partition("/abs/")[2]
        if reply.status != 200 or not reply.body.strip():
            continue
        try:
            response = json.loads(reply.body)
        except ValueError:
            continue
        if path == "attack":
            messages += _attack_pieces(response, query, settings, mito)
        elif path == "admin":
            if isinstance(response, dict) and isinstance(response.get("license_info"), dict):
                messages.append({"licence": response, "asked": millis_of(case["now"])})
        elif path != "attacklist" and response and records:
            report = next(report for report in REPORTS.values() if report.path == path)
            messages.append(
                {
                    "body": response,
                    "name": report.name,
                    "api": query.get("api", ""),
                    "earlier": records[0]["@from"],
                    "later": records[0]["@until"],
                }
            )
    return messages


def _attack_pieces(response, query, settings, mito):
    """Return the pieces of an attack report, identical ones counted; none for an error."""
    if evaluated(mito, REFUSAL, {"response": response}):
        return []
    counted = {}
    for piece in pieces(mito, response, int(query["type"]), query.get("api", ""), settings):
        first = {**piece["record"], "id": piece["id"], "count": 0}
        counted.setdefault(piece["id"], first)["count"] += 1
    return list(counted.values())


def documents(folder, plugin, dataset, wanted, mito):
    """Return (documents, the events that Python makes) of a dataset for a case. `wanted`: the
    settings that the pipeline reads."""
    case, settings, _, _ = load(folder, plugin)
    records = [row for row in records_of(folder, plugin) if row[1] is dataset]
    if "channel" in case and dataset is not plugin.datasets[0]:
        return [], []
    conf = {name: getattr(settings, name) for name in wanted}
    until = records[0][3] if records else case["now"]
    from_program = {**conf, "channel": "cel"}
    if "channel" in case:
        sent = _received_documents(folder, case, conf)
    elif (
        dataset.name in ("pingintelligence.attack", "pingintelligence.report")
        and case["dataset"] == dataset.name
    ):
        queried = [record for _, _, record, _, _ in records]
        sent = [
            {"message": json.dumps(message), "_conf": {**from_program, "until": until}}
            for message in answered(folder, case, settings, queried, mito)
        ]
    else:
        sent = [
            {"message": json.dumps(record), "_conf": {**from_program, "until": record_until}}
            for _, _, record, record_until, _ in records
        ]
    by_agent = _agent_fields(case, settings)
    return [{**document, **by_agent} for document in sent], [event for *_, event in records]


def _received_documents(folder, case, conf):
    """Return the documents of a receiving input, with the fields that the policy adds."""
    channel = {"webhook": "http_endpoint", "tls": "tcp", "replay": "filestream"}.get(
        case["channel"], case["channel"]
    )
    conf = {**conf, "channel": channel}
    if case.get("path"):
        conf["path"] = case["path"]
    return [
        {**document, "@timestamp": case["now"], "_conf": conf} for document in pushed(folder, case)
    ]


def _agent_fields(case, settings):
    """Return the fields that the agent itself adds to every document."""
    namespace = fill_in(CommonSettings, case.get("common", {})).namespace
    tags = ["preserve_duplicate_custom_fields"]
    if getattr(settings, "keep_original", False):
        tags.append("preserve_original_event")
    return {
        "agent": {"type": "filebeat"},
        "data_stream": {"namespace": namespace},
        "tags": tags,
    }
