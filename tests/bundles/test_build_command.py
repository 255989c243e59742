"""The README's build commands, as a stranger calls them: a fresh clone, an empty home, a Python
and nothing else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
BUILT = {"splunk": "TA-indusface-apptrana-*.tar.gz", "elastic": "apptrana-*.zip"}


def call(clone, command, home, **more):
    """(exit status, standard output, standard error) of a line of the README, lines to a shell."""
    environment = {
        "PATH": os.pathsep.join((str(home / "bin"), "/usr/bin", "/bin")),
        "HOME": str(home),
        **more,
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What is committed, cloned."""
    folder = tmp_path_factory.mktemp("fresh") / "siemtap"
    subprocess.run(
        ["git", "clone", "--quiet", str(ROOT), str(folder)],
        check=True,
        capture_output=True,
        timeout=120,
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
        sorted(path.name for path in (home / ".cache/siemtap").glob("*"))
        if (home / ".cache").exists()
        else []
    )


@pytest.mark.slow
def test_what_the_readme_says_works_on_a_fresh_clone(clone, home):
    lines = re.findall(r"(?m)^    (packaging/build (\w+)) ", (clone / "README.md").read_text())
    assert {word for _, word in lines} == {
        "splunk",
        "elastic",
        "render",
    }, "the lines that a reader copies"
    for words, status, stream in (
        ("packaging/build", 2, 2),
        ("packaging/build nonsense", 2, 2),
        ("packaging/build help", 0, 1),
    ):
        answer = call(clone, words, home)
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
    ), "nothing rendered differs, nothing is left behind"
    (clone / "schemas/config/apptrana.json").write_text("{}")
    code, out, _ = call(clone, "packaging/build render --check", home)
    assert code == 1 and "differs: schemas/config/apptrana.json" in out, (
        "its exit status comes through"
    )
    subprocess.run(["git", "checkout", "--quiet", "."], cwd=clone, check=True)
    assert len(environments(home)) == 1 and environments(home)[0].startswith("build-"), (
        "one, made once"
    )


@pytest.mark.slow
def test_inside_an_environment_that_has_all_it_needs_none_is_made(clone, tmp_path):
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
def test_what_cannot_be_made_is_said(clone, tmp_path):
    """Without a package index: one sentence at the end, and no environment that looks made."""
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
