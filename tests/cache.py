"""The cache folder of ci/, with the files that tests read."""

import os
from pathlib import Path

CACHE = Path(
    os.environ.get("SIEMTAP_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "siemtap"
)
