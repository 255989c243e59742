"""What `siemtap support` collects, each part a file of a zip archive. A part that cannot be read
says why, since a support archive is made when something is broken."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import ssl
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

from ... import VERSION
from ...core.convert import rfc3339
from ...core.errors import ConfigError, SiemtapError
from ...core.model import Mark, Unit
from ...core.windows import Millis
from ...edge.store import private
from ...edge.store.snapshot import Snapshot
from ..config.document import Mistakes
from ..config.keystore import VARIABLE, Keystore
from ..config.load import input_files, load, read_text
from ..config.sections import Config
from .redaction import Redactor, WrittenDocument, redacted, shape

LOG_LINES = 1_000
LOG_BYTES = 1024**2  # of the end of the log file
THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (asked, not bound)
STATUS_TIMEOUT = 5  # seconds that the status page may take
README = """\
Made by `siemtap support`, for a bug report. Please read it before you send it.

Secrets are replaced by REDACTED, and so are values of settings that siemtap does not know. There
are no events, no payloads and no reasons of rejected events, and of the checkpoints only numbers,
times and the lengths of texts. There are names: of hosts, inputs, units, websites and folders, and
in log.txt whatever siemtap logged, such as addresses of senders, and checkpoints as they are if
logging.level is debug.
"""


def write(path: Path, file: str, overrides: Sequence[str], now: Millis) -> List[str]:
    """Write the archive for a configuration file, readable for its owner alone; return the names of
    its parts. ConfigError if the archive exists or cannot be written."""
    parts = collect(file, overrides, now)
    try:
        with open(path, "xb", opener=private.opener) as target:
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in parts.items():
                    archive.writestr(name, text.encode("utf-8", "replace"))
    except FileExistsError:
        raise ConfigError(f"{path} exists already; name another file with --into") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        raise ConfigError(
            f"{path} cannot be written: {reason}; name another file with --into"
        ) from None
    return list(parts)


def collect(file: str, overrides: Sequence[str], now: Millis) -> Dict[str, str]:
    """Return the parts by their names. Nothing of a part that fails is lost but that part."""
    redactor = Redactor()
    if os.environ.get(VARIABLE):
        redactor.hide(os.environ[VARIABLE])
    loaded: List[Config] = []

    def configuration() -> Any:
        document = _document(file, overrides, redactor)
        plain = redacted(document)
        try:
            loaded.append(load(file, overrides=overrides))
        except ConfigError as error:
            return {"mistakes": list(_mistakes(error)), "configuration": plain}
        return {"mistakes": [], "configuration": plain}

    def with_config(part: Callable[[Config], Any]) -> Callable[[], Any]:
        def made() -> Any:
            if not loaded:
                return "not collected: the configuration has mistakes, see configuration.json"
            return part(loaded[0])

        return made

    makers: Dict[str, Callable[[], Any]] = {
        "configuration.json": configuration,
        "versions.json": versions,
        "status.json": with_config(status),
        "state.json": with_config(state),
        "rejected.json": with_config(rejected),
        "stores.json": with_config(stores),
        "log.txt": with_config(log_lines),
    }
    parts = {name: _made(maker) for name, maker in makers.items()}
    texts = {"README.txt": f"{README}\nMade at {rfc3339(now)}.\n"}
    for name, part in parts.items():
        text = part if isinstance(part, str) else json.dumps(part, indent=1, ensure_ascii=False)
        texts[name] = redactor.clean(f"{text}\n")
    return texts


def _made(maker: Callable[[], Any]) -> Any:
    """Return a part, or why there is none."""
    try:
        return maker()
    except SiemtapError as error:
        return f"not collected: {error}"
    except Exception as error:  # whatever is broken here is what the report is about
        return f"not collected: {type(error).__name__}"


def _document(file: str, overrides: Sequence[str], redactor: Redactor) -> WrittenDocument:
    """Read the configuration as it is written. Its text is in no error: it may be a secret."""
    keystore = Keystore.beside(file, os.environ)
    text = read_text(file)
    try:
        document = WrittenDocument(text, file, os.environ, keystore.get, redactor)
        for path in input_files(file):
            document.add_inputs(read_text(str(path)), str(path))
        for override in overrides:
            document.override(override)
    except ConfigError:
        raise ConfigError(f"{file} cannot be read as YAML: see `siemtap test config`") from None
    return document


def _mistakes(error: ConfigError) -> Iterator[str]:
    """Yield the mistakes of a configuration without the values in them."""
    for sentence in error.mistakes if isinstance(error, Mistakes) else [error.message]:
        before, quote, after = sentence.partition(' is "')
        yield f'{before} is "…{after[after.rfind(chr(34)) :]}' if quote else sentence


def versions() -> Any:
    """Return what siemtap runs on."""
    libraries = {
        distribution.metadata["Name"]: distribution.version
        for distribution in importlib.metadata.distributions()
    }
    return {
        "siemtap": VERSION,
        "python": sys.version,
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "processors": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "under_systemd": "INVOCATION_ID" in os.environ,
        "libraries": dict(sorted(libraries.items(), key=lambda item: item[0].lower())),
    }


def status(config: Config) -> Any:
    """Return what a running siemtap says of itself, without the reasons of rejected events."""
    pid = config.data / "siemtap.pid"
    running = pid.read_text(encoding="ascii").strip() if pid.exists() else None
    if not config.http.enabled or not config.http.port:
        return {"process": running, "page": "not collected: it has no known address"}
    host = THIS_MACHINE.get(config.http.host, config.http.host)
    connection = http.client.HTTPConnection(host, config.http.port, timeout=STATUS_TIMEOUT)
    try:
        with closing(connection):
            connection.request("GET", "/stats")
            stats: Dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {"process": running, "page": f"did not answer: {type(error).__name__}"}
    news = stats["output"].pop("news_of_rejected")
    if news and stats["reason"].startswith(news):
        stats["reason"] = "there are rejected events: see rejected.json"
    return {"process": running, "stats": stats}


def state(config: Config) -> Any:
    """Return the checkpoints: shape of the cursor, number of event ids, time."""
    rows = _read(config, "SELECT input, dataset, scope, mark, saved FROM mark ORDER BY 1, 2, 3")
    return [_checkpoint(*row) for row in rows]


def _checkpoint(input: str, dataset: str, scope: str, text: str, saved: Any) -> Mapping[str, Any]:
    try:
        mark = Mark.from_json(json.loads(text))
        position = {"cursor": shape(mark.cursor), "ids": len(mark.seen)}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        position = {"damaged": type(error).__name__}
    return {"unit": str(Unit(input, dataset, scope)), **position, "saved_ms": saved}


def rejected(config: Config) -> Any:
    """Return how many events were rejected, by input, dataset and output; "" is the schema."""
    rows = _read(
        config,
        "SELECT input, dataset, output, count(*), sum(looked), max(time) FROM rejected"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        table="rejected",
    )
    names = ("input", "dataset", "output", "events", "acknowledged", "latest_ms")
    return [dict(zip(names, row)) for row in rows]


def _read(config: Config, query: str, table: str = "mark") -> List[Tuple[Any, ...]]:
    with closing(Snapshot(config.data / "siemtap.db")) as snapshot:
        return snapshot.read(query) if snapshot.has_table(table) else []


def stores(config: Config) -> Any:
    """Return the sizes of the files of path.data, of the output `file` and of the log, and the room
    on their disks."""
    folders = [config.data]
    folders += [Path(each.settings.path) for each in config.outputs if each.type == "file"]
    sizes = {}
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        place: Dict[str, Any] = {"files": len(files)}
        if folder.exists():
            usage = shutil.disk_usage(folder)
            place.update(free_bytes=usage.free, total_bytes=usage.total)
        by_name: Dict[str, int] = {}
        for path in files:
            name = str(path.relative_to(folder).parent if path.parent != folder else path.name)
            by_name[name] = by_name.get(name, 0) + path.stat().st_size
        place["bytes"] = dict(sorted(by_name.items()))
        sizes[str(folder)] = place
    return sizes


def log_lines(config: Config) -> str:
    """Return the last lines of the log file."""
    file = config.logging.file
    if not file:
        return "not collected: logging.file is not set; under systemd: journalctl -u siemtap"
    with open(file, "rb") as log:
        log.seek(max(0, os.stat(file).st_size - LOG_BYTES))
        lines = log.read().decode("utf-8", "replace").split("\n")
    return "\n".join(lines[-LOG_LINES - 1 :]).rstrip("\n")
