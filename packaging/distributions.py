"""The shipper's wheel and sdist, equal byte for byte whenever they are built; and SHA256SUMS."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from siemtap.bundles.archive import STAMP, ZIP_TIME, pack
from siemtap.bundles.ucc import LOCKED

# what the distributions are made of; a file that is not listed in setup.cfg is left out again
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "plugins", "schemas")
SUMS = "SHA256SUMS"


def build(root: Path, into: Path) -> tuple[Path, Path]:
    """Build the wheel and the sdist of a checkout; return the paths of both. SystemExit if the
    build fails."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "source", Path(folder) / "made"
        _copy_sources(root, source)
        _run_build(source, made, Path(folder) / "backend")
        (wheel,), (sdist,) = made.glob("*.whl"), made.glob("*.tar.gz")
        targets = into / wheel.name, into / sdist.name
        targets[0].write_bytes(_repacked_wheel(wheel, Path(folder) / "repacked.whl"))
        targets[1].write_bytes(_repacked_sdist(sdist, Path(folder) / "unpacked"))
    return targets


def _copy_sources(root: Path, into: Path) -> None:
    """Copy what a build reads. In the checkout, setuptools would also read the list of files of an
    earlier build."""
    into.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, into / name, ignore=ignored)
        else:
            shutil.copy(root / name, into / name)


def _run_build(source: Path, into: Path, backend: Path) -> None:
    """Build with the locked version of setuptools, installed into the folder `backend`."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(STAMP), "PYTHONPATH": str(backend)}
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    pip += ["--no-deps", "--require-hashes", "-r", str(LOCKED / "wheel.txt")]
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(into), str(source)]
    for command in ([*pip, "--target", str(backend)], build):
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode:
            output = f"{result.stdout[-2000:]}{result.stderr[-3000:]}"
            raise SystemExit(f"{' '.join(command[1:4])} failed:\n{output}")


def _repacked_wheel(wheel: Path, into: Path) -> bytes:
    """Return a wheel with fixed times and modes. Its order, RECORD last, stays."""
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(into, "w") as after:
        names = [name for name in before.namelist() if not name.endswith("/")]
        record = [name for name in names if name.endswith(".dist-info/RECORD")]
        for name in [*sorted(set(names) - set(record)), *record]:
            info = zipfile.ZipInfo(name, ZIP_TIME)
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix
            after.writestr(info, before.read(name))
    return into.read_bytes()


def _repacked_sdist(sdist: Path, folder: Path) -> bytes:
    with tarfile.open(sdist) as tar:
        tar.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return pack(top)


def sha256(path: Path) -> str:
    """Return the digest of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_checksums(folder: Path) -> Path:
    """Write SHA256SUMS for the files of a folder, as `sha256sum --check` reads it."""
    path = folder / SUMS
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != SUMS)
    path.write_text("".join(f"{sha256(file)}  {file.name}\n" for file in files))
    return path
