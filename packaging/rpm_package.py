"""An RPM of the shipper: siemtap-<version>-1.<architecture>.rpm, with the layout, the unit and the
configuration of the Debian package.

Its wheels are for one version of Python. 3.12 is that of RHEL 10 and its rebuilds, and a package
(python3.12) of RHEL 9. Nothing of the system's RPM macros is used, so that it can be built on
Debian, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import staged
from wheels import Target

from siemtap import VERSION
from siemtap.bundles.archive import STAMP

PARTS = Path(__file__).with_name("rpm")
PYTHON = "3.12"
GLIBC = 34  # minor version of the C library of RHEL 9
ARCHITECTURES = ("x86_64", "aarch64")
SCRIPTS = ("pre", "post", "preun", "postun")
MACROS = {
    "_buildhost": "localhost",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "source_date_epoch_from_changelog": "0",
    "_binary_payload": "w9.gzdio",
    "_build_id_links": "none",
    "debug_package": "%{nil}",
    "__os_install_post": "%{nil}",
    "__brp_mangle_shebangs": "%{nil}",
}
SPEC = """\
Name: siemtap
Version: {version}
Release: 1
Summary: Collect events from security vendors
License: Apache-2.0
URL: https://example.com/placeholder/siemtap
AutoReqProv: no
Requires: /usr/bin/python{python}
Requires: systemd
Requires(pre): shadow-utils
Requires(post): /usr/bin/python{python}

%description
siemtap collects security events from Indusface AppTrana, Trend Micro Deep
Security (CenturyLink IPS), PingIntelligence ABS and Trend Vision One, and
delivers them to Elasticsearch, OpenSearch, Splunk (HEC), Kafka, NDJSON files,
standard output or an embedded store. It runs as a service with checkpoints:
what has been delivered is remembered across restarts and crashes.

%install
cp -a {stage}/. %{{buildroot}}/

{scripts}
%files
%dir %attr(0750, root, siemtap) /etc/siemtap
%config(noreplace) %attr(0640, root, siemtap) /etc/siemtap/siemtap.yml
%dir %attr(0700, siemtap, siemtap) /var/lib/siemtap
/usr/bin/siemtap
/usr/lib/siemtap
/usr/lib/systemd/system/siemtap.service
%license /usr/share/licenses/siemtap
%doc /usr/share/doc/siemtap
"""


def target_of(machine: str, python: str = "") -> Target:
    """Return what the wheels of the package are for."""
    return Target(python or PYTHON, machine, GLIBC)


def build(root: Path, into: Path, target: Target) -> Path:
    """Build the package for a Python into a folder, and return its path. SystemExit if it cannot be
    built."""
    if not shutil.which("rpmbuild"):
        raise SystemExit(
            "packaging/build rpm needs rpmbuild: apt-get install rpm, or dnf install rpm-build"
        )
    if target.machine not in ARCHITECTURES:
        raise SystemExit(
            f"packaging/build rpm: {target.machine} is no architecture of the package; there are"
            f" {', '.join(ARCHITECTURES)}"
        )
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work, stage = Path(folder), Path(folder) / "stage"
        _fill(root, stage, target, work)
        spec = work / "siemtap.spec"
        spec.write_text(_spec(stage, target), encoding="utf-8")
        built = _run_rpmbuild(spec, work, target)
        path = into / built.name
        shutil.copyfile(built, path)
    return path


def _fill(root: Path, stage: Path, target: Target, work: Path) -> None:
    libraries = staged.fill(root, stage, target, work)
    licenses = stage / "usr/share/licenses/siemtap"
    licenses.mkdir(parents=True)
    shutil.copy(root / "LICENSE", licenses / "LICENSE")
    text = (
        f"Libraries in /{staged.FILES}/wheels, each with the text of its license:\n\n"
        f"{staged.license_lines(libraries)}"
    )
    (licenses / "THIRDPARTY.txt").write_text(text, encoding="utf-8")
    (stage / "var/lib/siemtap").mkdir(parents=True)
    staged.fix_modes_and_times(stage)


def _spec(stage: Path, target: Target) -> str:
    scripts = ""
    for name in SCRIPTS:
        text = (PARTS / name).read_text(encoding="utf-8").replace("@PYTHON@", target.python)
        body = text.partition("\n")[2]  # %post and the others are run by /bin/sh
        scripts += f"%{name} -p /bin/sh\n{body}\n"
    return SPEC.format(version=VERSION, python=target.python, stage=stage, scripts=scripts)


def _run_rpmbuild(spec: Path, work: Path, target: Target) -> Path:
    command = ["rpmbuild", "-bb", "--quiet", "--target", f"{target.machine}-linux"]
    for name, value in {**MACROS, "_topdir": str(work / "top")}.items():
        command += ["--define", f"{name} {value}"]
    result = subprocess.run(
        [*command, str(spec)],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(STAMP), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise SystemExit(f"rpmbuild failed: {result.stdout}{result.stderr}")
    (built,) = (work / "top/RPMS").rglob("*.rpm")
    return built
