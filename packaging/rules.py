"""What AppInspect and slim do not see in an add-on, and we do not want there. Each rule is
proven by a defect that is planted for it (tests/addons)."""

from __future__ import annotations

import ast
import configparser
import json
import re
import stat
import sys
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List
from xml.etree import ElementTree

# beside the plugin's own folder: what is not ours is pinned and looked at by AppInspect
OURS = ("/siemtap/", "/bin/")
PYTHONS = "3.9, 3.13"
# Where a certificate is looked at before anybody vouches for it: that of our own listener, and one
# that is compared with a pin before anything is sent.
LOOK_FIRST = ("centurylink_ips/commands.py", "siemtap/edge/pins.py")
LARGEST = 3 * 2**20


def broken(folder: Path) -> List[str]:
    """Sentences: what is wrong, and where."""
    return [f"{rule.__name__.replace('_', ' ')}: {said}" for rule in RULES for said in rule(folder)]


def of_tarball(path: Path) -> List[str]:
    """What only the packed form shows."""
    said = [f"{path.stat().st_size} bytes"] if path.stat().st_size >= LARGEST else []
    with tarfile.open(path) as tar:
        for member in tar:
            if (
                member.uid
                or member.gid
                or member.issym()
                or member.islnk()
                or (member.isfile() and member.mode != 0o644)
            ):
                said.append(
                    f"{member.name}: owner {member.uid}, mode {member.mode:o},"
                    f" {'a link' if member.issym() or member.islnk() else 'a file'}"
                )
    return said


def _sources(folder: Path) -> Iterator[tuple[Path, str]]:
    plugin = next(iter(_stanzas(folder / "default/inputs.conf")), "")
    for path in sorted(folder.rglob("*.py")):
        where = f"/{path.relative_to(folder).as_posix()}"
        if f"/lib/{plugin}/" in where or any(word in where for word in OURS):
            yield path, path.read_text(encoding="utf-8", errors="replace")


def _stanzas(path: Path) -> Dict[str, Dict[str, str]]:
    found = configparser.RawConfigParser(strict=False, delimiters=("=",), allow_no_value=True)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(path, encoding="utf-8")
    return {name: dict(found.items(name)) for name in found.sections()}


def certificates_are_verified(folder: Path) -> Iterator[str]:
    for path, said in _sources(folder):
        if not path.as_posix().endswith(LOOK_FIRST) and re.search(
            r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified", said
        ):
            yield path.name


def no_UDP(folder: Path) -> Iterator[str]:
    yield from (
        path.name
        for path, said in _sources(folder)
        if re.search(r"SOCK_DGRAM|UDPServer|DatagramProtocol|create_datagram_endpoint", said)
    )


def nothing_is_run_that_is_read(folder: Path) -> Iterator[str]:
    for path, said in _sources(folder):
        for node in ast.walk(ast.parse(said)):
            called = (
                node.func.id
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                else ""
            )
            named = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            # the mapping table is compiled, of our own words
            if called in ("eval", "exec") and path.name != "mapping.py":
                yield f"{path.name}: {called}"
            if {"pickle", "marshal", "shelve", "ctypes"} & set(named):
                yield f"{path.name}: {', '.join(named)}"


def no_proxy_of_the_environment(folder: Path) -> Iterator[str]:
    yield from (
        path.name
        for path, said in _sources(folder)
        if re.search(r"trust_env\s*=\s*True|getproxies|HTTPS?_PROXY", said)
    )


