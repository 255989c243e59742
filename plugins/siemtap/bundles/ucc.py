"""UCC and the libraries that the add-ons carry, installed by pip from locked requirements."""

from __future__ import annotations

import os
import subprocess
import tempfile
import venv
from pathlib import Path
from typing import Any, Optional, Set, Tuple

from ..core.errors import SiemtapError

# versions and digests of what is installed; packaging/locked.py writes them
LOCKED = Path(__file__).with_name("requirements")
# UCC installs these itself; the build replaces them with the locked libraries
UCC_LIBRARIES = ("splunktaucclib==8.2.0", "solnlib==7.0.0", "splunk-sdk==2.1.1")
# options of pip: wheels of pure Python, for Splunk's oldest Python
PURE_PYTHON = (
    "--no-deps",
    "--only-binary",
    ":all:",
    "--python-version",
    "3.9",
    "--implementation",
    "py",
    "--abi",
    "none",
    "--platform",
    "any",
)


def carried_names() -> Set[str]:
    """Return the names of the libraries that every add-on carries."""
    lines = (LOCKED / "carried.txt").read_text(encoding="utf-8").splitlines()
    return {line.partition("==")[0] for line in lines}


def fill(folder: Path) -> int:
    """Download every wheel that a build needs into a folder; return their number."""
    with tempfile.TemporaryDirectory() as environment:
        venv.create(environment, with_pip=True)
        python = Path(environment) / ("Scripts" if os.name == "nt" else "bin") / "python"
        pip = [str(python), "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        for requirements in (
            _locked("build"),
            UCC_LIBRARIES,
            ("--no-deps", "--no-binary", "splunk-sdk", *_locked("sdk")),
            (*PURE_PYTHON, *_locked("carried")),
            (*PURE_PYTHON, *_locked("receiver")),
        ):
            if subprocess.run([*pip, "-d", str(folder), *requirements]).returncode:
                raise SiemtapError(f"pip could not fill {folder}: see above")
    return len(list(folder.iterdir()))


def _locked(group: str) -> Tuple[str, ...]:
    """Return the options of pip that install a group of locked requirements."""
    return "--require-hashes", "-r", str(LOCKED / f"{group}.txt")


class Tools:
    """UCC in a virtual environment, and the libraries of the add-ons: pure Python, for 3.9."""

    def __init__(self, folder: Path, offline: Optional[Path]) -> None:
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PIP_REQUIRE"))
        }
        if offline:
            self.environment.update(
                PIP_NO_INDEX="1",
                PIP_FIND_LINKS=str(offline.resolve()),
                PIP_CONFIG_FILE=os.devnull,
            )
        venv.create(folder, with_pip=True)
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        pip = (self.bin / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
        self.call(*pip, *_locked("build"))
        self.libraries = folder / "lib-of-addons"
        self.webhook_libraries = folder / "lib-of-receivers"
        # splunk-sdk has no wheel
        self.call(
            *pip,
            "--target",
            self.libraries,
            "--no-compile",
            "--no-deps",
            "--no-build-isolation",
            "--no-binary",
            "splunk-sdk",
            *_locked("sdk"),
        )
        for target, group in ((self.libraries, "carried"), (self.webhook_libraries, "receiver")):
            self.call(*pip, "--target", target, "--no-compile", *PURE_PYTHON, *_locked(group))

    def call(self, *command: Any, cwd: Any = None) -> None:
        """Run a command. Raise SiemtapError with its output if it fails."""
        result = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise SiemtapError(
                f"{' '.join(map(str, command[:4]))} …"
                f" failed:\n{result.stdout[-2000:]}\n{result.stderr[-3000:]}"
            )
