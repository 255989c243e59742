"""Configurations, outputs and events for a real OpenSearch node, and what the node has stored."""

import json

from click.testing import CliRunner

from apptrana import simulator
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.outputs.elasticsearch.output import Opensearch
from siemtap.outputs.elasticsearch.settings import Settings
from siemtap.shipper.cli.main import main
from siemtap.testing.cases import all_folders

UNIT = Unit("it", "apptrana.attack")
STREAM = "logs-apptrana.attack-default"


def output(node, **more):
    return Opensearch(fill_in(Settings, {"hosts": [node.url], **more}))


def configured(node, folder, url="http://127.0.0.1:9", **more):
    path = folder / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(folder / "data")},
                "http": {"enabled": False},
                "output": {"opensearch": {"hosts": [node.url]}},
                "inputs": [
                    {
                        "type": "apptrana",
                        "url": url,
                        "client_id": "demo",
                        "client_secret": "demo-secret",
                        **more,
                    }
                ],
            }
        )
    )
    return str(path)


def install(node, folder):
    done = CliRunner().invoke(main, ["setup", "-c", configured(node, folder)])
    assert done.exit_code == 0, done.output


def simulated(**knobs):
    return simulator.Simulator(simulator.Knobs(odd=False, **knobs))


def stored(node, place=STREAM):
    """Return the ids of all copies of all events, sorted."""
    node.ask("POST", f"/{place}/_refresh")
    ids, after = [], None
    while True:
        body = {
            "size": 5_000,
            "sort": [{"event.id": "asc"}, {"_index": "asc"}],
            "_source": False,
            **({"search_after": after} if after else {}),
        }
        hits = node.ask("POST", f"/{place}/_search", json=body).json()["hits"]["hits"]
        ids += [hit["_id"] for hit in hits]
        if len(hits) < 5_000:
            return sorted(ids)
        after = hits[-1]["sort"]


def events_of(number, start=0):
    record = json.loads(
        (all_folders()[0].parent / "the_pages_success_response/expected.json").read_text()
    )[0]
    return [
        {**record, "event": {**record["event"], "id": f"{place:032x}"}}
        for place in range(start, start + number)
    ]
