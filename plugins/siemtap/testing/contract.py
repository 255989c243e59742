"""What every plugin must hold. `contract_of(PLUGIN)` is a class of tests that pytest runs.

pulled and pushed plugins alike: settings that describe themselves, a folder with every file, cases
that give the expected events, names of the shared schema, a cursor that is JSON, no secret shown.
A plugin that is pulled loses and doubles nothing over faults; one that is pushed, over a crash at
every step.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, Dict, List, Set, Type

import jsonschema
import pytest

from ..core import manifest
from ..core.compile import source_code
from ..core.events import ids_of
from ..core.manifest import fill_in
from ..core.model import Mark, Payload, Plugin, Unit
from ..core.rows import Dataset, Event, record_rows, sources_of
from ..core.settings import CommonSettings, Connection, Receiving
from ..core.windows import DAY, MINUTE, SECOND
from ..edge import schemas
from ..edge.receive.delivered import DeliveredIds
from ..edge.receive.spool import Spool
from ..edge.store.checkpoints import Checkpoints, Database
from ..engine.feeds import spooled_batches
from ..engine.mapper import batch_mapper
from ..engine.protocols import Feed
from ..engine.pump import pump
from ..engine.sinks import CheckpointAfter, SkipDelivered
from ..render import cim, ecs
from ..render.datasets import schema_of
from ..render.schema_walk import walk
from . import cases, scaffold
from .cim import check_cim
from .simulation import Fault, simulator
from .world import NOON, Crash, Fuse, Memory, World

FORMATS = jsonschema.FormatChecker(["ipv4", "ipv6"])
FILES = {
    "README.md",
    "CHANGELOG.md",
    "manifest.py",
    "mapping.py",
    "plugin.py",
    "simulator.py",
    "sample.yml",
    "cases",
}
HEADINGS = ["Configuration", "Settings", "Fields", "Known gaps"]  # of README.md, in this order
PULL_SETTINGS = {"url", "interval", "lag", "overlap", "lookback"}
SECRET_NAME = re.compile(r"secret|password|token$|api_key")
FAULTS = [
    Fault(times=2, status=500),
    Fault(times=2, status=503, retry_after="3"),
    Fault(times=1, cut=3),
    Fault(times=1, status=429),
    Fault(times=1, status=200, body="html"),
    Fault(times=1, status=401),
]


def contract_of(plugin: Plugin) -> Type[PluginContract]:
    """Return the class of tests of a plugin."""
    bases: List[type] = []
    if "lookback" in _names_of(plugin.settings):
        bases.append(PulledContract)
    if plugin.receive:
        bases.append(PushedContract)
    return type(f"Test_{plugin.name}", (*bases, PluginContract), {"plugin": plugin})


def _names_of(form: Any) -> Set[str]:
    return {setting["name"] for setting in manifest.describe(form)}


@cache
def _contract() -> Dict[str, Any]:
    contract: Dict[str, Any] = schemas.read("event.schema.json")
    return contract


class PluginContract:
    """The tests of every plugin."""

    plugin: Plugin

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "dataset" in metafunc.fixturenames:
            datasets = self.plugin.datasets
            metafunc.parametrize("dataset", datasets, ids=[dataset.name for dataset in datasets])
        if "folder" in metafunc.fixturenames:
            folders = cases.folders(self.plugin)
            metafunc.parametrize("folder", folders, ids=[folder.name for folder in folders])

    def world(self, *faults: Fault) -> World:
        """Return an input of the plugin against its simulator."""
        simulated = simulator(self.plugin.name, {})
        simulated.faults.extend(faults)
        return World(self.plugin, simulated)

    def test_its_settings_describe_themselves(self) -> None:
        form = self.plugin.settings
        assert dataclasses.is_dataclass(form)
        frozen = vars(form)["__dataclass_params__"].frozen
        assert frozen, "the settings are a frozen dataclass"
        for setting in manifest.describe(form):
            name = setting["name"]
            assert setting["kind"] in manifest.KINDS, name
            assert setting["label"], name
            assert len(setting["help"]) > 5, name
            assert setting["help"].endswith((".", "?")), name
            if SECRET_NAME.search(name):
                assert manifest.kind_of(setting).is_secret, name
        names = _names_of(form)
        assert not names & (_names_of(CommonSettings) | _names_of(Connection)), (
            "every input has these settings already"
        )
        if self.plugin.receive:
            assert not names & _names_of(Receiving), (
                "every input that receives has these settings already"
            )
        needed = {"interval"} if self.plugin.receive else PULL_SETTINGS
        assert names >= needed, f"the settings lack {', '.join(sorted(needed - names))}"

    def test_its_folder_has_every_file(self) -> None:
        folder = cases.folder_of(self.plugin)
        assert {path.name for path in folder.iterdir()} >= FILES
        readme = (folder / "README.md").read_text(encoding="utf-8")
        headings = re.findall(r"^## (.*)$", readme, re.MULTILINE)
        assert [heading for heading in headings if heading in HEADINGS] == HEADINGS
        assert cases.folders(self.plugin), "at least one case"

    def test_its_rendered_files_are_up_to_date(self) -> None:
        """sample.yml, and the tables of README.md. SIEMTAP_ACCEPT=1 writes them."""
        files = scaffold.rendered(self.plugin)
        if os.environ.get("SIEMTAP_ACCEPT"):
            for path, text in files.items():
                path.write_text(text, encoding="utf-8")
        stale = [
            path.name for path, text in files.items() if path.read_text(encoding="utf-8") != text
        ]
        assert stale == [], "the manifest or the mapping is newer; SIEMTAP_ACCEPT=1 renders them"

    def test_case(self, folder: Path) -> None:
        """A case gives its events, which are valid. SIEMTAP_ACCEPT=1 writes expected.json: then
        compare it with the vendor's page. SIEMTAP_ACCEPT=failures accepts an error or no events,
        too."""
        events, error, exchange = cases.play(folder, self.plugin)
        expected_error = folder / "expected.err"
        expected = folder / "expected.json"
        if exchange:
            assert error or exchange.answered == len(exchange.pairs), (
                f"the plugin sent {exchange.answered} requests, and the case holds"
                f" {len(exchange.pairs)}"
            )
        told = os.environ.get("SIEMTAP_ACCEPT")
        if told:
            cases.accept(folder, events, error, failures=told == "failures")
        has_error = expected_error.exists()
        assert error == (expected_error.read_text(encoding="utf-8") if has_error else "")
        if exchange:
            assert exchange.answered == len(exchange.pairs), (
                "the error came before the last request"
            )
        wanted = json.loads(expected.read_text(encoding="utf-8"))
        assert cases.differences(events, wanted) == []
        allowed = json.loads((folder / "given.json").read_text("utf-8")).get("refused", [])
        for event in events:
            self.check_event(event)
            dataset = self.plugin.dataset(event["event"]["dataset"])
            refused = set(cases.refused(dataset, event)) - set(allowed)
            assert not refused, (
                f"the converter of {', '.join(sorted(refused))} refused the value, which is in"
                f" {dataset.namespace}.extra; if that is right, list it under `refused` in"
                " given.json"
            )

    def test_every_row_is_filled_by_a_case(self, dataset: Dataset) -> None:
        """A row that reads what no record has is a typing error, or has no case."""
        rows = [row for _, row in record_rows(dataset)]
        for folder in cases.folders(self.plugin):
            events, _, _ = cases.play(folder, self.plugin)
            events = [event for event in events if event["event"]["dataset"] == dataset.name]
            rows = [row for row in rows if not any(cases.is_filled(row, event) for event in events)]
        unfilled = [", ".join(sources_of(row)) for row in rows]
        assert unfilled == [], "no record of a case has a value for these rows"

    def check_event(self, event: Event) -> None:
        dataset = self.plugin.dataset(event["event"]["dataset"])
        validator = jsonschema.Draft7Validator(
            schema_of(_contract(), dataset), format_checker=FORMATS
        )
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(event)]
        assert errors == []
        fields = event["event"]
        unexpected = ecs.unexpected_types(fields.get("category", ()), fields.get("type", ()))
        assert unexpected == [], f"ECS does not expect this event.type beside {fields['category']}"
        check_cim(dataset, event)
        if dataset.namespace in _contract()["vendors"]:
            authority = jsonschema.Draft7Validator(_contract(), format_checker=FORMATS)
            assert authority.is_valid(event)

    def test_its_cursor_is_json_and_collect_ends(self) -> None:
        world = self.world()
        for unit in world.units():
            assert isinstance(unit, Unit)
            assert unit.dataset in {dataset.name for dataset in self.plugin.datasets}
            for batch in self.plugin.collect(world.client, unit, {}, world.time.now):
                assert json.loads(json.dumps(batch.cursor)) == batch.cursor
                assert batch.dataset.name == unit.dataset
                assert batch.until <= world.time.now

    def test_no_secret_is_shown(self) -> None:
        world = self.world(Fault(times=3, status=401), Fault(times=3, status=400))
        shown = repr(world.settings)
        try:
            world.cycles(2)
        except Exception as error:
            shown += f"{error}{error!r}"
        shown += world.shown()
        for setting in manifest.describe(self.plugin.settings):
            if manifest.kind_of(setting).is_secret:
                secret = getattr(world.settings, setting["name"])
                assert not secret or secret not in shown, setting["name"]

    def test_its_names_follow_the_rules(self, dataset: Dataset) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z0-9_]+", dataset.name)
        for path in dataset.targets():
            assert re.fullmatch(r"@timestamp|[a-z][a-z0-9_.]*", path)
        ecs.check(dataset)

    def test_every_field_is_in_its_schema(self, dataset: Dataset) -> None:
        rows = walk(schema_of(_contract(), dataset))
        known = {row.path for row in rows if not row.in_list}
        assert set(dataset.targets()) <= known

    def test_its_cim_rules_read_fields_that_exist(self, dataset: Dataset) -> None:
        cim.check(dataset)

    def test_its_mapping_can_be_read(self, dataset: Dataset) -> None:
        source = source_code(dataset)
        compile(source, dataset.name, "exec")
        assert source.count("# ") >= len([row for row in dataset.rows if hasattr(row, "source")])


class PulledContract(PluginContract):
    """The tests of a plugin that is read over a time range."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        super().pytest_generate_tests(metafunc)
        if "fault" in metafunc.fixturenames:
            metafunc.parametrize("fault", [*map(dataclasses.replace, FAULTS)], ids=str)

    def world(self, *faults: Fault) -> World:
        """Return an input whose vendor gives some events at once and others late, but within the
        overlap."""
        lag, overlap = (
            manifest.parse_duration(setting["default"])
            for name in ("lag", "overlap")
            for setting in manifest.describe(self.plugin.settings)
            if setting["name"] == name
        )
        late = min(overlap / 2, 90 * SECOND) / SECOND
        simulated = simulator(self.plugin.name, {"late": (0.0, late)})
        simulated.faults.extend(faults)
        return World(self.plugin, simulated, lookback=f"{30 * MINUTE + lag}ms")

    def test_it_loses_and_doubles_nothing(self) -> None:
        check_ledger(self.world().cycles(6))

    def test_a_fault_costs_time_only(self, fault: Fault) -> None:
        check_ledger(self.world(fault).cycles(3))


