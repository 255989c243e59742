"""Rules for the add-ons beyond those of AppInspect and slim.

A rule is a generator over an unpacked add-on: it yields where it is broken. Its name is the
message. tests/addons proves each rule with a planted defect.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import stat
import sys
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from xml.etree import ElementTree

Rule = Callable[[Path], Iterator[str]]
# Sources of siemtap, beside the plugin's folder. Third-party libraries are pinned, and AppInspect
# checks them.
OWN_SOURCES = ("/siemtap/", "/bin/")
PYTHONS = "3.9, 3.13"
# The first two read a certificate before it is trusted: the one of the add-on's own listener, and
# the one that is compared with a fingerprint before anything is sent. The third asks the setting
# `verify`, of which the runner warns.
MAY_SKIP_VERIFICATION = (
    "centurylink_ips/commands.py",
    "siemtap/edge/client/pins.py",
    "siemtap/edge/certificates.py",
)
MAX_BYTES = 3 * 2**20  # of a tarball


def broken_rules(folder: Path, rules: Optional[List[Rule]] = None) -> List[str]:
    """Return a line for each place where an unpacked add-on breaks a rule.

    `rules`: all by default.
    """
    return [
        f"{rule.__name__.replace('_', ' ')}: {place}"
        for rule in rules or RULES
        for place in rule(folder)
    ]


def broken_by_tarball(path: Path) -> List[str]:
    """Return a line for each problem of a tarball: its size, owners, modes and links."""
    size = path.stat().st_size
    lines = [f"{size} bytes"] if size >= MAX_BYTES else []
    with tarfile.open(path) as tar:
        for member in tar:
            is_link = member.issym() or member.islnk()
            has_owner = bool(member.uid or member.gid)
            has_wrong_mode = member.isfile() and member.mode != 0o644
            if has_owner or is_link or has_wrong_mode:
                lines.append(
                    f"{member.name}: owner {member.uid}, mode {member.mode:o},"
                    f" {'a link' if is_link else 'a file'}"
                )
    return lines


def _sources(folder: Path) -> Iterator[Tuple[Path, str]]:
    """Yield (path, text) of each Python file of siemtap and of the plugin."""
    plugin = next(iter(_stanzas(folder / "default/inputs.conf")), "")
    for path in sorted(folder.rglob("*.py")):
        name = f"/{path.relative_to(folder).as_posix()}"
        if f"/lib/{plugin}/" in name or any(part in name for part in OWN_SOURCES):
            yield path, path.read_text(encoding="utf-8", errors="replace")


def _stanzas(path: Path) -> Dict[str, Dict[str, str]]:
    """Return a conf file: stanza -> key -> value."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _matching_sources(folder: Path, pattern: str) -> Iterator[Path]:
    for path, text in _sources(folder):
        if re.search(pattern, text):
            yield path


def _queries(folder: Path) -> Iterator[Tuple[str, str, str]]:
    """Yield (file, query, id of the shared search that it goes on from) of the dashboards."""
    for path in sorted((folder / "default/data/ui/views").glob("*.xml")):
        for search in ElementTree.parse(path).iter("search"):
            yield path.name, search.findtext("query") or "", search.get("base", "")
        for source in _data_sources(path).values():
            options = source["options"]
            yield path.name, options["query"], options.get("extend", "")


def _data_sources(path: Path) -> Dict[str, Dict[str, Any]]:
    """Return the data sources of a dashboard of Dashboard Studio; none of another page."""
    definition = ElementTree.parse(path).findtext("definition")
    sources: Dict[str, Dict[str, Any]] = json.loads(definition)["dataSources"] if definition else {}
    return sources


def certificates_are_verified(folder: Path) -> Iterator[str]:
    pattern = r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified"
    for path in _matching_sources(folder, pattern):
        if not path.as_posix().endswith(MAY_SKIP_VERIFICATION):
            yield path.name


def no_UDP(folder: Path) -> Iterator[str]:
    pattern = r"SOCK_DGRAM|UDPServer|DatagramProtocol|create_datagram_endpoint"
    for path in _matching_sources(folder, pattern):
        yield path.name


