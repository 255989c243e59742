"""The documented build commands in a fresh clone, with an empty home directory and nothing but
Python."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
BUILT = {
    "shipper": "siemtap-*.cdx.json",
    "splunk": "TA-indusface-apptrana-*.tar.gz",
    "elastic": "apptrana-*.zip",
}


def call(clone, command, home, **variables):
    """Run a shell command in the clone; return (exit status, standard output, standard error)."""
    environment = {
        "PATH": os.pathsep.join((str(home / "bin"), "/usr/bin", "/bin")),
        "HOME": str(home),
        **variables,
    }
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a clone of the repository."""
    folder = tmp_path_factory.mktemp("fresh") / "siemtap"
    subprocess.run(
        ["git", "clone", "--quiet", str(ROOT), str(folder)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    (folder / "bin").mkdir()
    (folder / "bin/python3").symlink_to(PYTHON)
    return folder


def environments(home):
    return (
        sorted(path.name for path in (home / ".cache/siemtap").glob("build-*"))
        if (home / ".cache").exists()
        else []
    )


@pytest.mark.slow
def test_documented_commands_work_in_a_fresh_clone(clone, home):
    pages = [clone / "README.md", clone / "CONTRIBUTING.md", *sorted((clone / "docs").glob("*.md"))]
    text = "".join(page.read_text() for page in pages)
    lines = set(re.findall(r"(?m)^    (packaging/build (\w+)) ", text))
    assert {word for _, word in lines} == {
        "shipper",
        "splunk",
        "elastic",
        "render",
    }, "the commands that a reader copies"
    for command, status, stream in (
        ("packaging/build", 2, 2),
        ("packaging/build nonsense", 2, 2),
        ("packaging/build help", 0, 1),
    ):
        answer = call(clone, command, home)
        assert (
            answer[0] == status
            and "usage: packaging/build render" in answer[stream]
            and not environments(home)
        ), answer
    for command, word in sorted(lines):
        code, out, err = call(clone, command, home)
        assert code == 0, out + err
        assert not BUILT.get(word) or list((clone / "dist").glob(BUILT[word])), out + err
    assert call(clone, "packaging/build render --check", home)[0] == 0
    assert (
        subprocess.run(
            ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
        ).stdout
        == ""
    ), "rendered files differ, or files were created"
    (clone / "schemas/config/apptrana.json").write_text("{}")
    code, out, _ = call(clone, "packaging/build render --check", home)
    assert code == 1 and "differs: schemas/config/apptrana.json" in out, (
        "packaging/build returns its exit status"
    )
    subprocess.run(["git", "checkout", "--quiet", "."], cwd=clone, check=True)
    assert len(environments(home)) == 1 and environments(home)[0].startswith("build-"), (
        "more than one environment was created"
    )


@pytest.mark.slow
def test_no_environment_is_made_inside_a_complete_one(clone, tmp_path):
    code, out, err = call(
        clone,
        f"'{sys.executable}' packaging/build render --check",
        tmp_path,
        PYTHONPATH=str(clone / "plugins"),
        SIEMTAP_CACHE=str(tmp_path / "cache"),
    )
    assert (
        code == 0 and not (tmp_path / "cache").exists() and "making the environment" not in err
    ), out + err


@pytest.mark.slow
def test_one_render_is_enough_for_a_new_plugin(clone, tmp_path):
    """Its fields become those of the shared schema, and its own schema shows it."""
    variables = {"PYTHONPATH": str(clone / "plugins"), "SIEMTAP_CACHE": str(tmp_path / "cache")}

    def run(words):
        code, out, err = call(clone, f"'{sys.executable}' {words}", tmp_path, **variables)
        assert code == 0, out + err

    run("-m siemtap.shipper.cli.main new acme")
    try:
        run("packaging/build render")
        run("packaging/build render --check")
        assert '"rendered"' in (clone / "schemas/datasets/acme.event.json").read_text()
    finally:
        subprocess.run(["git", "checkout", "--quiet", "."], cwd=clone, check=True)
        subprocess.run(["git", "clean", "-fdq"], cwd=clone, check=True)


@pytest.mark.slow
def test_environment_that_cannot_be_made_is_one_error(clone, tmp_path):
    """Without a package index: one sentence at the end, and no environment is marked as
    complete."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(PYTHON)
    code, _, err = call(
        clone, "packaging/build elastic", tmp_path, PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull
    )
    assert (
        code == 1
        and err.rstrip().endswith("packaging/build could not make its environment: see above")
        and "Traceback" not in err
    )
    assert not list((tmp_path / ".cache/siemtap").glob("*/ready"))
