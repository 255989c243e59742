"""Nothing connects or starts at import, nothing evaluates data, and what is installed is pinned by
digest."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
