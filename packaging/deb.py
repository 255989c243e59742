"""A Debian package of the shipper: siemtap_<version>_<architecture>.deb.

It carries wheels of siemtap and of its libraries, and its postinst makes an environment of them
below /opt/siemtap, without a network. Wheels with compiled code fit one version of Python, so the
package depends on that one.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from email.utils import formatdate
from pathlib import Path

import distributions
import sbom
import wheels
from wheels import Target

from siemtap import VERSION
from siemtap.bundles.archive import STAMP
from siemtap.bundles.licenses import license_of

PARTS = Path(__file__).with_name("debian")
UNIT = Path(__file__).with_name("siemtap.service")
MAINTAINER = "siemtap <siemtap@example.com>"  # a placeholder, as the addresses of setup.cfg
FILES = "usr/lib/siemtap"
DOC = "usr/share/doc/siemtap"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PRIVATE = {"etc/siemtap": 0o750, "etc/siemtap/siemtap.yml": 0o640}  # others are 755 and 644
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
 delivers them to Elasticsearch, OpenSearch, NDJSON files, standard output or an
 embedded store. It runs as a service with checkpoints: what has been delivered
 is remembered across restarts and crashes.
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
        _fix_modes_and_times(stage)
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
    carried = stage / FILES / "wheels"
    for place in (carried, stage / DOC, stage / "etc/siemtap", stage / "usr/bin"):
        place.mkdir(parents=True)
    libraries = wheels.download(target, carried)
    shipper, _ = distributions.build(root, work / "dist")
    shutil.copy(shipper, carried)
    (stage / FILES / "requirements.txt").write_text(_requirements([shipper, *libraries]))
    (stage / "usr/bin/siemtap").symlink_to("/opt/siemtap/bin/siemtap")
    unit = stage / "usr/lib/systemd/system/siemtap.service"
    unit.parent.mkdir(parents=True)
    shutil.copy(UNIT, unit)
    shutil.copy(PARTS / "siemtap.yml", stage / "etc/siemtap/siemtap.yml")
    documents = {
        "copyright": _copyright(root, libraries).encode(),
        "changelog.gz": _compressed(_changelog()),
        "CHANGELOG.md.gz": _compressed((root / "CHANGELOG.md").read_text(encoding="utf-8")),
        "siemtap.cdx.json": sbom.bill(shipper, libraries, target).encode(),
    }
    for name, content in documents.items():
        (stage / DOC / name).write_bytes(content)
    overrides = stage / "usr/share/lintian/overrides/siemtap"
    overrides.parent.mkdir(parents=True)
    shutil.copy(PARTS / "lintian-overrides", overrides)
    _write_control(stage, target)


def _requirements(paths: list[Path]) -> str:
    """Return what pip installs: each wheel by version and digest."""
    lines = []
    for path in sorted(paths):
        metadata = wheels.metadata_of(path)
        pin = f"{metadata['Name']}=={metadata['Version']}"
        lines.append(f"{pin} --hash=sha256:{distributions.sha256(path)}\n")
    return "".join(lines)


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
    for name in ("preinst", "postinst", "prerm", "postrm"):
        shutil.copy(PARTS / name, control / name)


def _md5(path: Path) -> str:
    """Return the digest that dpkg compares installed files with, against accidents only."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _copyright(root: Path, libraries: list[Path]) -> str:
    """Return the license of siemtap and those of the wheels, which carry their texts."""
    lines = []
    for path in libraries:
        metadata = wheels.metadata_of(path)
        lines.append(f"{metadata['Name']} {metadata['Version']}: {license_of(metadata)}\n")
    return (
        "siemtap: Apache License 2.0, on Debian in /usr/share/common-licenses/Apache-2.0.\n"
        "Copyright 2026 the authors of siemtap.\n\n"
        f"Libraries in /{FILES}/wheels, each with the text of its license:\n\n{''.join(lines)}"
    )


def _changelog() -> str:
    """Return an entry in Debian's form, with the time of every build."""
    return (
        f"siemtap ({VERSION}) unstable; urgency=medium\n\n"
        "  * See CHANGELOG.md.gz in this folder.\n\n"
        f" -- {MAINTAINER}  {formatdate(STAMP)}\n"
    )


def _compressed(text: str) -> bytes:
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _fix_modes_and_times(stage: Path) -> None:
    """Set modes and times, whatever the umask and the clock of the build."""
    scripts = ("preinst", "postinst", "prerm", "postrm")
    for path in (stage, *stage.rglob("*")):
        if not path.is_symlink():
            name = str(path.relative_to(stage))
            is_open = path.is_dir() or (path.parent.name == "DEBIAN" and path.name in scripts)
            path.chmod(PRIVATE.get(name, 0o755 if is_open else 0o644))
        os.utime(path, (STAMP, STAMP), follow_symlinks=False)
