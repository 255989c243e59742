"""A Debian package of the shipper: siemtap_<version>_<architecture>.deb.

It carries wheels of siemtap and of its libraries, and its postinst makes an environment of them
below /opt/siemtap, without a network. Wheels with compiled code fit one version of Python, so the
package depends on that one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from email.utils import formatdate
from pathlib import Path

import staged
from wheels import Target

from siemtap import VERSION
from siemtap.bundles.archive import STAMP

PARTS = Path(__file__).with_name("debian")
MAINTAINER = "siemtap <siemtap@example.com>"  # a placeholder, as the addresses of setup.cfg
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
PROGRAMS = (*staged.PROGRAMS, *(f"DEBIAN/{name}" for name in SCRIPTS))
CONTROL = """\
Package: siemtap
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: adduser, python3 (>= {python}), python3 (<< {next}), python3-venv
Section: admin
Priority: optional
Homepage: https://example.com/placeholder/siemtap
Description: collect events from security vendors
 siemtap collects security events from Indusface AppTrana, Trend Micro Deep
 Security (CenturyLink IPS), PingIntelligence ABS and Trend Vision One, and
 delivers them to Elasticsearch, OpenSearch, Splunk (HEC), Kafka, NDJSON files,
 standard output or an embedded store. It runs as a service with checkpoints:
 what has been delivered is remembered across restarts and crashes.
"""


def build(root: Path, into: Path, target: Target) -> Path:
    """Build the package for a Python into a folder, and return its path. SystemExit if it cannot be
    built."""
    if not shutil.which("dpkg-deb"):
        raise SystemExit("packaging/build deb needs dpkg-deb: it runs on Debian and Ubuntu")
    if target.machine not in ARCHITECTURES:
        raise SystemExit(
            f"packaging/build deb: {target.machine} is no architecture of the package; there are"
            f" {', '.join(ARCHITECTURES)}"
        )
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"siemtap_{VERSION}_{ARCHITECTURES[target.machine]}.deb"
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "stage"
        _fill(root, stage, target, Path(folder))
        staged.fix_modes_and_times(stage, PROGRAMS)
        result = subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(stage), str(path)],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(STAMP)},
            capture_output=True,
            text=True,
        )
    if result.returncode:
        raise SystemExit(f"dpkg-deb failed: {result.stderr}")
    return path


def _fill(root: Path, stage: Path, target: Target, work: Path) -> None:
    """Write the files of the package, and its control files, below `stage`."""
    libraries = staged.fill(root, stage, target, work)
    (stage / staged.DOC / "copyright").write_text(_copyright(libraries), encoding="utf-8")
    (stage / staged.DOC / "changelog.gz").write_bytes(staged.compressed(_changelog()))
    overrides = stage / "usr/share/lintian/overrides/siemtap"
    overrides.parent.mkdir(parents=True)
    shutil.copy(PARTS / "lintian-overrides", overrides)
    _write_control(stage, target)


def _write_control(stage: Path, target: Target) -> None:
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    control = stage / "DEBIAN"
    control.mkdir()
    major, minor = map(int, target.python.split("."))
    text = CONTROL.format(
        version=VERSION,
        architecture=ARCHITECTURES[target.machine],
        maintainer=MAINTAINER,
        size=sum(-(-path.stat().st_size // 1024) for path in files),
        python=f"{major}.{minor}~",
        next=f"{major}.{minor + 1}~",
    )
    (control / "control").write_text(text)
    (control / "conffiles").write_text("/etc/siemtap/siemtap.yml\n")
    sums = [f"{_md5(path)}  {path.relative_to(stage)}\n" for path in files]
    (control / "md5sums").write_text("".join(line for line in sums if "  etc/" not in line))
    for name in SCRIPTS:
        shutil.copy(PARTS / name, control / name)


def _md5(path: Path) -> str:
    """Return the digest that dpkg compares installed files with, against accidents only."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _copyright(libraries: list[Path]) -> str:
    """Return the license of siemtap and those of the wheels, which carry their texts."""
    return (
        "siemtap: Apache License 2.0, on Debian in /usr/share/common-licenses/Apache-2.0.\n"
        "Copyright 2026 the authors of siemtap.\n\n"
        f"Libraries in /{staged.FILES}/wheels, each with the text of its license:\n\n"
        f"{staged.license_lines(libraries)}"
    )


def _changelog() -> str:
    """Return an entry in Debian's form, with the time of every build."""
    return (
        f"siemtap ({VERSION}) unstable; urgency=medium\n\n"
        "  * See CHANGELOG.md.gz in this folder.\n\n"
        f" -- {MAINTAINER}  {formatdate(STAMP)}\n"
    )
