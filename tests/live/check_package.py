"""Elastic's packages: their rules by package-spec, what Fleet makes of their templates, their
programs by mito against the vendors' simulators. `ci/bundle` builds the tools. The pipelines:
check_ingest.py."""

import json
import os
import random
import re
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import elastic
import pytest
import requests
from agent import TAKEN_AWAY, Agent
from agent_sends import documents
from cache import CACHE
from centurylink_ips import simulator as centurylink_ips
from check_ingest import DataStream, put
from click.testing import CliRunner
from pingintelligence import attack_list
from pingintelligence import simulator as pingintelligence
from pingintelligence.plugin import HEADERS
from pingintelligence.reports import REPORTS
from ruamel.yaml import YAML
from search_node import Node

from apptrana import simulator as apptrana
from apptrana.mapping import ATTACK
from cases import folders
from siemtap.core.identity import identify
from siemtap.core.manifest import fill_in
from siemtap.core.windows import HOUR, MINUTE
from siemtap.render.package import PULLED
from siemtap.render.painless import settings_of
from siemtap.runners import plugins
from siemtap.runners.cli import main
from siemtap.runners.simulate import Fault, Server

TOOLS = Path(os.environ.get("SIEMTAP_ELASTIC_TOOLS", "/nowhere"))
FLEET = Path(__file__).parent / "elastic/fleet.js"
WAYS = [
    (name, dataset, way.input)
    for name, plugin in elastic.packaged().items()
    for dataset, stream in elastic.described(plugin).streams.items()
    for way in stream.ways
]


def way_of(name, dataset, kind):
    return next(
        way
        for way in elastic.described(plugins.plugin(name)).streams[dataset].ways
        if way.input == kind
    )


def page(name, dataset, kind):
    """The variables of the integration's page and of the input's: name -> as the manifests have
    it."""
    found = elastic.files(plugins.plugin(name))
    read = YAML(typ="safe").load
    inputs = read(found["manifest.yml"])["policy_templates"][0]["inputs"]
    streams = read(found[f"data_stream/{dataset.partition('.')[2]}/manifest.yml"])["streams"]
    return {
        one["name"]: one
        for some in (
            next(one for one in inputs if one["type"] == kind),
            next(one for one in streams if one["input"] == kind),
        )
        for one in some["vars"]
    }


def policies(name, dataset, kind, said, optional=()):
    """What Fleet hands to an agent for a page that is filled in so; one for every set of the
    optional variables."""
    variables = page(name, dataset, kind)
    filled = {**{one: of["default"] for one, of in variables.items() if "default" in of}, **said}
    assert filled.keys() <= variables.keys(), filled.keys() - variables.keys()
    given = {
        "template": elastic.files(plugins.plugin(name))[
            f"data_stream/{dataset.partition('.')[2]}/agent/stream/{kind}.yml.hbs"
        ],
        "vars": filled,
        "optional": list(optional),
        "yaml": [one for one, of in variables.items() if of["type"] == "yaml"],
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


def agent(name, dataset, **said):
    """An agent with a page that is filled in so."""
    variables = page(name, dataset, PULLED)
    (policy,) = policies(
        name,
        dataset,
        PULLED,
        {
            one: [value] if variables[one]["multi"] and not isinstance(value, list) else value
            for one, value in said.items()
            if one in variables
        },
    )
    return Agent(TOOLS / "mito", policy)


@pytest.fixture(scope="module")
def node():
    with Node() as found:
        yield found


@pytest.fixture(params=elastic.packaged(), scope="module")
def package(request):
    return plugins.plugin(request.param)


@pytest.fixture
def folder(package, tmp_path):
    return written(package, tmp_path)


def written(package, tmp_path):
    top = tmp_path / package.name
    for path, content in elastic.contents(package).items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content)
    return top


