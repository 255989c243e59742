"""The Elastic packages: package-spec, the policies that Fleet makes of them, and their index
templates beside those of `siemtap setup`. `ci/bundle` builds the tools. The programs:
check_programs.py. The pipelines: check_ingest.py."""

import json
import shutil
import subprocess
import zipfile

import pytest
from agent import TAKEN_AWAY
from agent_sends import documents
from cluster import install
from fleet import WAYS, installed, page, policies, way_of
from ingest import TOOLS

from apptrana.mapping import ATTACK
from siemtap.bundles import archive, integration
from siemtap.elastic.package.form import INPUT_OPTIONS
from siemtap.elastic.package.manifests import FORMAT, KIBANA
from siemtap.elastic.package.model import PULLED
from siemtap.elastic.painless import settings_of
from siemtap.render import registry
from siemtap.testing.cases import all_folders

NEWEST = "3.6.0"


@pytest.fixture(params=integration.packaged(), scope="module")
def package(request):
    return registry.plugin(request.param)


@pytest.fixture
def folder(package, tmp_path):
    return written(package, tmp_path)


def written(package, tmp_path, form=FORMAT):
    """Write a package, as one of this format."""
    top = tmp_path / package.name
    for path, content in integration.contents(package).items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content)
    text = (top / "manifest.yml").read_text()
    (top / "manifest.yml").write_text(
        text.replace(f"format_version: {FORMAT}", f"format_version: {form}")
    )
    return top


