"""The packages by Elastic's own tool: formatted, linted, built, their samples checked, and their
pipelines tested with what our cases hold.

`ci/live elastic-package` builds the tool, which takes minutes."""

import io
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import elastic
import pytest
from agent_sends import OTHERWISE, documents
from check_ingest import made, put
from elastic_shim import Shim
from ruamel.yaml import YAML
from search_node import Node

from cases import folders, given_by
from siemtap.core.manifest import describe
from siemtap.render import painless

TOOLS = Path(os.environ.get("SIEMTAP_ELASTIC_TOOLS", "/nowhere"))


# Of these the tool thinks otherwise, or cannot be asked.
NOT_HERE = {
    "the_pages_success_response": (
        "the vendor's own sample has an address outside the documentation ranges, which the tool"
        " does not allow"
    ),
    "deep_security_json_intrusions_alone": (
        "what the pipeline drops has no line in the tool's expectation"
    ),
}


@pytest.fixture(scope="module")
def node():
    with Node() as found:
        yield found


@pytest.fixture
def shim(node):
    with Shim(node.url) as found:
        yield found
        found.shutdown()


@pytest.fixture(scope="module")
def tree(tmp_path_factory, node):
    """The packages as Elastic's repository would have them: with their tests."""
    top = tmp_path_factory.mktemp("integrations")
    subprocess.run(["git", "init", "-q", top], check=True)
    for name, plugin in elastic.packaged().items():
        for path, content in {**elastic.contents(plugin), **cases_of(plugin, node)}.items():
            (top / "packages" / name / path).parent.mkdir(parents=True, exist_ok=True)
            (top / "packages" / name / path).write_bytes(content)
    return top


def system_cases(plugin):
    """_dev/test/system and _dev/deploy: for each program, the case that is the dataset's sample,
    played by Elastic's mock of a server. They need Docker and a stack, and are looked at by lint
    and check only; which image plays the server is said by whoever runs them, as
    ELASTIC_STREAM_IMAGE."""
    found, services = {}, {}
    for name, stream in elastic.described(plugin).streams.items():
        way = next((way for way in stream.ways if way.input == "cel"), None)
        folder = next(
            folder
            for folder in folders()
            if folder.parents[1].name == plugin.name and folder.name == stream.sample
        )
        if way is None:
            continue
        service, (given, _, _, exchange) = (
            name.replace(".", "-").replace("_", "-"),
            given_by(folder, plugin),
        )
        rules = {}
        for (method, url), _, _, reply in exchange.pairs:
            rule = rules.setdefault(
                (method, urlsplit(url).path),
                {"path": urlsplit(url).path, "methods": [method], "responses": []},
            )
            rule["responses"].append(
                {
                    "status_code": reply.status,
                    "headers": {"Content-Type": ["application/json"]},
                    "body": reply.body.decode(),
                }
            )
        found[f"_dev/deploy/docker/files/{service}.yml"] = yaml({"rules": list(rules.values())})
        services[service] = {
            "image": "${ELASTIC_STREAM_IMAGE}",
            "ports": [8080],
            "volumes": ["./files:/files:ro"],
            "command": f"http-server --addr=:8080 --config=/files/{service}.yml",
        }
        there = {s["name"]: s for s in describe(plugin.settings)}
        base = urlsplit(exchange.pairs[0][0][1])
        path = (
            base.path[: len(base.path) - len("/siem/v1/getAuthToken")]
            if base.path.endswith("getAuthToken")
            else ""
        )
        address = f"http://{{{{Hostname}}}}:{{{{Port}}}}{path}"
        said = {
            **{one: value for one, value in given["settings"].items() if one in way.account},
            **{
                one: [address] if there[one]["kind"] == "many" else address
                for one in ("url", "login_url", "ips_url")
                if one in way.account
            },
        }
        own = {
            one: value
            for one, value in given["settings"].items()
            if one in way.own and one not in ("lookback", "types")
        }
        scope = given.get("scope", "").rpartition("/")  # an API, or "report/API"
        own.update(
            {"apis": [scope[2]]} if "apis" in way.own and scope[2] else {},
            **({"reports": [scope[0]]} if scope[0] else {}),
        )
        found[f"data_stream/{name.partition('.')[2]}/_dev/test/system/test-cel-config.yml"] = yaml(
            {
                "input": "cel",
                "service": service,
                "vars": said,
                **({"data_stream": {"vars": own}} if own else {}),
                "assert": {"hit_count": len(json.loads((folder / "expected.json").read_text()))},
            }
        )
    found["_dev/deploy/docker/docker-compose.yml"] = yaml({"version": "2.3", "services": services})
    return found


def yaml(said):
    writer, out = YAML(), io.StringIO()
    writer.default_flow_style, writer.width = False, 4_096
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(said, out)
    return out.getvalue().encode()


def cases_of(plugin, node):
    """_dev/test: every case as a pipeline test; which document becomes which of Python's events
    is asked of the node."""
    found = system_cases(plugin)
    for name, stream in elastic.described(plugin).streams.items():
        place, dataset = f"data_stream/{name.partition('.')[2]}/_dev/test", plugin.dataset(name)
        put(node, plugin, dataset)
        found[f"{place}/pipeline/test-common-config.yml"] = (
            b'dynamic_fields:\n  "event.ingested": ".*"\n'
        )
        for folder in folders():
            if folder.parents[1].name == plugin.name and folder.name not in {*OTHERWISE, *NOT_HERE}:
                docs, events = documents(
                    folder,
                    plugin,
                    dataset,
                    {*painless.settings_of(dataset), *stream.reads},
                    TOOLS / "mito",
                )
                # the tool takes no errors
                pairs = [
                    (doc, event)
                    for doc, event in zip(
                        docs, made(node, dataset, docs) if docs else [], strict=True
                    )
                    if event["event"]["kind"] != "pipeline_error"
                ]
                if pairs and all(event in events for _, event in pairs):
                    case = f"{place}/pipeline/test-{folder.name.replace('_', '-')}.json"
                    found[case] = written(
                        {
                            "events": [
                                {key: value for key, value in doc.items() if key != "agent"}
                                for doc, _ in pairs
                            ]
                        }
                    )
                    found[f"{case}-expected.json"] = written(
                        {
                            "expected": [
                                {**events[events.index(event)], "tags": doc["tags"]}
                                for doc, event in pairs
                            ]
                        }
                    )
    return found


def written(said):
    return (json.dumps(said, ensure_ascii=False, indent=4, sort_keys=True) + "\n").encode()


@pytest.mark.parametrize("name", elastic.packaged())
@pytest.mark.parametrize(
    "words", ["format --fail-fast", "lint", "check", "test static", "test pipeline"]
)
def test_elastic_package(tree, shim, name, words):
    environment = {
        **os.environ,
        "ELASTIC_PACKAGE_DATA_HOME": str(tree / "home"),
        "ELASTIC_PACKAGE_CHECK_UPDATE_DISABLED": "true",
        "ELASTIC_PACKAGE_ELASTICSEARCH_HOST": shim.url,
        "ELASTIC_PACKAGE_ELASTICSEARCH_USERNAME": "x",
        "ELASTIC_PACKAGE_ELASTICSEARCH_PASSWORD": "x",
        "ELASTIC_PACKAGE_KIBANA_HOST": shim.url,
    }
    done = subprocess.run(
        [TOOLS / "elastic-package", *words.split()],
        cwd=tree / "packages" / name,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
