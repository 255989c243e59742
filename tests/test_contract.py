"""What every plugin promises, for every folder beside the machine; nothing here knows a vendor."""

import dataclasses
import inspect
import json
import re
from pathlib import Path

import pytest

from cases import folders
from siemtap import contract
from siemtap.core import manifest
from siemtap.core.forms import Connection, Every, Receiving
from siemtap.core.manifest import fill_in
from siemtap.core.model import Payload, Unit
from siemtap.core.windows import DAY, MINUTE, SECOND
from siemtap.edge.arrivals import Arrivals
from siemtap.edge.checkpoints import Checkpoints, Database
from siemtap.edge.spool import Spool
from siemtap.engine import InDoubt, Then, pump, spooled, voice
from siemtap.render.datasets import schema_of
from siemtap.runners import plugins, simulate
from siemtap.runners.simulate import Fault
from world import NOON, Crash, Fuse, Memory, World

PLUGINS = list(plugins.installed().values())
PULLED = [
    plugin
    for plugin in PLUGINS
    if "lookback" in {s["name"] for s in manifest.describe(plugin.settings)}
]
each_pulled = pytest.mark.parametrize("plugin", PULLED, ids=lambda plugin: plugin.name)
each_pushed = pytest.mark.parametrize(
    "plugin", [plugin for plugin in PLUGINS if plugin.receive], ids=lambda plugin: plugin.name
)
each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
each_dataset = pytest.mark.parametrize(
    "dataset",
    [dataset for plugin in PLUGINS for dataset in plugin.datasets],
    ids=lambda dataset: dataset.name,
)


def folder(plugin):
    return Path(inspect.getfile(plugin.settings)).parent


def world(plugin, faults=()):
    simulated = simulate.simulator(plugin.name, {})
    simulated.faults.extend(faults)
    if plugin not in PULLED:
        return World(plugin, simulated)
    lag = next(
        manifest.millis(s["default"])
        for s in manifest.describe(plugin.settings)
        if s["name"] == "lag"
    )
    return World(plugin, simulated, lookback=f"{30 * MINUTE + lag}ms")


@each_plugin
def test_its_settings_are_a_form_that_describes_itself(plugin):
    assert dataclasses.is_dataclass(plugin.settings) and plugin.settings.__dataclass_params__.frozen
    for s in manifest.describe(plugin.settings):
        assert (
            s["kind"] in manifest.KINDS
            and s["label"]
            and len(s["help"]) > 5
            and s["help"].endswith((".", "?"))
        ), s["name"]
    names = {s["name"] for s in manifest.describe(plugin.settings)}
    assert not names & {
        s["name"] for form in (Every, Connection) for s in manifest.describe(form)
    }, "every input has these already"
    assert {"url", "interval", "lag", "overlap", "lookback"} <= names or (
        plugin.receive and "interval" in names
    )
    assert not plugin.receive or not names & {s["name"] for s in manifest.describe(Receiving)}, (
        "every input that receives has these already"
    )
    secrets = {
        s["name"]
        for s in manifest.describe(plugin.settings)
        if re.search(r"secret|password|token$|api_key", s["name"])
    }
    assert all(
        s["kind"] == "secret" for s in manifest.describe(plugin.settings) if s["name"] in secrets
    )


@each_plugin
def test_its_folder_has_what_every_folder_has(plugin):
    files = {path.name for path in folder(plugin).iterdir()}
    assert {
        "README.md",
        "CHANGELOG.md",
        "manifest.py",
        "mapping.py",
        "plugin.py",
        "simulator.py",
        "sample.yml",
        "cases",
    } <= files
    headings = re.findall(r"^## (.*)$", (folder(plugin) / "README.md").read_text(), re.MULTILINE)
    wanted = ["Set it up", "Settings", "Fields", "What is not known"]
    assert [heading for heading in headings if heading in wanted] == wanted
    assert [path for path in folders() if path.parents[1].name == plugin.name], "at least one case"


@each_pulled
def test_it_loses_and_doubles_nothing(plugin):
    it = world(plugin).cycles(6)
    check(it)


def check(it):
    got = it.output.ids()
    must = it.simulator.ledger(
        it.time.now, NOON - it.settings.lookback + MINUTE, it.until() - 30 * SECOND
    )
    assert len(must) > 20 and must <= set(got) and max(got.values()) == 1


@each_pulled
@pytest.mark.parametrize(
    "fault",
    [
        Fault(times=2, status=500),
        Fault(times=2, status=503, retry_after="3"),
        Fault(times=1, cut=3),
        Fault(times=1, status=429),
        Fault(times=1, status=200, body="html"),
        Fault(times=1, status=401),
    ],
    ids=str,
)
def test_an_accident_costs_nothing_but_time(plugin, fault):
    it = world(plugin, [fault]).cycles(3)
    check(it)


