"""Nothing connects or starts at import, nothing evaluates data, and what is installed is pinned by
digest."""

import ast
import configparser
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for folder in ("plugins", "packaging") for path in sorted((ROOT / folder).rglob("*.py"))
]
# what turns data into code (Python's documentation of each warns of it)
CALLS = {"eval", "exec", "__import__", "compile"}
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "code", "codeop"}
ALLOWED = {
    # the rows of a mapping table, which are source code, become functions
    ("plugins/siemtap/core/compile/__init__.py", "compile"),
    ("plugins/siemtap/core/compile/__init__.py", "exec"),
    # such a source is compiled, and not run, to see that it is Python
    ("plugins/siemtap/testing/contract.py", "compile"),
}
PACKAGES = ["siemtap", *sorted(p.parent.name for p in (ROOT / "plugins").glob("*/manifest.py"))]
WATCHED = """
import importlib, pkgutil, sys
events = []
PREFIXES = ("socket.connect", "socket.getaddrinfo", "socket.gethostby",
            "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "urllib.",
            "http.client", "sqlite3.connect", "os.mkdir", "os.remove", "os.rename")
def watch(name, arguments):
    writes = name == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if name.startswith(PREFIXES) or (writes and not str(arguments[0]).endswith(".pyc")):
        events.append(f"{name} {arguments}")
sys.addaudithook(watch)
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not module.name.endswith("service.windows"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:  # a library of the shipper's, on Python 3.9
                if (error.name or "").startswith(("siemtap", *sys.argv[1:])):
                    raise
print(len([name for name in sys.modules if name.startswith(tuple(sys.argv[1:]))]))
if PLANTED:
    import socket
    socket.getaddrinfo("127.0.0.1", 9)
sys.exit("\\n".join(events) or 0)
"""


def imported(planted):
    code = f"PLANTED = {planted}\n{WATCHED}"
    return subprocess.run(
        [sys.executable, "-B", "-c", code, *PACKAGES],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "plugins"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_nothing_connects_starts_or_writes_at_import():
    result = imported(planted=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 150
    planted = imported(planted=True)
    assert planted.returncode == 1 and "socket.getaddrinfo" in planted.stderr


def dangers(text):
    """Yield what may run data in a source."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CALLS:
                yield node.func.id
            for keyword in node.keywords:
                is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                if keyword.arg == "shell" and is_true:
                    yield "shell=True"
            if isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                if called in ("os.system", "os.popen", "yaml.load", "yaml.unsafe_load"):
                    yield called
                if called == "builtins.eval" or called.endswith(".full_load"):
                    yield called
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield node.module


@pytest.mark.slow
def test_no_source_runs_data():
    places = {
        (str(path.relative_to(ROOT)), danger)
        for path in SOURCES
        for danger in dangers(path.read_text(encoding="utf-8"))
    }
    assert len(SOURCES) > 200 and places == ALLOWED


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "exec(x)",
        "import pickle",
        "from marshal import loads",
        "run(x, shell=True)",
        "os.system(x)",
        "yaml.load(x)",
    ],
)
def test_planted_danger_is_seen(text):
    assert list(dangers(text))


LOCKED = r"\S+==\S+( ; \(?python_version == .+?)?( --hash=sha256:[0-9a-f]{64})+"


def lock():
    """Return ci/lock as a module."""
    loader = SourceFileLoader("lock", str(ROOT / "ci/lock"))
    module = module_from_spec(spec_from_loader("lock", loader))
    sys.modules["lock"] = module  # its annotations are looked up there
    loader.exec_module(module)
    return module


LOCK = lock()


def requirements_of(environment):
    """Return what an environment of ci/lock is made of, as setup.cfg has it now."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = list(environment.requirements)
    if environment.extra is not None:
        lines += [LOCK.BACKEND, *setup["options"]["install_requires"].split("\n")]
        lines += setup["options.extras_require"].get(environment.extra, "").split("\n")
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins_for(lines, python):
    """Return name -> version of those lines of a list that are for a Python."""
    pins = {}
    for line in lines:
        requirement = Requirement(line.split(" --hash")[0])
        if not requirement.marker or requirement.marker.evaluate({"python_version": python}):
            (pin,) = requirement.specifier
            assert requirement.name not in pins, f"twice: {requirement}"
            pins[requirement.name] = pin.version
    return pins


@pytest.mark.parametrize("name", LOCK.ENVIRONMENTS)
def test_environments_of_ci_are_locked(name):
    """`ci/lock` was run since setup.cfg, ci/constraints.txt and its own table changed."""
    environment = LOCK.ENVIRONMENTS[name]
    head, *lines = (LOCK.FOLDER / f"{name}.txt").read_text().splitlines()
    assert head == LOCK.head(environment)
    for line in lines:
        assert re.fullmatch(LOCKED, line), line[:80]
    bounds = (ROOT / "ci/constraints.txt").read_text().split("\n")
    bounds = [Requirement(line) for line in bounds if line and not line.startswith("#")]
    for python in environment.pythons:
        pins = pins_for(lines, python)
        here = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
        for wanted in requirements_of(environment):
            if wanted.marker and not wanted.marker.evaluate({**here, "sys_platform": "linux"}):
                continue
            version = pins.get(wanted.name.lower().replace("_", "-"))
            assert version and version in wanted.specifier, f"{wanted}: run ci/lock {name}"
        for bound in bounds:
            version = pins.get(bound.name)
            if version and (not bound.marker or bound.marker.evaluate(here)):
                assert version in bound.specifier, f"{bound}: run ci/lock {name}"


def test_there_is_no_list_of_an_environment_that_is_gone():
    assert {path.stem for path in LOCK.FOLDER.iterdir()} == set(LOCK.ENVIRONMENTS)


def test_scripts_of_ci_install_by_digest_only():
    for path in (ROOT / "ci").iterdir():
        if not path.is_file() or path.name == "lock":  # which only resolves
            continue
        text = path.read_text()
        for name in re.findall(r"\$\(environment (\S+) ", text):
            assert name in LOCK.ENVIRONMENTS, path
        for line in re.findall(r".*\bpip.* (?:install|download) .*", text):
            assert "--require-hashes" in line or line.lstrip().startswith("local pip="), line
        for line in re.findall(r'.*"\$\{pip\[@\]\}".*', text):
            assert "--require-hashes" in line or '-e "$root"' in line, line


def test_what_builds_install_is_pinned_by_digest():
    folder = ROOT / "plugins/siemtap/bundles/requirements"
    files = sorted(folder.glob("*.txt"))
    assert len(files) == 6
    for path in files:
        for line in path.read_text().splitlines():
            assert re.fullmatch(r"\S+==\S+( --hash=sha256:[0-9a-f]{64})+", line), path
    scripts = [*SOURCES, ROOT / "packaging/build", ROOT / "packaging/make-environment"]
    for path in [*scripts, ROOT / "packaging/container/Containerfile"]:
        text = path.read_text(encoding="utf-8")
        if re.search(r'"pip", "(install|download)"|-m pip .*install|bin/pip install', text):
            assert "--require-hashes" in text, path