def python_that_the_oldest_reads(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        try:
            ast.parse(path.read_text(encoding="utf-8", errors="replace"), feature_version=(3, 9))
        except SyntaxError as error:
            if "siemtap" in path.parts or "bin" in path.parts or path.parent.parent.name == "lib":
                yield f"{path.relative_to(folder)}:{error.lineno}"


def pure_python_and_nothing_of_a_workshop(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        where = f"/{path.relative_to(folder).as_posix()}"
        if (
            re.search(
                r"\.(so|pyd|dll|pyc|dylib|exe|sh|bat)$|/\.|\.dist-info|\.egg-info|^/local\b|/simulator\.py|/cases/|__pycache__",
                where,
            )
            and path.name != "__pycache__"
        ):
            yield where
    stdlib = {f"{name}.py" for name in sys.stdlib_module_names}
    yield from (
        f"bin/{path.name} hides a module of Python's"
        for path in (folder / "bin").glob("*.py")
        if path.name in stdlib
    )


def files_that_nobody_else_may_write_or_run(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_mode & (
            stat.S_IWGRP | stat.S_IWOTH | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
        ):
            yield f"{path.relative_to(folder)} {path.stat().st_mode & 0o777:o}"


def both_words_for_python(folder: Path) -> Iterator[str]:
    for name in ("inputs", "restmap", "alert_actions"):
        for stanza, said in _stanzas(folder / f"default/{name}.conf").items():
            if (stanza.startswith("admin_external:") or name != "restmap") and (
                said.get("python.version") != "python3" or said.get("python.required") != PYTHONS
            ):
                yield f"{name}.conf [{stanza}]"


def confs_that_an_add_on_has_no_business_with(folder: Path) -> Iterator[str]:
    yield from (
        f"{name}.conf"
        for name in ("indexes", "outputs", "passwords", "authorize", "limits", "deploymentclient")
        if (folder / f"default/{name}.conf").exists()
    )


def searches_that_are_switched_off_and_rare(folder: Path) -> Iterator[str]:
    for stanza, said in _stanzas(folder / "default/savedsearches.conf").items():
        if said.get("disabled") != "1" or not re.match(r"[0-9]+ ", said.get("cron_schedule", "")):
            yield stanza


def every_search_says_where(folder: Path) -> Iterator[str]:
    """Through the index macro, an eventtype (which has it), or Splunk's own logs: never all
    indexes by accident."""
    found = {
        f"savedsearches.conf [{stanza}]": said.get("search", "")
        for stanza, said in _stanzas(folder / "default/savedsearches.conf").items()
    }
    found.update(
        {
            f"eventtypes.conf [{stanza}]": said.get("search", "")
            for stanza, said in _stanzas(folder / "default/eventtypes.conf").items()
        }
    )
    for path in sorted((folder / "default/data/ui/views").glob("*.xml")):
        found.update(
            {
                f"{path.name}: {query.text}": query.text or ""
                for query in ElementTree.parse(path).iter("query")
            }
        )
    macro, types = (
        next(iter(_stanzas(folder / "default/macros.conf"))),
        set(_stanzas(folder / "default/eventtypes.conf")),
    )
    for where, said in found.items():
        if not (
            said.startswith((f"`{macro}` ", "index=_internal ", "| inputlookup "))
            or (re.match(r"eventtype=(\S+)", said) or [""])[0].partition("=")[2] in types
        ):
            yield where


def fields_that_there_are(folder: Path) -> Iterator[str]:
    """What a dashboard counts by, search-time knowledge makes."""
    made = {
        key.partition("-")[2]
        for said in _stanzas(folder / "default/props.conf").values()
        for key in said
        if key.startswith(("EVAL-", "FIELDALIAS-"))
    }
    for path in sorted((folder / "default/data/ui/views").glob("*.xml")):
        for query in (node.text or "" for node in ElementTree.parse(path).iter("query")):
            for field in re.findall(
                r"eventtype=\S+ .*?\| (?:timechart (?:limit=\d+ )?count by|stats count by|top"
                r" limit=\d+) (\w+)",
                query,
            ):
                if field not in made:
                    yield f"{path.name}: {field}"


def pages_that_lead_somewhere(folder: Path) -> Iterator[str]:
    views = {path.stem for path in (folder / "default/data/ui/views").glob("*.xml")} | {"search"}
    yield from (
        view.get("name", "")
        for view in ElementTree.parse(folder / "default/data/ui/nav/default.xml").iter("view")
        if view.get("name") not in views
    )


def the_largest_event_is_not_cut(folder: Path) -> Iterator[str]:
    for stanza, said in _stanzas(folder / "default/props.conf").items():
        # 0: at no length; without the setting Splunk cuts at 10,000 bytes
        if said.get("KV_MODE") == "json" and said.get("TRUNCATE") != "0":
            yield stanza


def the_version_is_one(folder: Path) -> Iterator[str]:
    said: Any = json.loads((folder / "app.manifest").read_text())["info"]["id"]
    app = _stanzas(folder / "default/app.conf")
    if (
        len({said["version"], app["launcher"]["version"], app["id"]["version"]}) > 1
        or said["name"] != folder.name
        or app["package"]["id"] != folder.name
    ):
        yield f"{said}, {app['id']}"


RULES: List[Callable[[Path], Iterator[str]]] = [
    certificates_are_verified,
    no_UDP,
    nothing_is_run_that_is_read,
    no_proxy_of_the_environment,
    python_that_the_oldest_reads,
    pure_python_and_nothing_of_a_workshop,
    files_that_nobody_else_may_write_or_run,
    both_words_for_python,
    confs_that_an_add_on_has_no_business_with,
    searches_that_are_switched_off_and_rare,
    every_search_says_where,
    fields_that_there_are,
    pages_that_lead_somewhere,
    the_largest_event_is_not_cut,
    the_version_is_one,
]
