"""The packages checked with elastic-package: format, lint, build, samples, and pipeline tests and
benchmarks made from the cases. The policy tests are only linted: they need a Kibana.

`ci/live elastic-package` builds the tool, which takes minutes."""

import io
import json
import os
import subprocess
from urllib.parse import urlsplit

import pytest
from agent_sends import OTHERWISE, documents
from dev_policies import policy_tests
from elastic_shim import Shim
from ingest import TOOLS, processed, put
from ruamel.yaml import YAML

from siemtap.bundles import integration
from siemtap.core.manifest import describe
from siemtap.elastic import painless
from siemtap.render import registry
from siemtap.testing.cases import all_folders, load

# Checks in which the tool differs, or that it cannot run here.
NOT_HERE = {
    "the_pages_success_response": (
        "the vendor's own sample has an address outside the documentation ranges, which the tool"
        " does not allow"
    ),
    "deep_security_json_intrusions_alone": (
        "what the pipeline drops has no line in the tool's expectation"
    ),
}


@pytest.fixture
def shim(node):
    with Shim(node.url) as shim:
        yield shim
        shim.shutdown()


@pytest.fixture(scope="module")
def tree(tmp_path_factory, node):
    """Return the packages in the layout of Elastic's repository, with their tests."""
    top = tmp_path_factory.mktemp("integrations")
    subprocess.run(["git", "init", "-q", top], check=True)
    for name, plugin in integration.packaged().items():
        policies = {path: yaml(content) for path, content in policy_tests(plugin).items()}
        written_here = {**integration.contents(plugin), **cases_of(plugin, node), **policies}
        for path, content in written_here.items():
            (top / "packages" / name / path).parent.mkdir(parents=True, exist_ok=True)
            (top / "packages" / name / path).write_bytes(content)
    return top


def system_cases(plugin):
    """Write _dev/test/system and _dev/deploy: for each program the case that is the sample of
    its dataset, played by Elastic's stream server. They need Docker and a stack, so that only
    lint and check read them. ELASTIC_STREAM_IMAGE names the image of the server."""
    files, services = {}, {}
    for name, stream in integration.described(plugin).streams.items():
        way = next((way for way in stream.ways if way.input == "cel"), None)
        folder = next(
            folder
            for folder in all_folders()
            if folder.parents[1].name == plugin.name and folder.name == stream.sample
        )
        if way is None:
            continue
        service, (given, _, _, exchange) = (
            name.replace(".", "-").replace("_", "-"),
            load(folder, plugin),
        )
        rules = {}
        for (line, _, _), reply in exchange.pairs:
            method, _, url = line.partition(" ")
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
        files[f"_dev/deploy/docker/files/{service}.yml"] = yaml({"rules": list(rules.values())})
        services[service] = {
            "image": "${ELASTIC_STREAM_IMAGE}",
            "ports": [8080],
            "volumes": ["./files:/files:ro"],
            "command": f"http-server --addr=:8080 --config=/files/{service}.yml",
        }
        there = {s["name"]: s for s in describe(plugin.settings)}
        base = urlsplit(exchange.pairs[0][0][0].partition(" ")[2])
        path = (
            base.path[: len(base.path) - len("/siem/v1/getAuthToken")]
            if base.path.endswith("getAuthToken")
            else ""
        )
        address = f"http://{{{{Hostname}}}}:{{{{Port}}}}{path}"
        values = {
            **{key: value for key, value in given["settings"].items() if key in way.account},
            **{
                key: [address] if there[key]["kind"] == "many" else address
                for key in ("url", "login_url", "ips_url")
                if key in way.account
            },
        }
        own = {
            key: value
            for key, value in given["settings"].items()
            if key in way.own and key not in ("lookback", "types")
        }
        scope = given.get("scope", "").rpartition("/")  # an API, or "report/API"
        own.update(
            {"apis": [scope[2]]} if "apis" in way.own and scope[2] else {},
            **({"reports": [scope[0]]} if scope[0] else {}),
        )
        files[f"data_stream/{name.partition('.')[2]}/_dev/test/system/test-cel-config.yml"] = yaml(
            {
                "input": "cel",
                "service": service,
                "vars": values,
                **({"data_stream": {"vars": own}} if own else {}),
                "assert": {"hit_count": len(json.loads((folder / "expected.json").read_text()))},
            }
        )
    files["_dev/deploy/docker/docker-compose.yml"] = yaml({"version": "2.3", "services": services})
    return files


def yaml(value):
    writer, out = YAML(), io.StringIO()
    writer.default_flow_style, writer.width = False, 1_000_000
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(value, out)
    return out.getvalue().encode()


def cases_of(plugin, node):
    """Write _dev/test: every case as a pipeline test. The node tells which document becomes
    which of Python's events."""
    files = system_cases(plugin)
    for name, stream in integration.described(plugin).streams.items():
        place, dataset = f"data_stream/{name.partition('.')[2]}/_dev/test", plugin.dataset(name)
        put(node, plugin, dataset)
        samples = []
        files[f"{place}/pipeline/test-common-config.yml"] = (
            b'dynamic_fields:\n  "event.ingested": ".*"\n'
        )
        for folder in all_folders():
            if folder.parents[1].name == plugin.name and folder.name not in {*OTHERWISE, *NOT_HERE}:
                docs, events = documents(
                    folder,
                    plugin,
                    dataset,
                    {*painless.settings_of(dataset), *stream.reads},
                    TOOLS / "mito",
                )
                # the tool does not accept errors
                pairs = [
                    (doc, event)
                    for doc, event in zip(
                        docs, processed(node, dataset, docs) if docs else [], strict=True
                    )
                    if event["event"]["kind"] != "pipeline_error"
                ]
                samples += [doc for doc, _ in pairs]
                if pairs and all(event in events for _, event in pairs):
                    case = f"{place}/pipeline/test-{folder.name.replace('_', '-')}.json"
                    files[case] = written(
                        {
                            "events": [
                                {key: value for key, value in doc.items() if key != "agent"}
                                for doc, _ in pairs
                            ]
                        }
                    )
                    files[f"{case}-expected.json"] = written(
                        {
                            "expected": [
                                {**events[events.index(event)], "tags": doc["tags"]}
                                for doc, event in pairs
                            ]
                        }
                    )
        bench = f"data_stream/{name.partition('.')[2]}/_dev/benchmark/pipeline"
        files[f"{bench}/records.json"] = written({"events": samples})
        files[f"{bench}/config.yml"] = b"num_docs: 1000\n"
    return files


def written(value):
    return (json.dumps(value, ensure_ascii=False, indent=4, sort_keys=True) + "\n").encode()


@pytest.mark.parametrize("name", integration.packaged())
@pytest.mark.parametrize(
    "command",
    [
        "format --fail-fast",
        "lint",
        "check",
        "build --skip-validation=false",
        "test static",
        "test pipeline",
        "benchmark pipeline",
    ],
)
def test_elastic_package(tree, shim, name, command):
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
        [TOOLS / "elastic-package", *command.split()],
        cwd=tree / "packages" / name,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    if command.startswith("benchmark"):
        streams = integration.described(registry.plugin(name)).streams
        assert done.stdout.count("│ doc_count        │ 1000 │") >= len(streams), done.stdout
