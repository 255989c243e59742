"""The licenses of the libraries that an add-on carries."""

from __future__ import annotations

import email
import re
import shutil
from email.message import Message
from pathlib import Path
from typing import Iterable, List


def metadata_folders(libraries: Path) -> List[Path]:
    """Return the folders that describe the libraries of a folder, sorted."""
    return sorted([*libraries.glob("*.dist-info"), *libraries.glob("*.egg-info")])


def copy_licenses(folders: Iterable[Path], target: Path) -> None:
    """List libraries with their licenses in THIRDPARTY.txt, and copy their license files.

    `folders`: the .dist-info or .egg-info folders of the libraries.
    """
    lines: List[str] = []
    for info in folders:
        file = info / ("METADATA" if info.suffix == ".dist-info" else "PKG-INFO")
        metadata = email.message_from_string(file.read_text(encoding="utf-8"))
        lines.append(_license_line(metadata))
        for path in sorted(info.rglob("*")):
            if path.is_file() and re.match(r"(?i)(licen[sc]e|notice|copying)", path.name):
                name = path.name if path.suffix else f"{path.name}.txt"
                shutil.copy(path, target / f"{metadata['Name']}-{name}")
    with open(target / "THIRDPARTY.txt", "a", encoding="utf-8") as listing:
        listing.writelines(lines)


def license_of(metadata: Message) -> str:
    """Return a library's license as its metadata name it: an SPDX expression, or other words."""
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    terms = metadata["License-Expression"] or ", ".join(classifiers) or metadata["License"]
    return terms or "no license named"


def _license_line(metadata: Message) -> str:
    """Return a library's line of THIRDPARTY.txt: name, version, license, home page."""
    terms = license_of(metadata)
    line = f"{metadata['Name']} {metadata['Version']}: {terms}; {metadata['Home-page'] or ''}\n"
    return line.replace("; \n", "\n")