def check_ledger(world: World) -> None:
    """Compare what was delivered with what the simulator had: each event once.

    An event counts if it could be read when the last cycle began, and happened half a minute
    before the time up to which everything is read. For a test that turns a knob:

        check_ledger(World(PLUGIN, Simulator(Knobs(page=3)), lookback="31m").cycles(3))
    """
    delivered = world.output.ids()
    expected = world.simulator.ledger(
        world.read_at,
        NOON - world.settings.lookback + MINUTE,
        world.until() - 30 * SECOND,
    )
    assert len(expected) > 20, f"the simulator had {len(expected)} events; a test needs more"
    lost = expected - set(delivered)
    assert not lost, f"{len(lost)} of {len(expected)} events that could be read were not delivered"
    twice = [id for id, times in delivered.items() if times > 1]
    assert not twice, f"{len(twice)} of {len(delivered)} events were delivered more than once"


class PushedContract(PluginContract):
    """The tests of a plugin that receives."""

    def test_what_is_pushed_comes_out_once_over_a_crash_at_every_step(self, tmp_path: Path) -> None:
        """Some payloads are sent twice. The process ends at one step after the other."""
        simulated = simulator(self.plugin.name, {"rate": 0.05, "twice": 7})
        sent = list(simulated.pushed(NOON - 20 * MINUTE, NOON))
        output = Memory()
        crashes = 0
        for crash_at in [*range(1, 60), None]:
            spool = Spool(tmp_path / "spool")
            database = Database(tmp_path / "siemtap.db")
            if crash_at == 1:
                spool.append([_payload(thing) for thing in sent]).result(10)
            fuse = Fuse(crash_at)
            output.fuse = fuse
            try:
                self.deliver(spool, database, output, fuse)
            except Crash:
                crashes += 1
            spool.close()
            database.close()
        assert crashes > 10
        assert set(output.ids()) == {id for thing in sent for id in thing.ids}
        assert max(output.ids().values()) == 1
        assert len(sent) > len(output.ids())

    def deliver(self, spool: Spool, database: Database, output: Memory, fuse: Fuse) -> None:
        settings = fill_in(self.plugin.settings, {})
        dataset = self.plugin.datasets[0]
        unit = Unit("it", dataset.name, "received")
        delivered_ids = SteppedIds(database, fuse)
        mark = Checkpoints(database).load(unit)
        receive = self.plugin.receive
        assert receive
        batches = spooled_batches(
            spool, mark.cursor, lambda payload: receive(settings, payload), dataset, at_most=3
        )
        unsaved: Set[str] = set()
        pump(
            unit,
            mark,
            Feed(batches, known=lambda events: delivered_ids.known(unit, ids_of(events))),
            batch_mapper(self.plugin, settings, fill_in(CommonSettings, {}), {}, lambda: ""),
            CheckpointAfter(SkipDelivered(output, output.holds, unsaved), delivered_ids, unsaved),
        )


class SteppedIds(DeliveredIds):
    """Delivered ids that are saved between two steps."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        super().__init__(database, DAY)
        self.fuse = fuse

    def save(self, unit: Unit, mark: Mark) -> None:
        self.fuse.step()
        super().save(unit, mark)
        self.fuse.step()


def _payload(thing: Any) -> Payload:
    return Payload(
        body=thing.body,
        channel="udp" if thing.channel == "syslog" else "webhook",
        peer="192.0.2.1",
        received=NOON,
        headers={name.lower(): value for name, value in thing.headers.items()},
    )
