"""Every command in a broken world: it ends with a sentence, never with a traceback."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from processes import ENVIRONMENT, HANG
from shipper import broken_files, broken_worlds, forked_commands

pytestmark = pytest.mark.slow

LAST_RESORT = "is a fault of siemtap"  # the sentence for an error that nobody thought of
# worlds that also break a command that reads no configuration
FOR_ALL = (
    "nothing_is_broken",
    "nobody_may_write",
    "no_disk_space",
    "the_folder_was_deleted",
    "standard_output_is_full",
    "the_terminal_is_ascii",
    "what_is_written_to_is_a_file",
    "what_is_written_to_is_full",
)
RETRIED = (
    "a_cluster_that_does_not_answer",
    "a_host_cannot_be_found",
    "a_key_is_not_latin_1",
    "an_opensearch_and_kibana_that_do_not_answer",
    "standard_output_is_full",
)
SOME = [
    command
    for command in broken_worlds.COMMANDS
    if command.split()[0] in ("run", "state", "rejected", "queue", "replay", "audit")
]


def run(tmp_path, make, selected):
    """Run each command in a world of its own; return what each ended with."""
    return run_all(tmp_path, [(make, argv) for argv in broken_worlds.commands(selected)])


def run_all(tmp_path, calls):
    """Run each (make, arguments): a command in the world that `make` makes."""
    cases = []
    for number, (make, argv) in enumerate(calls):
        folder = tmp_path / str(number)
        how = make(folder) or {}
        cases.append({"argv": argv, "world": str(folder), **how})
    for folder in [tmp_path, *tmp_path.parents][:-2]:  # other users must get there
        folder.chmod(folder.stat().st_mode | 0o055)
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, str(Path(forked_commands.__file__)), str(file)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    return list(zip(cases, json.loads(done.stdout)))


def check(results):
    """Fail for each command that hangs, ends with a traceback or shows a secret."""
    bad = {}
    for case, result in results:
        output = result["output"]
        if (
            result["code"] not in (0, 1, 2)
            or any(word in output for word in ("Traceback", LAST_RESORT, "hidden-secret"))
            or "Exception ignored" in output
        ):
            bad[" ".join(case["argv"])] = (result["code"], output[-1500:])
    assert not bad, "\n\n".join(f"{command}: {code}\n{out}" for command, (code, out) in bad.items())


@pytest.mark.parametrize("name", broken_worlds.WORLDS)
def test_no_command_ends_with_a_traceback(tmp_path, name):
    selected = broken_worlds.COMMANDS
    if name not in FOR_ALL:
        selected = broken_worlds.DEPENDENT
    if "configuration" in name:  # all commands read it by one function
        selected = ["run --once", "test config", "state list", "export dashboards --into into"]
    if name in RETRIED:  # the output is tried for two minutes, as it should
        selected = [command for command in selected if not command.startswith("replay")]
    check(run(tmp_path, broken_worlds.WORLDS[name], selected))


def test_no_broken_yaml_ends_with_a_traceback(tmp_path):
    calls = [
        (partial(broken_worlds.usual, text=text), ["test", "config"])
        for text in broken_files.BROKEN_YAML.values()
    ]
    results = run_all(tmp_path, calls)
    check(results)
    assert all(result["output"] for _, result in results)


@pytest.mark.parametrize("name", broken_files.WRONG_STATE)
def test_no_wrong_state_ends_with_a_traceback(tmp_path, name):
    def make(folder):
        broken_worlds.usual(folder)
        broken_worlds.stored(folder, **broken_files.WRONG_STATE[name])

    check(run(tmp_path, make, SOME))
