"""The structure of the source: which folders import which, how large files and folders are, and
that names are plain words."""

import ast
import configparser
import tokenize
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MACHINE = ROOT / "plugins/siemtap"
# What each folder may import besides itself. `splunk` and `elastic` import neither each other nor
# `shipper`; of the shipper only `setup` and `cli` import `elastic`.
ALLOWED = {
    "core": set(),
    "edge": {"core"},
    "edge.syslog": {"core", "edge"},  # no part of an add-on, so nothing that one carries imports it
    "engine": {"core", "edge"},
    "kafka": {"core", "edge", "engine"},
    "outputs": {"core", "edge", "engine", "kafka"},
    "render": {"core", "edge"},
    "splunk.runtime": {"core", "edge", "engine"},
    "splunk.build": {"core", "edge", "render", "splunk.runtime"},
    "elastic": {"core", "edge", "render"},
    "bundles": {"core", "render", "splunk.build", "splunk.runtime", "elastic", "testing"},
    "testing": {"core", "edge", "engine", "render"},
    "shipper": {"core", "edge", "edge.syslog", "engine", "kafka", "outputs", "render", "testing"},
    "shipper.setup": {
        "core",
        "edge",
        "engine",
        "kafka",
        "outputs",
        "render",
        "elastic",
        "shipper",
    },
    "shipper.cli": {
        "core",
        "edge",
        "engine",
        "kafka",
        "outputs",
        "render",
        "elastic",
        "bundles",
        "shipper",
        "shipper.setup",
        "testing",
    },
}
MAX_LINES = 400
MAX_FILES = 12
# words that nobody outside this project understands, and what to use instead
DIALECT = {
    "wish": "settings",
    "mine": "settings",
    "said": "value, raw, body, line, answer",
    "found": "match, row, item",
    "one": "the thing's name",
    "what": "the thing's name",
    "voice": "batch_mapper",
    "say": "map_batch",
    "Say": "MapBatch",
    "Then": "CheckpointAfter",
    "InDoubt": "SkipDelivered",
    "Around": "OutputContext",
    "_Watched": "Metered",
    "Ears": "ListenerPool",
    "deafen": "pause",
    "Undisturbed": "SignalGuard",
    "Considerate": "YieldToReceiver",
    "trouble": "error_from, account_error",
    "greet": "check_login",
}


def module_of(path):
    """Return the name of a module."""
    parts = path.relative_to(MACHINE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(MACHINE.rglob("*.py"))}


def imported(module, path):
    """Yield each module of siemtap that a module imports, at its top or inside a function."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")
            base = base[: len(base) - node.level + 1] if node.level else []
            target = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{target}.{alias.name}"
                if name in MODULES:
                    yield name
                elif target in MODULES:
                    yield target


def room_of(module):
    """Return the part of ALLOWED that a module belongs to: the longest name that it begins with."""
    inner = module.partition(".")[2]
    rooms = [room for room in ALLOWED if inner == room or inner.startswith(f"{room}.")]
    return max(rooms, key=len, default="")


@pytest.mark.parametrize("module", MODULES)
def test_imports_between_folders(module):
    room = room_of(module)
    if module in ("siemtap", "siemtap.splunk"):
        return
    assert room, f"{module} is in no known folder"
    rooms = {room_of(name) for name in imported(module, MODULES[module]) if name != "siemtap"}
    assert rooms - {room} <= ALLOWED[room], f"{module} imports {sorted(rooms - {room})}"


def test_no_import_cycles():
    graph = {module: set(imported(module, path)) - {module} for module, path in MODULES.items()}
    for module, names in graph.items():  # a package and the modules in it are not a cycle
        names -= {module.rpartition(".")[0]} if MODULES.get(module.rpartition(".")[0]) else set()
    list(TopologicalSorter(graph).static_order())


def test_every_folder_is_in_the_wheel():
    """setup.cfg lists the packages: one that is missing there is missed only after an install."""
    listed = configparser.ConfigParser()
    listed.read(ROOT / "setup.cfg")
    packages = set(listed["options"]["packages"].split())
    folders = {
        ".".join(path.parent.relative_to(ROOT / "plugins").parts)
        for path in (ROOT / "plugins").rglob("__init__.py")
    }
    assert packages == folders | {"siemtap.schemas"}


@pytest.mark.parametrize("folder", ["plugins", "packaging", "tests", "ci"])
def test_length_of_files(folder):
    paths = (ROOT / folder).rglob("*.py")
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in paths
    }
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_number_of_files_in_folders():
    folders = [MACHINE, *(path for path in MACHINE.rglob("*") if path.is_dir())]
    counts = {
        str(folder.relative_to(MACHINE)): len(
            [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        )
        for folder in folders
    }
    assert {folder: count for folder, count in counts.items() if count > MAX_FILES} == {}


@pytest.mark.parametrize("folder", ["plugins", "packaging", "tests", "ci"])
def test_names_are_plain_words(folder):
    scripts = [ROOT / "packaging/build"] if folder == "packaging" else []
    dialect = set()
    for path in [*(ROOT / folder).rglob("*.py"), *scripts]:
        if path == Path(__file__):
            continue
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.NAME and token.string in DIALECT:
                    dialect.add(f"{path.relative_to(ROOT)}:{token.start[0]} {token.string}")
    assert sorted(dialect) == []
