"""`packaging/build all` twice: in folders of other names, with files of other times and rights, in
another time zone, language, umask and order of sets, each with an environment of its own. What is
in dist/ is the same byte for byte."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# what ends a name in dist/, and how many of them there are at least
KINDS = {
    ".deb": 1,
    ".rpm": 1,
    ".whl": 1,
    ".tgz": 1,  # the Helm chart
    ".cdx.json": 1,
    ".tar.gz": 4,  # the sdist and the add-ons
    ".zip": 3,  # Elastic's packages
    "INDEX.md": 1,
    "SHA256SUMS": 1,
}
OLD = 978_307_200  # 2001-01-01
FIRST = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "1"}
SECOND = {
    "LC_ALL": "C",
    "TZ": "Asia/Kolkata",
    "PYTHONHASHSEED": "2",
    "SOURCE_DATE_EPOCH": str(OLD),
}


def copy(folder, private):
    """Copy the files of the checkout, changed ones too; `private`: for their owner, and old."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if not source.exists():  # deleted, and not yet committed
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        if private:
            target.chmod(target.stat().st_mode & 0o700)
            os.utime(target, (OLD, OLD))
    return folder


def build(folder, umask, variables):
    """Build everything; return the digest of each file."""
    done = subprocess.run(
        ["packaging/build", "all"],
        cwd=folder,
        umask=umask,
        env={**os.environ, "SIEMTAP_CACHE": str(folder.parent / "cache"), **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "dist").iterdir()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("twice")
    first = copy(place / "one/siemtap", private=False)
    second = copy(place / "another/deep/the-source", private=True)
    yield build(first, 0o022, FIRST), build(second, 0o077, SECOND)
    shutil.rmtree(place)


def test_what_is_built_twice_is_the_same(built):
    first, second = built
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_everything_is_built(built):
    names = list(built[0])
    for end, least in KINDS.items():
        assert len([name for name in names if name.endswith(end)]) >= least, end
