"""_dev/test/policy of the packages: values of a page, and the policy that Fleet makes of them.

The form is that of the policies in elastic/integrations (packages/crowdstrike/data_stream/alert/
_dev/test/policy) and of elastic-package, internal/testrunner/runners/policy/policy.go, which leaves
out ids, versions, outputs and revisions. `elastic-package test policy` needs a Kibana."""

import json

from fleet import page, policies
from ruamel.yaml import YAML

from siemtap.bundles import integration
from siemtap.core.manifest import describe
from siemtap.testing.cases import all_folders, load

# What a person enters where the sample of a dataset has no value.
ENTERED = {
    "text": "test",
    "password": "test",
    "integer": 1,
    "bool": True,
    "url": "https://api.example.com",
}
YAML_OF = {
    "processors": "- add_tags:\n    tags: [test]\n",
    "ssl": "verification_mode: full\n",
    "http_endpoint_options": "hmac.header: X-Signature\n",
}
PERMISSIONS = {
    "_elastic_agent_checks": {"cluster": ["monitor"]},
    "_elastic_agent_monitoring": {"indices": []},
}


def policy_tests(plugin):
    """Return the files of a package's policy tests: path -> content, before it is written as YAML.

    Each input of each data stream has two: `default`, with what is required alone, and `all`, with
    every option switched on or filled in."""
    files = {}
    for name, stream in integration.described(plugin).streams.items():
        for way in stream.ways:
            variables = page(plugin.name, name, way.input)
            required = entered(plugin, stream, variables, only_required=True)
            everything = entered(plugin, stream, variables, only_required=False)
            for test, values in (("default", required), ("all", everything)):
                place = (
                    f"data_stream/{name.partition('.')[2]}/_dev/test/policy"
                    f"/test-{way.input.replace('_', '-')}-{test}"
                )
                files[f"{place}.yml"] = configuration(plugin, name, way, values)
                files[f"{place}.expected"] = expected(
                    plugin, name, way, variables, values, place.rpartition("/")[2]
                )
    return files


def entered(plugin, stream, variables, only_required):
    """Return what a person enters: name -> value. That of the sample case where there is one."""
    folder = next(
        folder
        for folder in all_folders()
        if folder.parents[1].name == plugin.name and folder.name == stream.sample
    )
    given, *_ = load(folder, plugin)
    kinds = {s["name"]: s["kind"] for s in describe(plugin.settings)}
    values = {}
    for name, of in variables.items():
        if only_required and (not of["required"] or "default" in of):
            continue
        if name in given["settings"] and of["type"] != "select":
            value = given["settings"][name]
        elif of["type"] == "select":
            value = of["options"][0]["value"]
        elif "default" in of and of["type"] != "bool":
            value = of["default"]
        elif of["type"] == "yaml":
            value = YAML_OF[name]
        else:
            value = ENTERED["url" if kinds.get(name) == "url" else of["type"]]
        values[name] = [value] if of["multi"] and not isinstance(value, list) else value
    return values


def configuration(plugin, name, way, values):
    """Return test-*.yml: the variables of the package's input, and those of the data stream."""
    own = page_of_stream(plugin, name, way)
    shared = {key: value for key, value in values.items() if key not in own}
    inner = {key: value for key, value in values.items() if key in own}
    return {
        "input": way.input,
        **({"vars": shared} if shared else {}),
        **({"data_stream": {"vars": inner}} if inner else {}),
    }


def page_of_stream(plugin, name, way):
    """Return the names of the variables that the data stream's manifest declares."""
    place = f"data_stream/{name.partition('.')[2]}/manifest.yml"
    streams = YAML(typ="safe").load(integration.files(plugin)[place])["streams"]
    (inner,) = [stream for stream in streams if stream["input"] == way.input]
    return {variable["name"] for variable in inner["vars"]}


def expected(plugin, name, way, variables, values, test):
    """Return test-*.expected: the policy as elastic-package compares it. A secret has a number, by
    its place on the page."""
    secrets = [key for key in variables if variables[key].get("secret") and key in values]
    hidden = {key: f"${{SECRET_{number}}}" for number, key in enumerate(secrets)}
    (policy,) = policies(plugin.name, name, way.input, {**values, **hidden})
    stream = {**policy, "data_stream": {"dataset": name}}
    permissions = {
        "indices": [{"names": [f"logs-{name}-ep"], "privileges": ["auto_configure", "create_doc"]}]
    }
    return {
        "inputs": [
            {
                "data_stream": {"namespace": "ep"},
                "meta": {"package": {"name": plugin.name}},
                "name": f"{test}-{plugin.name}",
                "streams": [stream],
                "type": way.input,
                "use_output": "default",
            }
        ],
        "output_permissions": {
            "default": {**PERMISSIONS, "uuid-for-permissions-on-related-indices": permissions}
        },
        "secret_references": json.loads(json.dumps([{}] * len(secrets))),
    }
