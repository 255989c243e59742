"""The Helm chart, siemtap-<version>.tgz: packaging/helm with siemtap's version, equal byte for byte
whenever it is built. `helm package` writes the time into its archives."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from siemtap import VERSION
from siemtap.bundles.archive import pack

CHART = Path(__file__).with_name("helm")
NO_VERSION = "0.0.0"


def build(root: Path, into: Path) -> Path:
    """Build the chart into a folder, and return its path."""
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"siemtap-{VERSION}.tgz"
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / "siemtap"
        shutil.copytree(CHART, top)
        shutil.copy(root / "LICENSE", top / "LICENSE")
        described = top / "Chart.yaml"
        text = described.read_text(encoding="utf-8")
        if text.count(f"ersion: {NO_VERSION}\n") != 2:
            raise SystemExit(f"{CHART}/Chart.yaml must have version and appVersion {NO_VERSION}")
        described.write_text(
            text.replace(f"ersion: {NO_VERSION}\n", f"ersion: {VERSION}\n"), encoding="utf-8"
        )
        path.write_bytes(pack(top))
    return path
