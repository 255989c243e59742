"""The part of Fleet that the tests of the Elastic packages need: the variables of a settings
page, the policies made of them, an agent with such a policy, and the installed templates."""

import json
import subprocess
from pathlib import Path

from agent import Agent
from cache import CACHE
from ingest import TOOLS, put
from ruamel.yaml import YAML

from siemtap.bundles import integration
from siemtap.core.paths import nest
from siemtap.elastic.package.model import PULLED
from siemtap.render import registry

FLEET = Path(__file__).parent / "elastic/fleet.js"
WAYS = [
    (name, dataset, way.input)
    for name, plugin in integration.packaged().items()
    for dataset, stream in integration.described(plugin).streams.items()
    for way in stream.ways
]


def way_of(name, dataset, kind):
    return next(
        way
        for way in integration.described(registry.plugin(name)).streams[dataset].ways
        if way.input == kind
    )


def page(name, dataset, kind):
    """Return the variables of the integration and of the input: name -> as in the manifests."""
    files = integration.files(registry.plugin(name))
    read = YAML(typ="safe").load
    inputs = read(files["manifest.yml"])["policy_templates"][0]["inputs"]
    streams = read(files[f"data_stream/{dataset.partition('.')[2]}/manifest.yml"])["streams"]
    return {
        variable["name"]: variable
        for some in (
            next(entry for entry in inputs if entry["type"] == kind),
            next(entry for entry in streams if entry["input"] == kind),
        )
        for variable in some["vars"]
    }


def policies(name, dataset, kind, values, optional=()):
    """Return the policies that Fleet makes of the values of a page, one for every combination of
    the optional variables."""
    variables = page(name, dataset, kind)
    filled = {**{key: of["default"] for key, of in variables.items() if "default" in of}, **values}
    assert filled.keys() <= variables.keys(), filled.keys() - variables.keys()
    given = {
        "template": integration.files(registry.plugin(name))[
            f"data_stream/{dataset.partition('.')[2]}/agent/stream/{kind}.yml.hbs"
        ],
        "vars": filled,
        "optional": list(optional),
        "yaml": [key for key, of in variables.items() if of["type"] == "yaml"],
    }
    done = subprocess.run(
        ["node", FLEET, CACHE / "handlebars-4.7.8/node_modules"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[:3000]
    return json.loads(done.stdout)


def new_agent(server, dataset, **changed):
    """Return an agent that collects a dataset from a simulator, with these settings changed."""
    name = dataset.partition(".")[0]
    variables = page(name, dataset, PULLED)
    (policy,) = policies(
        name,
        dataset,
        PULLED,
        {
            key: [value] if variables[key]["multi"] and not isinstance(value, list) else value
            for key, value in {**server.simulated.settings(server.url), **changed}.items()
            if key in variables
        },
    )
    return Agent(TOOLS / "mito", policy)


def installed(node, plugin):
    """Install a package as Fleet does: pipelines, and an index template of priority 200 with the
    fields of the package. What OpenSearch names differently or lacks is replaced."""
    files = integration.files(plugin)
    for name in integration.described(plugin).streams:
        put(node, plugin, plugin.dataset(name))
        mapping = {}
        for path, text in files.items():
            if path.startswith(f"data_stream/{name.partition('.')[2]}/fields/"):
                for row in YAML(typ="safe").load(text):
                    spec = {
                        key: value
                        for key, value in row.items()
                        if key not in ("name", "description")
                    }
                    forms = spec.pop("multi_fields", [])
                    if forms:
                        spec["fields"] = {form["name"]: {"type": form["type"]} for form in forms}
                    if spec["type"] in ("flattened", "constant_keyword"):
                        spec = {
                            "flattened": {"type": "flat_object"},
                            "constant_keyword": spec if "value" in spec else {"type": "keyword"},
                        }[spec["type"]]
                    if spec["type"] != "group":  # an object in the package's own notation
                        mapping[row["name"]] = spec
        body = {
            "index_patterns": [f"logs-{name}-*"],
            "data_stream": {},
            "priority": 200,
            "template": {
                "settings": {
                    "index.default_pipeline": f"{name}-default",
                    "index.number_of_replicas": 0,
                },
                "mappings": {
                    "dynamic": False,
                    "properties": nest(mapping, between="properties"),
                },
            },
        }
        answer = node.ask("PUT", f"/_index_template/logs-{name}", json=body)
        assert answer.ok, answer.text[:1000]