def no_eval_and_no_pickle(folder: Path) -> Iterator[str]:
    for path, text in _sources(folder):
        for node in ast.walk(ast.parse(text)):
            name = _called_name(node)
            # core/compile.py compiles the mapping table, which is no input
            if name in ("eval", "exec") and path.parent.name != "compile":
                yield f"{path.name}: {name}"
            modules: List[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            if {"pickle", "marshal", "shelve", "ctypes"} & set(modules):
                yield f"{path.name}: {', '.join(modules)}"


def _called_name(node: ast.AST) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def no_proxy_of_the_environment(folder: Path) -> Iterator[str]:
    for path in _matching_sources(folder, r"trust_env\s*=\s*True|getproxies|HTTPS?_PROXY"):
        yield path.name


def syntax_of_the_oldest_python(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        try:
            ast.parse(path.read_text(encoding="utf-8", errors="replace"), feature_version=(3, 9))
        except SyntaxError as error:
            if "siemtap" in path.parts or "bin" in path.parts or path.parent.parent.name == "lib":
                yield f"{path.relative_to(folder)}:{error.lineno}"


def pure_python_and_no_development_files(folder: Path) -> Iterator[str]:
    pattern = re.compile(
        r"\.(so|pyd|dll|pyc|dylib|exe|sh|bat)$|/\.|\.dist-info|\.egg-info|^/local\b"
        r"|/simulator\w*\.py|/cases/|__pycache__"
    )
    for path in sorted(folder.rglob("*")):
        name = f"/{path.relative_to(folder).as_posix()}"
        if pattern.search(name) and path.name != "__pycache__":
            yield name
    stdlib = {f"{name}.py" for name in sys.stdlib_module_names}
    for path in (folder / "bin").glob("*.py"):
        if path.name in stdlib:
            yield f"bin/{path.name} hides a module of Python's"


def files_are_neither_writable_by_others_nor_executable(folder: Path) -> Iterator[str]:
    refused = stat.S_IWGRP | stat.S_IWOTH | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_mode & refused:
            yield f"{path.relative_to(folder)} {path.stat().st_mode & 0o777:o}"


def python_version_and_python_required(folder: Path) -> Iterator[str]:
    for name in ("inputs", "restmap", "alert_actions"):
        for stanza, keys in _stanzas(folder / f"default/{name}.conf").items():
            if name == "restmap" and not stanza.startswith("admin_external:"):
                continue
            if keys.get("python.version") != "python3" or keys.get("python.required") != PYTHONS:
                yield f"{name}.conf [{stanza}]"


def spec_files_declare_every_parameter(folder: Path) -> Iterator[str]:
    """What a conf file of the add-on's own has, its spec file declares, as `btool check` asks.

    A parameter of an input has a name that splunkd accepts: else it warns at each start, "a
    parameter name must match the regex" (PaloAltoNetworks/Splunk-Apps#228). No spec file names a
    Python on which the add-on does not run.
    """
    for path in sorted((folder / "README").glob("*.spec")):
        text = path.read_text()
        if "3.7" in text:
            yield f"{path.name} names Python 3.7"
        declared = set(re.findall(r"(?m)^([\w.]+) *=", text))
        conf = folder / "default" / path.stem
        is_own = path.stem.startswith("ta_") or path.stem == "inputs.conf"
        for stanza, keys in _stanzas(conf).items():
            own = {key for key in keys if is_own or key.startswith("param.")}
            for key in sorted(own - declared - {"python.version", "python.required"}):
                yield f"{path.stem} [{stanza}] {key}"
        if path.stem == "inputs.conf":
            for name in sorted(declared):
                if not re.fullmatch("[0-9a-zA-Z][0-9a-zA-Z_-]*", name):
                    yield f"{path.name} {name}"


def alert_actions_are_adaptive_responses(folder: Path) -> Iterator[str]:
    """`param._cam` is the JSON that Enterprise Security reads, with the keys that UCC's schema
    requires (`adaptiveResponse`)."""
    for stanza, keys in _stanzas(folder / "default/alert_actions.conf").items():
        try:
            cam = json.loads(keys.get("param._cam", ""))
        except ValueError:
            yield f"{stanza}: no JSON"
            continue
        for name in ("category", "task", "subject", "technology"):
            if not cam.get(name):
                yield f"{stanza}: {name}"


def no_confs_of_the_instance(folder: Path) -> Iterator[str]:
    for name in ("indexes", "outputs", "passwords", "authorize", "limits", "deploymentclient"):
        if (folder / f"default/{name}.conf").exists():
            yield f"{name}.conf"


def saved_searches_are_disabled_and_run_hourly_at_most(folder: Path) -> Iterator[str]:
    for stanza, keys in _stanzas(folder / "default/savedsearches.conf").items():
        if keys.get("disabled") != "1" or not re.match(r"[0-9]+ ", keys.get("cron_schedule", "")):
            yield stanza


def a_scheduled_search_sees_late_events(folder: Path) -> Iterator[str]:
    """A scheduled search of events reads whole hours or days of index times, and skips no run;
    `tstats` reads all events, for the last of each input."""
    for stanza, keys in _stanzas(folder / "default/savedsearches.conf").items():
        window = (keys.get("dispatch.index_earliest"), keys.get("dispatch.index_latest"))
        is_whole = window in (("-1h@h", "@h"), ("-1d@d", "@d"))
        is_complete = is_whole and keys.get("realtime_schedule") == "0"
        if not is_complete and not keys.get("search", "").startswith("| tstats "):
            yield stanza


def every_search_names_its_index(folder: Path) -> Iterator[str]:
    """A search begins with the index macro, with an eventtype, which has the macro, or with
    Splunk's own logs: none searches all indexes by accident."""
    searches: Dict[str, str] = {}
    for name in ("savedsearches", "eventtypes"):
        for stanza, keys in _stanzas(folder / f"default/{name}.conf").items():
            searches[f"{name}.conf [{stanza}]"] = keys.get("search", "")
    for file, query, base in _queries(folder):
        if not base:
            searches[f"{file}: {query}"] = query
    macro = next(iter(_stanzas(folder / "default/macros.conf")))
    eventtypes = set(_stanzas(folder / "default/eventtypes.conf"))
    for place, search in searches.items():
        match = re.match(r"eventtype(?:=(\S+)| IN \(([^)]+)\))", search)
        named = set(re.split(", ", match[1] or match[2])) if match else set()
        has_eventtype = bool(named) and named <= eventtypes
        has_index = search.startswith((f"`{macro}` ", "index=_internal ", "| inputlookup "))
        has_index |= bool(re.match(rf"\| tstats [^|]* where `{macro}` ", search))
        if not has_index and not has_eventtype:
            yield place


def dashboards_use_known_fields(folder: Path) -> Iterator[str]:
    """What a dashboard of attacks counts by is a field of props.conf."""
    fields = {
        key.partition("-")[2]
        for keys in _stanzas(folder / "default/props.conf").values()
        for key in keys
        if key.startswith(("EVAL-", "FIELDALIAS-"))
    }
    pattern = r"(?: by|fillnull value=-|top limit=\d+ showperc=f|table) ([\w ]+?)(?: \||$)"
    for file, query, _ in _queries(folder):
        named = {field for group in re.findall(pattern, query) for field in group.split()}
        for field in sorted(named - fields - {"_time", "count", "id"}):
            if file == "overview.xml":
                yield f"{file}: {field}"


def shared_searches_are_there(folder: Path) -> Iterator[str]:
    """A panel that goes on from a shared search names one of its page, and is no search itself: in
    Simple XML it has no pipe at its start, in Dashboard Studio it has one."""
    for path in sorted((folder / "default/data/ui/views").glob("*.xml")):
        sources = _data_sources(path)
        ids = {search.get("id") for search in ElementTree.parse(path).iter("search")} | {*sources}
        for file, query, base in _queries(folder):
            is_wrong = base not in ids or query.startswith("|") != bool(sources)
            if file == path.name and base and is_wrong:
                yield f"{file}: {base}"


def the_menu_names_existing_views(folder: Path) -> Iterator[str]:
    views = {path.stem for path in (folder / "default/data/ui/views").glob("*.xml")} | {"search"}
    for view in ElementTree.parse(folder / "default/data/ui/nav/default.xml").iter("view"):
        if view.get("name") not in views:
            yield view.get("name", "")


def no_event_is_truncated(folder: Path) -> Iterator[str]:
    for stanza, keys in _stanzas(folder / "default/props.conf").items():
        # 0 is no limit; the default is 10,000 bytes
        if keys.get("KV_MODE") == "json" and keys.get("TRUNCATE") != "0":
            yield stanza


def one_name_and_one_version(folder: Path) -> Iterator[str]:
    manifest: Any = json.loads((folder / "app.manifest").read_text())["info"]["id"]
    app = _stanzas(folder / "default/app.conf")
    versions = {manifest["version"], app["launcher"]["version"], app["id"]["version"]}
    names = {manifest["name"], app["package"]["id"], folder.name}
    if len(versions) > 1 or len(names) > 1:
        yield f"{manifest}, {app['id']}"


RULES_OF_SOURCES: List[Rule] = [
    certificates_are_verified,
    no_UDP,
    no_eval_and_no_pickle,
    no_proxy_of_the_environment,
    syntax_of_the_oldest_python,
]
RULES: List[Rule] = [
    *RULES_OF_SOURCES,
    pure_python_and_no_development_files,
    files_are_neither_writable_by_others_nor_executable,
    python_version_and_python_required,
    spec_files_declare_every_parameter,
    alert_actions_are_adaptive_responses,
    no_confs_of_the_instance,
    saved_searches_are_disabled_and_run_hourly_at_most,
    a_scheduled_search_sees_late_events,
    every_search_names_its_index,
    dashboards_use_known_fields,
    shared_searches_are_there,
    the_menu_names_existing_views,
    no_event_is_truncated,
    one_name_and_one_version,
]
