"""What an agent's inputs send of a case, as documents for the pipelines; and the cases of which
they cannot send the same."""

import base64
import gzip
import json
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pingintelligence.ingest import SHARED
from pingintelligence.reports import REPORTS

from cases import Exchange, given_by, played
from siemtap.core.convert import millis_of
from siemtap.core.forms import Every
from siemtap.core.manifest import fill_in

# Case -> why the package does not make of it what Python does. What is sent at all becomes one
# `pipeline_error` event, with the whole of it.
OTHERWISE = {
    "a_wrapper_around_the_array": (
        "one document cannot become several in a pipeline: the wrapper is kept whole"
    ),
    "two_lines_in_one_datagram_and_no_priority": (
        "one document cannot become several in a pipeline: the datagram is kept whole"
    ),
    "slacks_text_as_a_form": "http_endpoint takes JSON only, and answers 400",
    "json_cut_in_the_middle": "http_endpoint takes JSON only, and answers 400",
    "not_utf_8": "http_endpoint takes JSON only, and answers 400",
    "gzip_that_is_none": "http_endpoint answers 400",
    "what_is_no_event": (
        "http_endpoint takes objects, alone or in an array, and answers 400 to all else"
    ),
}


def evaluated(mito, program, state):
    """What a CEL expression makes of a state."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "state.json").write_text(json.dumps(state))
        (Path(folder) / "program.cel").write_text(program)
        done = subprocess.run(
            [mito, "-data", Path(folder) / "state.json", Path(folder) / "program.cel"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pushed(folder, given):
    """What an input that listens makes of a payload; nothing of what http_endpoint refuses."""
    (path,) = folder.glob("payload.*")
    body = base64.b64decode(path.read_bytes()) if given.get("base64") else path.read_bytes()
    # a datagram; lines of a stream or a file, or one frame that is counted
    if given["channel"] != "webhook":
        said = body.decode("utf-8", "replace")
        return [
            {"message": one}
            for one in (
                said.splitlines()
                if given["channel"] == "replay"
                or (
                    given["channel"] != "udp"
                    and all(line.startswith("<") for line in said.splitlines())
                )
                else [said]
            )
        ]
    try:
        said = json.loads(
            (
                gzip.decompress(body)
                if "gzip" in given.get("headers", {}).get("content-encoding", "")
                else body
            ).decode("utf-8-sig")
        )
    except (ValueError, OSError):
        return []
    found = said if isinstance(said, list) else [said]
    return (
        [{"_record": one} for one in found] if all(isinstance(one, dict) for one in found) else []
    )


def answered(folder, given, settings, records, mito):
    """What ABS's answers become in a program: pieces of attacks, reports as they are, with the
    hours that were asked for."""
    found = []
    for (_, url), _, _, reply in Exchange(
        (folder / "exchange.http").read_text(encoding="utf-8")
    ).pairs:
        query = {name: one for name, (one,) in parse_qs(urlsplit(url).query).items()}
        path = urlsplit(url).path.partition("/abs/")[2]
        if reply.status != 200 or not reply.body.strip():
            continue
        try:
            said = json.loads(reply.body)
        except ValueError:
            continue
        if path == "attack":
            if isinstance(said, dict) and evaluated(
                mito, f"state.said.as(said, {SHARED['$refused(said)']})", {"said": said}
            ):
                continue
            state = {
                "said": said,
                "asked": {"type": int(query["type"]), "api": query.get("api", "")},
                "role": settings.role,
                "hash_identifiers": settings.hash_identifiers,
            }
            pieces = evaluated(
                mito, f"state.said.as(said, state.asked.as(asked, {SHARED['$pieces']}))", state
            )
            counts = {}
            for piece in pieces:
                counts.setdefault(piece["id"], {**piece, "count": 0})["count"] += 1
            found += counts.values()
        elif path == "admin":
            if isinstance(said, dict) and isinstance(said.get("license_info"), dict):
                found.append({"licence": said, "asked": millis_of(given["now"])})
        elif path != "attacklist" and said and records:
            report = next(report for report in REPORTS.values() if report.path == path)
            found.append(
                {
                    "said": said,
                    "name": report.name,
                    "api": query.get("api", ""),
                    "earlier": records[0]["@from"],
                    "later": records[0]["@until"],
                }
            )
    return found


def documents(folder, plugin, dataset, wanted, mito):
    """(documents, the events that Python makes) of a dataset. `wanted`: the settings that the
    pipeline reads."""
    given, settings, _, _ = given_by(folder, plugin)
    namespace = fill_in(Every, given.get("every", {})).namespace
    conf = {name: getattr(settings, name) for name in wanted}
    rest = {
        "agent": {"type": "filebeat"},
        "data_stream": {"namespace": namespace},
        "tags": [
            "preserve_duplicate_custom_fields",
            *(["preserve_original_event"] if getattr(settings, "keep_original", False) else []),
        ],
    }
    records = [one for one in played(folder, plugin) if one[1] is dataset]
    if "channel" in given:
        if dataset is not plugin.datasets[0]:
            return [], []
        channel = {"webhook": "http_endpoint", "tls": "tcp", "replay": "filestream"}.get(
            given["channel"], given["channel"]
        )
        sent = [
            {
                **one,
                "@timestamp": given["now"],
                "_conf": {
                    **conf,
                    "channel": channel,
                    **({"path": given["path"]} if given.get("path") else {}),
                },
            }
            for one in pushed(folder, given)
        ]
    elif (
        dataset.name in ("pingintelligence.attack", "pingintelligence.report")
        and given["dataset"] == dataset.name
    ):
        until = records[0][3] if records else given["now"]
        sent = [
            {"message": json.dumps(one), "_conf": {**conf, "channel": "cel", "until": until}}
            for one in answered(
                folder, given, settings, [record for _, _, record, _, _ in records], mito
            )
        ]
    else:
        sent = [
            {"message": json.dumps(record), "_conf": {**conf, "channel": "cel", "until": until}}
            for _, _, record, until, _ in records
        ]
    return [{**one, **rest} for one in sent], [event for *_, event in records]
