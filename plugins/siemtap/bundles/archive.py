"""Archives that are equal byte for byte for equal files."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Mapping

STAMP = 1_767_225_600  # 2026-01-01: the time of every file, and the number of every build
ZIP_TIME = (2026, 1, 1, 0, 0, 0)  # the same, as ZIP archives write it


def pack(folder: Path) -> bytes:
    """Return a folder as a tar.gz that is equal byte for byte for equal files.

    Entries are sorted, without owners, all of one time; files have mode 644, folders 755.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in [folder, *sorted(folder.rglob("*"))]:
            info = tarfile.TarInfo(str(path.relative_to(folder.parent)).replace(os.sep, "/"))
            info.mtime = STAMP
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif path.suffix != ".pyc" and "__pycache__" not in path.parts:
                data = path.read_bytes()
                info.size, info.mode = len(data), 0o644
                tar.addfile(info, io.BytesIO(data))
    tarball = io.BytesIO()
    with gzip.GzipFile(
        fileobj=tarball, mode="wb", compresslevel=9, mtime=STAMP, filename=""
    ) as file:
        file.write(buffer.getvalue())
    return tarball.getvalue()


def zipped(top: str, files: Mapping[str, bytes]) -> bytes:
    """Return a ZIP archive that is the same byte for byte whenever it is built."""
    buffer = io.BytesIO()
    folders = {f"{top}/"}
    for path in files:
        for position, character in enumerate(path):
            if character == "/":
                folders.add(f"{top}/{path[:position]}/")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted({*folders, *(f"{top}/{path}" for path in files)}):
            info = zipfile.ZipInfo(name, ZIP_TIME)
            if name.endswith("/"):
                info.external_attr = (0o40755 << 16) | 0x10
            else:
                info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix
            archive.writestr(info, files.get(name[len(top) + 1 :], b""))
    return buffer.getvalue()