def speccheck(path):
    done = subprocess.run([TOOLS / "speccheck", path], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_package_spec_and_the_same_bytes(package, folder, tmp_path):
    once, again = (elastic.zipped(package.name, elastic.contents(package)) for _ in range(2))
    (tmp_path / "x.zip").write_bytes(once)
    assert once == again and speccheck(folder) == speccheck(tmp_path / "x.zip") == (0, "")
    with zipfile.ZipFile(tmp_path / "x.zip") as file:
        assert file.testzip() is None and {info.date_time for info in file.infolist()} == {
            elastic.STAMP
        }


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
def test_package_spec_hears_a_planted_fault(tmp_path, path, old, new):
    folder = written(plugins.plugin("apptrana"), tmp_path)
    said = (folder / path).read_text()
    assert old in said
    (folder / path).write_text(said.replace(old, new, 1))
    assert speccheck(folder)[0] == 1


@pytest.mark.parametrize("name, dataset", [one[:2] for one in WAYS if one[2] == PULLED])
def test_the_programs_parse(name, dataset, tmp_path):
    path, source = tmp_path / "program.cel", way_of(name, dataset, PULLED).cel
    path.write_text(source)
    assert subprocess.run([TOOLS / "celparse", path], capture_output=True).returncode == 0
    path.write_text(source.rstrip()[:-1])
    assert subprocess.run([TOOLS / "celparse", path], capture_output=True).returncode == 1


@pytest.mark.parametrize("name, dataset, kind", WAYS)
def test_what_fleet_makes_of_every_set_of_optional_variables(name, dataset, kind):
    variables = page(name, dataset, kind)
    odd = {
        "text": "it's: a #text, {odd}",
        "password": "'%&*@!",
        "yaml": "- add_tags: {tags: [x]}\n",
        "bool": True,
        "integer": 7,
        "select": "x",
    }
    said = {
        one: [odd["text"]] if of["multi"] else odd[of["type"]]
        for one, of in variables.items()
        if not of["required"]
    }
    said |= {one: "max_message_size: 1KiB\n" for one in said if one.endswith("_options")} | {
        one: (
            {"text": "10m", "integer": 1, "password": "p", "select": of.get("default")}[of["type"]]
            if not of["multi"]
            else ["a"]
        )
        for one, of in variables.items()
        if of["required"] and "default" not in of
    }
    optional = [one for one, of in variables.items() if not of["required"]]
    made = policies(name, dataset, kind, said, optional)
    assert len(made) == 2 ** len(optional)
    for number, policy in enumerate(made):
        given = {one for place, one in enumerate(optional) if number >> place & 1}
        assert [one for one in policy["processors"] or [] if "add_tags" in one] == (
            [{"add_tags": {"tags": ["x"]}}] if "processors" in given else []
        )
        assert (policy["tags"] or []) == [
            one
            for one in ("preserve_original_event", "preserve_duplicate_custom_fields")
            if one in given
        ] + ([odd["text"]] if "tags" in given else [])
        for one in given & {"proxy_url", "ssl"} if kind == PULLED else ():
            assert policy[f"resource.{one}"] == (
                odd["text"] if one == "proxy_url" else [{"add_tags": {"tags": ["x"]}}]
            )
        for one in given & set(policy.get("state", {})):
            assert policy["state"][one] == said[one]
        assert all(
            "channel" not in conf["add_fields"]["fields"]
            or conf["add_fields"]["fields"]["channel"] == kind
            for conf in policy["processors"]
            if "add_fields" in conf
        )


@pytest.mark.parametrize("name, dataset", [one[:2] for one in WAYS if one[2] == PULLED])
def test_what_the_agent_keeps_in_a_programs_state_is_its_own(name, dataset):
    """Above all `url`: the resource's, one text, whatever the policy says."""
    url = "https://x.example.com"
    filled = {
        one: [url] if of["multi"] else url
        for one, of in page(name, dataset, PULLED).items()
        if one == "url" or (of["required"] and "default" not in of)
    }
    (policy,) = policies(name, dataset, PULLED, filled)
    assert policy["state"].get("url", policy["resource.url"]) == policy[
        "resource.url"
    ] and isinstance(policy["resource.url"], str)
    assert not {"cursor", "events", "want_more", "secret", *TAKEN_AWAY} & policy["state"].keys()


RUDE = [
    {"status": 429, "retry_after": "1"},
    {"status": 500},
    {"status": 200, "body": "truncated"},
    {"cut": 10},
]


@pytest.mark.parametrize(
    "name, dataset, simulated, call, said, earlier",
    [
        (
            "apptrana",
            "apptrana.attack",
            apptrana.Simulator(apptrana.Knobs(rate=5.0, late=(0.0,))),
            "getAttackInfo",
            {"initial_interval": "30m", "lag": "10s", "overlap": "225s"},
            29 * MINUTE,
        ),
        (
            "apptrana",
            "apptrana.activity",
            apptrana.Simulator(),
            "getActivity",
            {"initial_interval": "4h", "activity_page": 3},
            3 * HOUR,
        ),
        (
            "pingintelligence",
            "pingintelligence.attack",
            pingintelligence.Simulator(pingintelligence.Knobs(apis=("pay & go/v1",), rate=0.03)),
            "attack",
            {"initial_interval": "4h"},
            4 * HOUR - 45 * MINUTE,
        ),
    ],
)
def test_what_reaches_the_cluster_is_the_truth(node, name, dataset, simulated, call, said, earlier):
    """The agent's loop, through 429, 500, an answer that is no JSON or is cut, restarts, two
    deaths between delivery and cursor; a rollover in the middle."""
    server, plugin = Server(simulated), plugins.plugin(name)
    try:
        found = agent(name, dataset, **{**simulated.settings(server.url), **said})
        stream, luck, now = (
            DataStream(node, plugin, plugin.dataset(dataset)),
            random.Random(3),
            int(time.time() * 1000),
        )
        for number in range(12):
            found.ago = 20 * 60 * (11 - number)
            if number in (1, 3, 5, 6):
                simulated.faults.append(
                    Fault(call=call, times=1, **RUDE[(1, 3, 5, 6).index(number)])
                )
            if number == 7 and name == "apptrana":
                simulated.tokens.clear()
            found.cycle(dies_after=2 if number in (0, 9) else 1_000)
            assert (found.error != "") == (number in (1, 3, 5, 6)) or number == 9, (
                number,
                found.error,
            )
            stream.take(found.documents())
            if luck.random() < 0.4 or number in (0, 9):
                found.restart()
            if number in (4, 8):
                stream.roll_over()
        found.cycle()
        stream.take(found.documents())
        settings = fill_in(
            plugin.settings,
            {
                one: value
                for one, value in {
                    **simulated.settings(server.url),
                    "lag": said.get("lag", "30m"),
                }.items()
            },
        )
        start, stop = now - 11 * 20 * MINUTE - earlier, now - settings.lag - 2 * MINUTE
        truth = (
            simulated.ledger(now, start, stop)
            if "activity" not in dataset
            else {
                identify(dataset, ["", action])
                for at, action in simulated.actions(start, stop)
                if start < at < stop
            }
        )
        got = stream.ids()
        assert truth <= got.keys() and len(truth) > 300
        assert set(got.values()) == {1}, [one for one, times in got.items() if times > 1][:3]
        seen = {id for id in (found.cursor or {}).get("seen") or {}} | {
            id
            for mark in (found.cursor or {}).values()
            if isinstance(mark, dict)
            for id in mark.get("seen", {})
        }
        assert seen and (name != "apptrana" or seen <= got.keys()), (
            "the ids that the program computes are those of the events"
        )
        assert stream.strange == []
    finally:
        server.close()


def test_a_wrong_key_is_told_and_nothing_is_skipped():
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=20.0, late=(0.0,))))
    try:
        found = agent(
            "apptrana",
            "apptrana.attack",
            **{**server.simulated.settings(server.url), "client_secret": "wrong-one"},
        )
        found.cycle()
        assert (
            "no token by client_id and client_secret" in found.error
            and "wrong-one" not in found.error
            and found.cursor is None
            and found.taken == []
        )
        assert [document["error"]["message"] for document in found.documents()] == [
            found.error
        ] and found.documents() == []
    finally:
        server.close()