@each_pushed
def test_what_is_pushed_comes_out_once_over_a_crash_at_every_step(plugin, tmp_path):
    """Spool -> receive -> deliver -> save, the process gone at one step after the other; some
    things are sent twice."""
    simulated = simulate.simulator(plugin.name, {"rate": 0.05, "twice": 7})
    sent = list(simulated.pushed(NOON - 20 * MINUTE, NOON))
    settings, output = fill_in(plugin.settings, {}), Memory()
    unit, arrived = Unit("it", plugin.datasets[0].name, "received"), NOON
    say = voice(plugin, settings, fill_in(Every, {}), {}, lambda: None)
    steps = 0
    for crash_at in [*range(1, 60), None]:
        spool, database = Spool(tmp_path / "spool"), Database(tmp_path / "siemtap.db")
        if crash_at == 1:
            spool.append(
                [
                    Payload(
                        one.body,
                        "udp" if one.channel == "syslog" else "webhook",
                        "",
                        "192.0.2.1",
                        arrived,
                        {name.lower(): value for name, value in one.headers.items()},
                    )
                    for one in sent
                ]
            ).result(10)
        arrivals, fuse = Arrivals(database, DAY), Fuse(crash_at)
        output.fuse = fuse
        arrivals_save = arrivals.save
        arrivals.save = lambda unit, mark, fuse=fuse, save=arrivals_save: (
            fuse.step(),
            save(unit, mark),
            fuse.step(),
        )

        def fresh(batch, arrivals=arrivals):
            events = say(batch)
            known = arrivals.known(unit, [event["event"]["id"] for event in events])
            return [event for event in events if event["event"]["id"] not in known]

        unmarked = set()
        try:
            mark = Checkpoints(database).load(unit)
            pump(
                unit,
                mark,
                spooled(
                    spool,
                    mark.cursor,
                    lambda payload: plugin.receive(settings, payload),
                    plugin.datasets[0],
                    at_most=3,
                ),
                fresh,
                Then(InDoubt(output, unmarked), arrivals, unmarked),
            )
        except Crash:
            steps += 1
        spool.close()
        database.close()
    assert (
        steps > 10
        and set(output.ids()) == {id for one in sent for id in one.ids}
        and max(output.ids().values()) == 1
        and len(sent) > len(output.ids())
    )


@each_plugin
def test_its_cursor_is_json_and_its_walk_is_finite(plugin):
    it = world(plugin)
    for unit in it.units():
        assert isinstance(unit, Unit) and unit.dataset in {
            dataset.name for dataset in plugin.datasets
        }
        for batch in plugin.collect(it.client, unit, {}, it.time.now):
            assert (
                json.loads(json.dumps(batch.cursor)) == batch.cursor
                and batch.dataset.name == unit.dataset
                and batch.until <= it.time.now
            )


@each_plugin
def test_no_secret_of_its_settings_shows(plugin):
    it = world(plugin, [Fault(times=3, status=401), Fault(times=3, status=400)])
    try:
        it.cycles(2)
    except Exception as error:
        it.errors.append(error)
    shown = it.shown() + repr(it.settings)
    secrets = [
        getattr(it.settings, s["name"])
        for s in manifest.describe(plugin.settings)
        if s["kind"] == "secret"
    ]
    assert [value for value in secrets if value and value in shown] == []


@each_dataset
def test_its_names_follow_the_rules(dataset):
    assert re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z0-9_]+", dataset.name)
    shared = contract.read("event.schema.json")["definitions"]["shared"]["properties"]
    for path in dataset.targets():
        assert path.split(".")[0] in {*shared, dataset.namespace}, path
        assert re.fullmatch(r"@timestamp|[a-z][a-z0-9_.]*", path)


@each_dataset
def test_every_target_is_in_its_schema(dataset):
    schema = schema_of(contract.read("event.schema.json"), dataset)
    for path in dataset.targets():
        place = schema
        for name in path.split("."):
            place = resolved(schema, place)["properties"][name]


def resolved(schema, place):
    return schema["definitions"][place["$ref"].rpartition("/")[2]] if "$ref" in place else place


@each_dataset
def test_its_mapping_can_be_read(dataset):
    compile(dataset.source, dataset.name, "exec")
    assert dataset.source.count("# ") >= len(
        [row for row in dataset.rows if hasattr(row, "theirs")]
    )


@each_plugin
def test_settings_in_full_from_its_sample(plugin):
    fill_in(
        plugin.settings,
        {s["name"]: "x" for s in manifest.describe(plugin.settings) if s["required"]},
    )
