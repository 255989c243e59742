"""dist/INDEX.md: what each file of dist/ is for, and how it is installed."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Dict, List, Tuple

from distributions import SUMS, sha256

from siemtap import VERSION

INDEX = "INDEX.md"
# (pattern, what it is for, how to install it); {file}: its name
KINDS: Tuple[Tuple[str, str, str], ...] = (
    (
        "siemtap_*.deb",
        "the shipper as a service, on Debian and Ubuntu",
        "`sudo apt-get install ./{file}`",
    ),
    (
        "siemtap-*.rpm",
        "the shipper as a service, on RHEL 9 and 10, their rebuilds, Fedora",
        "`sudo dnf install ./{file}`",
    ),
    ("siemtap-*.whl", "the shipper as a Python package", "`pip install ./{file}`"),
    ("siemtap-*.tar.gz", "its source distribution", "`pip install ./{file}`"),
    ("siemtap-*.cdx.json", "the bill of materials of the wheel and its libraries (CycloneDX)", ""),
    (
        "siemtap-*.tgz",
        "the Helm chart",
        "`helm install siemtap ./{file} --values values.yaml`",
    ),
    (
        "TA-*.tar.gz",
        "a Splunk add-on",
        "Splunk Web, Apps, Install app from file; or `splunk install app {file}`",
    ),
    (
        "*-*.zip",
        "an Elastic package, for Fleet",
        "Kibana, Integrations, Upload package; or `POST kbn:/api/fleet/epm/packages`",
    ),
)
TEXT = """\
# siemtap {version}

Check the files with `sha256sum --check {sums}`. Manual: `docs/` of the repository.

| file | bytes | is | installed by |
|---|---|---|---|
{rows}

| file | SHA-256 |
|---|---|
{digests}
"""


def write_index(folder: Path) -> Path:
    """Write the index of a folder, and return its path."""
    files = described(folder)
    rows, digests = [], []
    for path, (purpose, install) in files.items():
        how = install.format(file=path.name)
        rows.append(f"| `{path.name}` | {path.stat().st_size:,} | {purpose} | {how} |")
        digests.append(f"| `{path.name}` | `{sha256(path)}` |")
    text = TEXT.format(version=VERSION, sums=SUMS, rows="\n".join(rows), digests="\n".join(digests))
    path = folder / INDEX
    path.write_text(text, encoding="utf-8")
    return path


def described(folder: Path) -> Dict[Path, Tuple[str, str]]:
    """Return path -> (what it is for, how to install it), in the order of KINDS. SystemExit for a
    file that is of no kind: somebody else's, or of a kind that is missing there."""
    left = sorted(
        path for path in folder.iterdir() if path.is_file() and path.name not in (SUMS, INDEX)
    )
    files: Dict[Path, Tuple[str, str]] = {}
    for pattern, purpose, install in KINDS:
        matches: List[Path] = [path for path in left if fnmatch.fnmatch(path.name, pattern)]
        left = [path for path in left if path not in matches]
        files.update({path: (purpose, install) for path in matches})
    if left:
        names = ", ".join(path.name for path in left)
        raise SystemExit(f"{folder}: {names} is nothing that packaging/build makes; move it away")
    return files