def test_centurylinks_destinations_through_the_agents_loop():
    """The baseline, a change, a token that dies, a server that fails and holds up nobody, a
    restart, a death between delivery and cursor."""
    server = Server(centurylink_ips.Simulator())
    try:
        them, (web, other, db) = server.simulated, server.simulated.knobs.servers
        ours = "https://siem.example.com/hook/a-secret"
        them.installed |= {web, other, db}
        them.destinations[web] = [
            {"typeCode": "WEBHOOK", "url": ours},
            {
                "typeCode": "SYSLOG",
                "sysLogSettings": {"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 16},
            },
        ]
        found = agent(
            "centurylink_ips",
            "centurylink_ips.destination",
            **{**them.settings(server.url), "our_url": "https://siem.example.com/hook"},
        )

        def news():
            found.cycle()
            said, found.taken = [json.loads(event["message"]) for event in found.taken], []
            return sorted((one["server"], one["state"], one.get("target", "")) for one in said), {
                one["asked"] for one in said
            }

        first, asked = news()
        assert (
            first
            == [
                (db, "not_here", ""),
                (web, "set", "192.0.2.10:514/16"),
                (web, "set", "https://siem.example.com/hook/…"),
                (other, "not_here", ""),
            ]
            and len(asked) == 1
            and found.error == ""
        )
        assert "a-secret" not in json.dumps(found.cursor) and news() == ([], set())
        them.destinations[web] = [
            {"typeCode": "WEBHOOK", "url": "https://other.example.com/x/y"},
            them.destinations[web][1],
        ]
        them.destinations[db] = [{"typeCode": "WEBHOOK", "url": ours}]
        them.tokens.clear()
        them.faults.append(Fault(call="notifications", times=1, status=500))
        assert (
            news()[0] == [(db, "created", "https://siem.example.com/hook/…"), (db, "here", "")]
            or found.error
        )
        assert ": 500: refused" in found.error
        found.restart()
        late = news()[0]
        assert (
            (web, "changed", "https://other.example.com/x/…") in late
            and (web, "not_here", "") in late
            and found.error == ""
        )
        them.destinations[other] = [{"typeCode": "EMAIL", "emailAddress": "soc@example.com"}]
        found.cycle(dies_after=3)
        told = [json.loads(event["message"]) for event in found.taken]
        found.restart()
        found.taken = []
        found.cycle()
        again = [json.loads(event["message"]) for event in found.taken]
        assert [one["state"] for one in told] == ["created"] and told == again, (
            "the same words, so the same id"
        )
    finally:
        server.close()


@pytest.mark.parametrize(
    "knobs",
    [{}, {"list_form": "wrapped", "role": "admin"}, {"list_form": "objects", "list_filter": False}],
)
def test_the_deny_list_through_the_agents_loop(knobs):
    """What the agent tells is what Python finds different; through a 500, a cut answer, a death
    between delivery and cursor."""
    server = Server(pingintelligence.Simulator(pingintelligence.Knobs(**knobs)))
    try:
        them, before = server.simulated, None
        settings = them.settings(server.url)
        found, filled = (
            agent("pingintelligence", "pingintelligence.attacklist", **settings),
            fill_in(plugins.plugin("pingintelligence").settings, settings),
        )
        keys = dict(
            zip(HEADERS[settings["role"]], (settings["access_key"], settings["secret_key"]))
        )

        def lists():
            return [
                requests.get(
                    f"{server.url}/v4/abs/attacklist",
                    {
                        "earlier_date": "2017-01-01T00:00",
                        "later_date": "2030-01-01T00:00",
                        "status": status,
                    },
                    headers=keys,
                    timeout=10,
                ).json()
                for status in ("active", "expired")
            ]

        for number in range(4):
            if number == 1:
                them.unblocked |= {
                    "192.0.2.11",
                    "SECRET-listed-token",
                    next(iter(them.entries(int(time.time() * 1000)))),
                }
                for wrong, fault in (("500", {"status": 500}), ("EOF|reset", {"cut": 10})):
                    them.faults.append(Fault(call="attacklist", times=1, **fault))
                    found.cycle()
                    assert re.search(wrong, found.error) and found.taken == []
            if number == 2:
                them.unblocked.clear()
                found.cycle(dies_after=2)
                found.restart()
                died, found.taken = found.taken, []
            now, _ = attack_list.merged(*lists(), filled)
            found.cycle()
            told, found.taken = found.taken, []
            said = [json.loads(event["message"]) for event in told]
            assert found.error == "" and sorted(
                (one["@who"][0], one["name"], one["@who"][1], one["state"]) for one in said
            ) == [(*entry, state) for entry, state in attack_list.changes(before, now)]
            assert number != 2 or sorted(map(json.dumps, told)) == sorted(map(json.dumps, died)), (
                "the same words, so the same ids"
            )
            assert (number in (0, 1, 2)) == (said != []) and "SECRET" not in json.dumps(
                [found.cursor, said]
            )
            before = now
    finally:
        server.close()


def test_reports_through_the_agents_loop():
    """Each once an hour; one that fails holds up nobody, and is told."""
    server = Server(pingintelligence.Simulator(pingintelligence.Knobs(be_name="ealier_date")))
    try:
        them = server.simulated
        wanted = [name for name in REPORTS if name != "threshold"]
        found = agent(
            "pingintelligence",
            "pingintelligence.report",
            **{**them.settings(server.url), "reports": wanted},
        )
        them.faults.append(Fault(call="bc", times=1, status=500))
        found.ago = 7_200
        found.cycle()
        said = [json.loads(event["message"]) for event in found.taken]
        assert (
            "/v4/abs/bc: 500" in found.error
            and [one for one in said if "licence" in one] == said[:1]
        )
        missing = {REPORTS["bc"].name} | {one.name for one in REPORTS.values() if one.admin}
        assert {(one["name"], one["api"]) for one in said[1:]} == {
            (of.name, api)
            for of in REPORTS.values()
            if of.name not in missing
            for api in (them.apis if of.each else [""])
        }
        found.restart()
        found.taken = []
        found.cycle()
        assert [json.loads(event["message"])["name"] for event in found.taken] == [
            REPORTS["bc"].name
        ] and found.error == ""
        found.taken, found.ago = [], 3_600
        found.cycle()
        again = [json.loads(event["message"]) for event in found.taken]
        assert (
            "licence" in again[0]
            and len(again) == len(said) + 1
            and all(one["earlier"] < one["later"] for one in again[1:])
        )
    finally:
        server.close()


def installed(node, plugin):
    """As Fleet installs it: pipelines, and an index template of priority 200 with the package's
    fields. What OpenSearch calls otherwise, or cannot leave open, is put so."""
    found = elastic.files(plugin)
    for name in elastic.described(plugin).streams:
        put(node, plugin, plugin.dataset(name))
        mapping = {}
        for path, text in found.items():
            if path.startswith(f"data_stream/{name.partition('.')[2]}/fields/"):
                for row in YAML(typ="safe").load(text):
                    spec = {
                        key: value
                        for key, value in row.items()
                        if key not in ("name", "description")
                    }
                    if spec["type"] in ("flattened", "constant_keyword"):
                        spec = {
                            "flattened": {"type": "flat_object"},
                            "constant_keyword": spec if "value" in spec else {"type": "keyword"},
                        }[spec["type"]]
                    if spec["type"] != "group":  # a word of the package's for an object
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
                    "properties": nest(
                        {path: spec for path, spec in mapping.items()}, "properties"
                    ),
                },
            },
        }
        answer = node.ask("PUT", f"/_index_template/logs-{name}", json=body)
        assert answer.ok, answer.text[:1000]


