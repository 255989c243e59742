"""What the Debian package and the RPM carry alike: the files below `/`."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Tuple

import distributions
import sbom
import wheels
from wheels import Target

from siemtap.bundles.archive import STAMP
from siemtap.bundles.licenses import license_of

HERE = Path(__file__).parent
FILES = "usr/lib/siemtap"
DOC = "usr/share/doc/siemtap"
PRIVATE = {"etc/siemtap": 0o750, "etc/siemtap/siemtap.yml": 0o640}  # others are 755 and 644
PROGRAMS = (f"{FILES}/make-environment",)


def fill(root: Path, stage: Path, target: Target, work: Path) -> list[Path]:
    """Write the files of a package for a target below `stage`, and return the wheels of the
    libraries that it carries. `work`: a folder for the build."""
    carried = stage / FILES / "wheels"
    for place in (carried, stage / DOC, stage / "etc/siemtap", stage / "usr/bin"):
        place.mkdir(parents=True)
    libraries = wheels.download(target, carried)
    shipper, _ = distributions.build(root, work / "dist")
    shutil.copy(shipper, carried)
    (stage / FILES / "requirements.txt").write_text(_requirements([shipper, *libraries]))
    shutil.copy(HERE / "make-environment", stage / FILES / "make-environment")
    (stage / "usr/bin/siemtap").symlink_to("/opt/siemtap/bin/siemtap")
    unit = stage / "usr/lib/systemd/system/siemtap.service"
    unit.parent.mkdir(parents=True)
    shutil.copy(HERE / "siemtap.service", unit)
    shutil.copy(HERE / "debian/siemtap.yml", stage / "etc/siemtap/siemtap.yml")
    for page in _manual(root):
        (stage / DOC / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / page, stage / DOC / page)
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    (stage / DOC / "CHANGELOG.md.gz").write_bytes(compressed(changes))
    bill = sbom.bill(shipper, libraries, target)
    (stage / DOC / "siemtap.cdx.json").write_text(bill, encoding="utf-8")
    return libraries


def _manual(root: Path) -> list[Path]:
    """Return the pages of the manual, with the folders that their links lead through."""
    pages = [
        path for path in (root / "docs").rglob("*.*") if path.suffix in (".md", ".png", ".svg")
    ]
    for pattern in ("*/README.md", "siemtap/decisions/*.md"):
        pages += (root / "plugins").glob(pattern)
    return [path.relative_to(root) for path in sorted(pages)]


def _requirements(paths: list[Path]) -> str:
    """Return what pip installs: each wheel by version and digest."""
    lines = []
    for path in sorted(paths):
        metadata = wheels.metadata_of(path)
        pin = f"{metadata['Name']}=={metadata['Version']}"
        lines.append(f"{pin} --hash=sha256:{distributions.sha256(path)}\n")
    return "".join(lines)


def license_lines(libraries: list[Path]) -> str:
    """Return the license of each library, a line each."""
    lines = []
    for path in libraries:
        metadata = wheels.metadata_of(path)
        lines.append(f"{metadata['Name']} {metadata['Version']}: {license_of(metadata)}\n")
    return "".join(lines)


def compressed(text: str) -> bytes:
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def fix_modes_and_times(stage: Path, programs: Tuple[str, ...] = PROGRAMS) -> None:
    """Set modes and times, whatever the umask and the clock of the build. `programs`: the files
    that are executable."""
    for path in (stage, *stage.rglob("*")):
        if not path.is_symlink():
            name = str(path.relative_to(stage))
            is_open = path.is_dir() or name in programs
            path.chmod(PRIVATE.get(name, 0o755 if is_open else 0o644))
        os.utime(path, (STAMP, STAMP), follow_symlinks=False)