def speccheck(path):
    done = subprocess.run([TOOLS / "speccheck", path], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_package_is_valid_and_reproducible(package, folder, tmp_path):
    once, again = (archive.zipped(package.name, integration.contents(package)) for _ in range(2))
    (tmp_path / "x.zip").write_bytes(once)
    assert once == again and speccheck(folder) == speccheck(tmp_path / "x.zip") == (0, "")
    with zipfile.ZipFile(tmp_path / "x.zip") as file:
        assert file.testzip() is None and {info.date_time for info in file.infolist()} == {
            archive.ZIP_TIME
        }


def test_package_follows_the_rules_of_the_newest_format(package, tmp_path):
    """Tags of processors, for example, which older Kibanas do not ask for."""
    assert speccheck(written(package, tmp_path, NEWEST)) == (0, "")


@pytest.mark.parametrize(
    "path, old, new",
    [
        (
            "data_stream/attack/elasticsearch/ingest_pipeline/default.yml",
            "tag: ingested",
            "description: x",
        ),
        (
            "data_stream/attack/elasticsearch/ingest_pipeline/default.yml",
            "value: pipeline_error",
            "value: alert",
        ),
        ("data_stream/attack/manifest.yml", "type: bool", "type: boolish"),
        ("data_stream/attack/agent/stream/cel.yml.hbs", "{{/if}}", "{{/iff}}"),
        ("manifest.yml", "- security", "- securityy"),
        ("data_stream/attack/fields/ecs.yml", "type: ip", "type: address"),
    ],
)
def test_speccheck_detects_a_planted_defect(tmp_path, path, old, new):
    folder = written(registry.plugin("apptrana"), tmp_path, NEWEST)
    text = (folder / path).read_text()
    assert old in text
    (folder / path).write_text(text.replace(old, new, 1))
    assert speccheck(folder)[0] == 1


# Format of packages -> the Kibanas that take it, of each major version from which minor version on:
# elastic/integrations, "Guidelines for the format version to use in a package"; elastic/kibana
# pull request 261362.
KIBANAS = {
    (3, 0): {8: 0, 9: 0},
    (3, 1): {8: 16, 9: 0},
    (3, 2): {8: 16, 9: 0},
    (3, 3): {8: 16, 9: 0},
    (3, 4): {8: 19, 9: 1},
    (3, 5): {9: 2},
    (3, 6): {9: 4},
}


def test_every_kibana_of_the_condition_takes_the_format():
    major, minor, _ = map(int, FORMAT.split("."))
    taken = KIBANAS[major, minor]
    for oldest in KIBANA.split(" || "):
        kibana, since, _ = map(int, oldest.lstrip("^").split("."))
        assert kibana in taken and since >= taken[kibana], (FORMAT, oldest)


@pytest.mark.parametrize("name, dataset", [way[:2] for way in WAYS if way[2] == PULLED])
def test_programs_parse(name, dataset, tmp_path):
    path, source = tmp_path / "program.cel", way_of(name, dataset, PULLED).cel
    path.write_text(source)
    assert subprocess.run([TOOLS / "celparse", path], capture_output=True).returncode == 0
    path.write_text(source.rstrip()[:-1])
    assert subprocess.run([TOOLS / "celparse", path], capture_output=True).returncode == 1


@pytest.mark.parametrize("name, dataset, kind", WAYS)
def test_policy_of_every_combination_of_optional_variables(name, dataset, kind):
    variables = page(name, dataset, kind)
    odd = {
        "text": "it's: a #text, {odd}",
        "password": "'%&*@!",
        "yaml": "- add_tags: {tags: [x]}\n",
        "bool": True,
        "integer": 7,
        "select": "x",
    }
    values = {
        key: [odd["text"]] if of["multi"] else odd[of["type"]]
        for key, of in variables.items()
        if not of["required"]
    }
    values |= {key: "max_message_size: 1KiB\n" for key in values if key.endswith("_options")} | {
        key: (
            {"text": "10m", "integer": 1, "password": "p", "select": of.get("default")}[of["type"]]
            if not of["multi"]
            else ["a"]
        )
        for key, of in variables.items()
        if of["required"] and "default" not in of
    }
    optional = [key for key, of in variables.items() if not of["required"]]
    defaults = {key: of["default"] for key, of in variables.items() if "default" in of}
    filled = {**defaults, **values}
    fleet_policies = policies(name, dataset, kind, values, optional)
    assert len(fleet_policies) == 2 ** len(optional)
    for number, policy in enumerate(fleet_policies):
        given = {key for place, key in enumerate(optional) if number >> place & 1}
        assert [step for step in policy["processors"] or [] if "add_tags" in step] == (
            [{"add_tags": {"tags": ["x"]}}] if "processors" in given else []
        )
        assert (policy["tags"] or []) == [
            key
            for key in ("preserve_original_event", "preserve_duplicate_custom_fields")
            if key in given
        ] + ([odd["text"]] if "tags" in given else [])
        if kind == PULLED:
            # off, its files are deleted: the name is always there
            assert policy["resource.tracer.enabled"] is ("enable_request_tracer" in given)
            assert policy["resource.tracer.filename"].endswith("-*.ndjson")
            for key, option in INPUT_OPTIONS.items():
                wanted = [{"add_tags": {"tags": ["x"]}}] if key == "ssl" else filled[key]
                assert (option in policy) == (key in given or variables[key]["required"])
                assert policy.get(option, wanted) == wanted
        for key in given & set(policy.get("state", {})):
            assert policy["state"][key] == values[key]
        assert all(
            "channel" not in conf["add_fields"]["fields"]
            or conf["add_fields"]["fields"]["channel"] == kind
            for conf in policy["processors"]
            if "add_fields" in conf
        )


@pytest.mark.parametrize("name, dataset", [way[:2] for way in WAYS if way[2] == PULLED])
def test_policy_sets_no_state_that_the_agent_manages(name, dataset):
    """Above all `url`, which is the URL of the resource, whatever the policy has."""
    url = "https://x.example.com"
    filled = {
        key: [url] if of["multi"] else url
        for key, of in page(name, dataset, PULLED).items()
        if key == "url" or (of["required"] and "default" not in of)
    }
    (policy,) = policies(name, dataset, PULLED, filled)
    assert policy["state"].get("url", policy["resource.url"]) == policy[
        "resource.url"
    ] and isinstance(policy["resource.url"], str)
    assert not {"cursor", "events", "want_more", "secret", *TAKEN_AWAY} & policy["state"].keys()


@pytest.mark.parametrize("order", [("siemtap", "package"), ("package", "siemtap")])
def test_setup_and_the_package_in_one_cluster(node, tmp_path, order):
    """In either order both are installed, the template of the package has priority, and events
    of both have the same fields."""
    node.ask("DELETE", "/_data_stream/*")
    for name in ("logs-*", "siemtap*"):
        node.ask("DELETE", f"/_index_template/{name}")
    plugin = registry.plugin("apptrana")
    for source in order:
        install(node, tmp_path) if source == "siemtap" else installed(node, plugin)
    install(node, tmp_path)
    cases = {
        folder.name: folder for folder in all_folders() if folder.parents[1].name == "apptrana"
    }
    (doc, *_), (event, *_) = documents(
        cases["a_blocked_attack"], plugin, ATTACK, settings_of(ATTACK), TOOLS / "mito"
    )
    other = json.loads((cases["the_pages_success_response"] / "expected.json").read_text())[0]
    for document in (
        {**doc, "@timestamp": other["@timestamp"]},
        {**other, "agent": {"type": "siemtap"}},
    ):
        answer = node.ask(
            "POST", "/logs-apptrana.attack-default/_doc?op_type=create", json=document
        )
        assert answer.status_code == 201, answer.text[:1000]
    assert (
        node.ask("GET", "/_data_stream/logs-apptrana.attack-default").json()["data_streams"][0][
            "template"
        ]
        == "logs-apptrana.attack"
    )
    node.ask("POST", "/logs-apptrana.attack-default/_refresh")
    there = {
        hit["_source"]["event"]["id"]: hit["_source"]
        for hit in node.ask("GET", "/logs-apptrana.attack-default/_search").json()["hits"]["hits"]
    }
    for wanted in (event, other):
        got = there[wanted["event"]["id"]]
        assert {name: got[name] for name in wanted if name not in ("event", "user_agent")} == {
            name: value for name, value in wanted.items() if name not in ("event", "user_agent")
        }
        hits = node.ask(
            "GET",
            "/logs-apptrana.attack-default/_search",
            json={
                "query": {
                    "bool": {
                        "filter": [
                            {"term": {"event.id": wanted["event"]["id"]}},
                            {"term": {"source.ip": wanted["source"]["ip"]}},
                        ]
                    }
                }
            },
        ).json()["hits"]["hits"]
        assert len(hits) == 1, "searchable with the types of the package"


def test_tools_are_installed():
    assert all(shutil.which(TOOLS / name) for name in ("speccheck", "celparse", "mito")), (
        "ci/bundle builds them and sets SIEMTAP_ELASTIC_TOOLS"
    )