def nest(flat, between):
    tree = {}
    for path, spec in flat.items():
        *parents, leaf = path.split(".")
        place = tree
        for name in parents:
            place = place.setdefault(name, {}).setdefault(between, {})
        place[leaf] = spec
    return tree


@pytest.mark.parametrize("order", [("siemtap", "package"), ("package", "siemtap")])
def test_siemtap_and_the_package_side_by_side(node, tmp_path, order):
    """Whichever comes first: both are there, the package's template wins, and what either writes
    is the same kind of event."""
    node.ask("DELETE", "/_data_stream/*")
    for name in ("logs-*", "siemtap*"):
        node.ask("DELETE", f"/_index_template/{name}")
    plugin, config = plugins.plugin("apptrana"), tmp_path / "siemtap.yml"
    config.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "http": {"enabled": False},
                "output": {"opensearch": {"hosts": [node.url]}},
                "inputs": [{"type": "apptrana", "client_id": "x", "client_secret": "y"}],
            }
        )
    )

    def setup():
        done = CliRunner().invoke(main, ["setup", "-c", str(config)])
        assert done.exit_code == 0, done.output

    for one in order:
        setup() if one == "siemtap" else installed(node, plugin)
    setup()
    cases = {folder.name: folder for folder in folders() if folder.parents[1].name == "apptrana"}
    (doc, *_), (event, *_) = documents(
        cases["a_blocked_attack"], plugin, ATTACK, settings_of(ATTACK), TOOLS / "mito"
    )
    other = json.loads((cases["the_pages_success_response"] / "expected.json").read_text())[0]
    for one in (
        {**doc, "@timestamp": other["@timestamp"]},
        {**other, "agent": {"type": "siemtap"}},
    ):
        answer = node.ask("POST", "/logs-apptrana.attack-default/_doc?op_type=create", json=one)
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
        assert len(hits) == 1, "searched by the package's types"


def test_the_tools_are_there():
    assert all(shutil.which(TOOLS / name) for name in ("speccheck", "celparse", "mito")), (
        "ci/bundle builds them, and says where with SIEMTAP_ELASTIC_TOOLS"
    )
