"""Elastic's package: its rules by package-spec, its program by mito against the vendor's simulator, its pipelines on a real node. `ci/bundle` builds the tools."""

import collections
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
from agent import Agent
from ruamel.yaml import YAML
from search_node import Node

from apptrana import simulator
from apptrana.ingest import PROGRAMS
from apptrana.mapping import ATTACK
from cases import folders, played
from siemtap.core.manifest import fill_in
from siemtap.core.windows import MINUTE
from siemtap.runners import plugins
from siemtap.runners.simulate import Fault, Server

TOOLS = Path(os.environ.get("SIEMTAP_ELASTIC_TOOLS", "/nowhere"))
UNKNOWN_HERE = {"geoip"}        # processors that the OpenSearch node does not have


@pytest.fixture(params=elastic.packaged(), scope="module")
def package(request):
    return plugins.plugin(request.param)


@pytest.fixture
def folder(package, tmp_path):
    top = tmp_path / package.name
    for path, text in elastic.files(package).items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text, encoding="utf-8")
    return top


def speccheck(path):
    done = subprocess.run([TOOLS / "speccheck", path], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_package_spec_and_the_same_bytes(package, folder, tmp_path):
    once, again = (elastic.zipped(package.name, elastic.files(package)) for _ in range(2))
    (tmp_path / "x.zip").write_bytes(once)
    assert once == again and speccheck(folder) == speccheck(tmp_path / "x.zip") == (0, "")
    with zipfile.ZipFile(tmp_path / "x.zip") as file:
        assert file.testzip() is None and {info.date_time for info in file.infolist()} == {elastic.STAMP}


@pytest.mark.parametrize("path, old, new", [
    ("data_stream/attack/elasticsearch/ingest_pipeline/default.yml", "tag: ingested", "description: x"), ("data_stream/attack/elasticsearch/ingest_pipeline/default.yml", "value: pipeline_error", "value: alert"),
    ("data_stream/attack/manifest.yml", "type: bool", "type: boolish"), ("data_stream/attack/agent/stream/cel.yml.hbs", "{{/if}}", "{{/iff}}"), ("manifest.yml", "- security", "- securityy"), ("data_stream/attack/fields/ecs.yml", "type: ip", "type: address")])
def test_package_spec_hears_a_planted_fault(package, folder, path, old, new):
    said = (folder / path).read_text()
    assert old in said
    (folder / path).write_text(said.replace(old, new, 1))
    assert speccheck(folder)[0] == 1


def test_the_programs_parse(tmp_path):
    for name, program in PROGRAMS.items():
        path = tmp_path / f"{name}.cel"
        path.write_text(program["cel"])
        assert subprocess.run([TOOLS / "celparse", path], capture_output=True).returncode == 0
        path.write_text(program["cel"].replace(")", "", 1))
        assert subprocess.run([TOOLS / "celparse", path], capture_output=True).returncode == 1


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_what_the_page_makes_is_yaml(package, folder, given, several):
    """A small reading of Handlebars: what Fleet makes of the template, with every optional variable and with none."""
    for path in folder.rglob("*.yml.hbs"):
        text = path.read_text()
        while found := re.search(r"\{\{#(if|each|contains)([^}]*)\}\}\n?((?:(?!\{\{#).)*?)\{\{/\1\}\}\n?", text, re.DOTALL):
            kept = found[3] * (2 if several else 1) if found[1] == "each" else found[3] if given else ""
            text = text[:found.start()] + kept + text[found.end():]
        made = YAML(typ="safe").load(re.sub(r"\{\{(\w+)\}\}", lambda found: {"processors": "  - add_tags: {tags: [x]}", "ssl": "{}"}.get(found[1], f"a-{found[1]}"), text.replace("  - {{tag}}", "  - {{tag}}")))
        assert made["program"].strip() and made["processors"][0]["drop_event"] and made["state"]["url"] == "a-url" and ("resource.proxy_url" in made) == given


def test_the_agents_loop_finds_the_truth(tmp_path):
    """429, 500, an answer that is no JSON, a token that dies, restarts, a death between delivery and cursor."""
    server = Server(simulator.Simulator(simulator.Knobs(rate=20.0, late=(0.0,))))
    try:
        settings = server.simulated.settings(server.url)
        agent = Agent(TOOLS / "mito", PROGRAMS["apptrana.attack"]["cel"], {
            "url": settings["url"], "client_id": settings["client_id"], "client_secret": settings["client_secret"], "auth": "client_credentials", "lag": "10s", "overlap": "225s", "lookback": "30m", "window": "300s", "event_type": "all"})
        began, luck, doubled = int(time.time() * 1000), random.Random(3), 0
        for number in range(14):
            if number in (1, 3, 5, 6, 8):
                server.simulated.faults.append(Fault(call="getAttackInfo", times=1, **{1: {"status": 429, "retry_after": "1"}, 3: {"status": 500}, 5: {"status": 200, "body": "truncated"}, 6: {"cut": 10}, 8: {"status": 200, "body": "list"}}[number]))
            if number == 7:
                server.simulated.tokens.clear()
            before = len(agent.taken)
            agent.cycle(dies_after=2 if number in (0, 9) else 1_000)
            if number in (0, 9):
                doubled += len(agent.taken) - before
            if luck.random() < 0.4 or number in (0, 9):
                agent.restart()
            time.sleep(1.1)
        agent.cycle()
        assert agent.error == ""
        say = ATTACK.bind(fill_in(plugins.plugin("apptrana").settings, settings), {})
        got = collections.Counter(say(json.loads(event["message"]), 0, None)["event"]["id"] for event in agent.taken)
        assert server.simulated.ledger(int(time.time() * 1000), began - 29 * MINUTE, began - 15_000) <= set(got)
        assert sum(count - 1 for count in got.values()) <= doubled, "twice is only what was delivered without its cursor; _id keeps it single"
        assert server.simulated.counts["getAuthToken"] < server.simulated.counts["getAttackInfo"]
    finally:
        server.close()


def test_a_wrong_key_is_told_and_nothing_is_skipped():
    server = Server(simulator.Simulator(simulator.Knobs(rate=20.0, late=(0.0,))))
    try:
        settings = server.simulated.settings(server.url)
        agent = Agent(TOOLS / "mito", PROGRAMS["apptrana.attack"]["cel"], {**{name: settings[name] for name in ("url", "client_id")}, "client_secret": "wrong-one", "auth": "client_credentials", "lag": "10s", "overlap": "225s", "lookback": "30m", "window": "300s"})
        agent.cycle()
        assert "no token by client_id and client_secret" in agent.error and "wrong-one" not in agent.error and agent.cursor is None and agent.taken == []
    finally:
        server.close()


def test_the_pipelines_make_pythons_events(package, folder):
    """As the agent sends a record, through both pipelines of the package."""
    of = {name: {} for name in PROGRAMS}
    with Node() as node:
        for name in PROGRAMS:
            place = folder / f"data_stream/{name.partition('.')[2]}/elasticsearch/ingest_pipeline"
            for pipeline in ("mapping", "default"):
                said = YAML(typ="safe").load(place / f"{pipeline}.yml")
                said["processors"] = [step for step in said["processors"] if not UNKNOWN_HERE & set(step)]
                body = json.dumps(said).replace('{{ IngestPipeline \\"mapping\\" }}', f"{name}-mapping")
                answer = requests.put(f"{node.url}/_ingest/pipeline/{name}-{pipeline}", data=body, headers={"Content-Type": "application/json"}, timeout=60)
                assert answer.ok, answer.text[:2000]
            dataset, docs, wanted = package.dataset(name), [], []
            for case in folders():
                if case.parents[1].name == package.name:
                    for settings, dataset_of, record, until, event in played(case, package):
                        if dataset_of is dataset:
                            conf = {one: getattr(settings, one) for one in ("severity_map", "alerts", "redact_headers", "account")}
                            tags = {"tags": ["preserve_original_event"]} if settings.keep_original else {}
                            docs.append({"_source": {"message": json.dumps(record), "_conf": {**conf, "until": until}, "agent": {"type": "filebeat"}, "data_stream": {"namespace": event["data_stream"]["namespace"]}, **tags}})
                            wanted.append(event)
            docs.append({"_source": {**wanted[0], "agent": {"type": "siemtap"}}})
            answer = requests.post(f"{node.url}/_ingest/pipeline/{name}-default/_simulate", data=json.dumps({"docs": docs}), headers={"Content-Type": "application/json"}, timeout=60).json()["docs"]
            for event, one in zip([*wanted, wanted[0]], answer):
                made = one["doc"]["_source"]
                for added in ("agent", "tags"):
                    made.pop(added, None)
                made["event"].pop("ingested")
                (made.get("user_agent") or {}).update(event.get("user_agent", {}))
                for looked_up in ("name", "version", "device", "os"):
                    (made.get("user_agent") or {}).pop(looked_up, None)
                assert made == event and one["doc"]["_id"] in (event["event"]["id"], "_id")
            of[name] = len(docs)
    print({name: f"{number} records, 0 differences" for name, number in of.items()})


def test_the_tools_are_there():
    assert all(shutil.which(TOOLS / name) for name in ("speccheck", "celparse", "mito")), "ci/bundle builds them, and says where with SIEMTAP_ELASTIC_TOOLS"
