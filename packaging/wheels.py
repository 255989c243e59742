"""The wheels of the libraries that the shipper's packages carry or name, by the locked
requirements."""

from __future__ import annotations

import email
import os
import platform
import re
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from siemtap.bundles.ucc import LOCKED

PYTHON_OF_SYSTEM = Path("/usr/bin/python3")
OLDEST = (3, 10)  # Python of the shipper
GLIBC = 36  # minor version of the C library of Debian 12, the oldest Debian with Python 3.10


class Target(NamedTuple):
    """What wheels are for. `python`: such as 3.11. `machine`: as `uname -m` prints it. `glibc`: the
    minor version of the oldest C library."""

    python: str
    machine: str
    glibc: int = GLIBC

    def pip_options(self) -> list[str]:
        """Return the options with which pip chooses wheels for the target."""
        number = self.python.replace(".", "")
        options = ["--only-binary", ":all:", "--python-version", self.python]
        options += ["--implementation", "cp"]
        for abi in (f"cp{number}", "abi3", "none"):
            options += ["--abi", abi]
        for minor in range(self.glibc, 16, -1):
            options += ["--platform", f"manylinux_2_{minor}_{self.machine}"]
        for name in (f"manylinux2014_{self.machine}", f"linux_{self.machine}", "any"):
            options += ["--platform", name]
        return options


def default_target() -> Target:
    """Return the target of this machine: the system's Python if it is new enough, else this one."""
    python = sys.version_info[:2]
    if PYTHON_OF_SYSTEM.exists():
        words = "import sys; print(*sys.version_info[:2])"
        command = [str(PYTHON_OF_SYSTEM), "-I", "-c", words]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        major, minor = map(int, output.split())
        if (major, minor) >= OLDEST:
            python = (major, minor)
    return Target(f"{python[0]}.{python[1]}", platform.machine())


def download(target: Target, into: Path) -> list[Path]:
    """Download the wheels of the shipper's libraries, checked by their digests; return their paths,
    sorted. SystemExit if pip cannot."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "-r", str(LOCKED / "shipper.txt")]
    command += [*target.pip_options(), "-d", str(into)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if subprocess.run(command, env=environment).returncode:
        raise SystemExit(
            f"pip could not download the wheels for Python {target.python} on {target.machine}:"
            " see above"
        )
    return sorted(into.glob("*.whl"))


def metadata_of(wheel: Path) -> Message:
    """Return the METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (
            name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
        )
        return email.message_from_bytes(archive.read(name))
