"""siemtap.yml -> values. Every mistake is found before anything runs, and says file, line, key,
what is allowed, a likely typo."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import jsonschema
import ruamel.yaml
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from ..core.errors import ConfigError
from ..core.forms import NAMESPACE, NAMESPACE_ALLOWED, SEVERITIES, Connection, Every, Receiving
from ..core.manifest import (
    choice,
    duration,
    fill_in,
    guess,
    integer,
    port,
    secret,
    switch,
    text,
    url,
)
from ..core.model import Plugin
from ..outputs.elasticsearch import Elasticsearch, Opensearch
from ..outputs.file import File
from ..outputs.sqlite import Sqlite
from ..outputs.stdout import Stdout
from ..render.config import file_schema, forms, input_schema
from . import plugins, receiving

OUTPUTS: Dict[str, Any] = {
    "sqlite": Sqlite,
    "file": File,
    "stdout": Stdout,
    "elasticsearch": Elasticsearch,
    "opensearch": Opensearch,
}
REFERENCE = re.compile(r"\$\{([^{}]*)\}")
Path_ = Tuple[Any, ...]  # keys and indices from the top to a place in the file


@dataclass(frozen=True)
class General:
    workers: int = integer(
        "Workers", 8, least=1, most=256, help="How many inputs are asked at once."
    )
    shutdown_timeout: int = duration(
        "Shutdown timeout",
        "30s",
        help="How long a stop may take; what is then undone is done at the next start.",
    )
    validate: bool = switch(
        "Validate",
        True,
        help=(
            "Check every event against the schema before it leaves; what fails is kept as rejected."
        ),
    )


@dataclass(frozen=True)
class Folders:
    data: str = text(
        "Data folder", "./data", help="Checkpoints, the embedded store and rejected events."
    )


@dataclass(frozen=True)
class Page:
    enabled: bool = switch(
        "Status page", True, help="Serve the status page, /stats, /metrics and /health."
    )
    host: str = text(
        "Host",
        "127.0.0.1",
        help=(
            "The address to listen on. The page shows attackers and sites to whoever can reach it."
        ),
    )
    port: int = port("Port", 5066, help="The port to listen on; 0 takes a free one.")


@dataclass(frozen=True)
class Logging:
    level: str = choice(
        "Level", "info", "debug", "warning", "error", help="What to log, and everything worse."
    )
    format: str = choice(
        "Format", "text", "json", help="text for a person, json in ECS for a machine."
    )
    file: str = text(
        "File",
        "",
        help="Log into this file, rotated at 10 MiB, five kept; standard error by default.",
    )


@dataclass(frozen=True)
class Setup:
    lifecycle: str = choice(
        "Lifecycle",
        "data_stream",
        "policy",
        "none",
        help=(
            "What ends an event's life: the data stream's own lifecycle (Elasticsearch 8.14 and"
            " newer; for OpenSearch an ISM policy siemtap), an ILM policy of yours, or nobody."
        ),
    )
    policy: str = text(
        "Policy", "", help="With `lifecycle: policy`: the name of an ILM policy that exists."
    )
    retention: int = duration(
        "Retention",
        "0s",
        help="With `lifecycle: data_stream`: how long events are kept, such as 90d; 0s: for ever.",
    )


@dataclass(frozen=True)
class Kibana:
    host: str = url(
        "Host",
        "",
        help=(
            "Kibana's URL, such as https://kibana.example.com:5601: `siemtap setup` brings the"
            " dashboards there. Without it there are none."
        ),
    )
    space: str = text(
        "Space",
        "",
        pattern=r"^[a-z0-9_-]{0,100}$",
        allowed="lower case letters, digits, _ and -",
        help="The id of the space they belong to; the default one by default.",
    )
    api_key: str = secret(
        "API key",
        "",
        help="As Kibana shows it (base64), or id:key; what the output logs in with by default.",
    )
    username: str = text("User name", "", help="With `password`, instead of an API key.")
    password: str = secret("Password", "", help="With `username`.")
    ca_file: str = text(
        "CA file", "", help="A PEM file of the authorities to trust; that of the output by default."
    )
    verify: bool = switch("Verify certificates", True, help="false trusts anybody.")


@dataclass(frozen=True)
class Health:
    enabled: bool = switch(
        "Enabled",
        False,
        help=(
            "Deliver what the status page knows as events of the dataset siemtap.health: every"
            " unit, the output, and each change for the worse or the better."
        ),
    )
    interval: int = duration("Interval", "60s", least="10s", most="1d", help="How often.")
    namespace: str = text(
        "Namespace",
        "default",
        pattern=NAMESPACE,
        allowed=NAMESPACE_ALLOWED,
        help="Of the data stream logs-siemtap.health-<namespace>.",
    )


TOP: Dict[str, Any] = {
    "": General,
    "path": Folders,
    "http": Page,
    "logging": Logging,
    "health": Health,
    "setup": Setup,
    "setup.kibana": Kibana,
}


@dataclass(frozen=True)
class Input:
    """One configured instance of a plugin."""

    plugin: Plugin
    settings: Any
    every: Every
    connection: Connection
    receiving: Optional[Receiving] = None  # of a plugin that receives

    @property
    def id(self) -> str:
        return self.every.id or self.plugin.name


@dataclass(frozen=True)
class Config:
    file: str
    general: General
    path: Folders
    http: Page
    logging: Logging
    health: Health
    setup: Setup
    kibana: Kibana
    output: str  # its name
    output_settings: Any
    inputs: Tuple[Input, ...]

    @property
    def data(self) -> Path:
        return Path(self.path.data)


def load(file: str, environment: Optional[Mapping[str, str]] = None) -> Config:
    """ConfigError for the first mistake."""
    try:
        said = Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"{file}: {error.strerror}. Write one as the README shows, or name another with -c"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8") from None
    return parse(said, file, os.environ if environment is None else environment)


def parse(said: str, file: str = "siemtap.yml", environment: Mapping[str, str] = {}) -> Config:
    document = _Document(said, file, environment)
    document.check(jsonschema.Draft7Validator(whole_schema()))
    tree = document.tree
    top = {key: value for key, value in tree.items() if key in _names(General)}
    sections: Dict[str, Any] = {
        name.rpartition(".")[2]: document.filled(tuple(name.split(".")), form, _section(tree, name))
        for name, form in TOP.items()
        if name
    }
    output, output_settings = next(iter((tree.get("output") or {"sqlite": None}).items()))
    inputs = [document.input(number, entry) for number, entry in enumerate(tree["inputs"])]
    document.check_ids(inputs)
    return Config(
        file=file,
        general=document.filled((), General, top),
        **sections,
        output=output,
        output_settings=document.filled(
            ("output", output), OUTPUTS[output].settings, output_settings or {}
        ),
        inputs=tuple(inputs),
    )


def _section(tree: Mapping[str, Any], name: str) -> Dict[str, Any]:
    """What stands in a section, without the sections in it."""
    for part in name.split("."):
        tree = tree.get(part) or {}
    return {key: value for key, value in tree.items() if f"{name}.{key}" not in TOP}


def whole_schema() -> Dict[str, Any]:
    return file_schema(
        TOP,
        {name: output.settings for name, output in OUTPUTS.items()},
        plugins.installed().values(),
    )


@cache
def _input_validator(plugin: str) -> Any:
    return jsonschema.Draft7Validator(input_schema(plugins.plugin(plugin)))


def _names(form: Any) -> List[str]:
    return list(form.__dataclass_fields__)


class _Document:
    """The file as plain data, and the line of every key in it."""

    def __init__(self, said: str, file: str, environment: Mapping[str, str]) -> None:
        self.file, self.environment = file, environment
        self.lines: Dict[Path_, int] = {}
        yaml = ruamel.yaml.YAML(typ="rt")
        try:
            loaded = yaml.load(said)
        except ruamel.yaml.error.MarkedYAMLError as error:
            line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
            problem = (
                re.sub(r"with value .*", "", error.problem or "")
                if "duplicate" in (error.problem or "")
                else error.problem
            )
            raise ConfigError(f"{file}{line}: {problem or error}") from None
        except ruamel.yaml.error.YAMLError as error:
            raise ConfigError(f"{file}: {error}") from None
        if not isinstance(loaded, CommentedMap):
            raise ConfigError(
                f"{file}: a file of keys and values was expected, with `inputs:` among them"
            )
        self.tree: Dict[str, Any] = {}
        for key, value in loaded.items():
            self._dotted(
                str(key), self._plain(value, tuple(str(key).split("."))), loaded.lc.key(key)[0] + 1
            )

    def _dotted(self, key: str, value: Any, line: int) -> None:
        """`path.data: x` is `path: {data: x}`."""
        names = key.split(".")
        place = self.tree
        for depth, name in enumerate(names[:-1]):
            self.lines.setdefault(tuple(names[: depth + 1]), line)
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise ConfigError(
                    f"{self.file} line {line}: {key} stands beside a {'.'.join(names[: depth + 1])}"
                    " that is no section"
                )
        self.lines[tuple(names)] = line
        if isinstance(place.get(names[-1]), dict) and isinstance(value, dict):
            twice = sorted(set(place[names[-1]]) & set(value))
            if not twice:
                place[names[-1]].update(value)
                return
            raise ConfigError(f"{self.file} line {line}: {key}.{twice[0]} is given twice")
        if names[-1] in place:
            raise ConfigError(f"{self.file} line {line}: {key} is given twice")
        place[names[-1]] = value

    def _plain(self, value: Any, path: Path_) -> Any:
        if isinstance(value, CommentedMap):
            plain: Dict[str, Any] = {}
            for key, below in value.items():
                self.lines[(*path, str(key))] = value.lc.key(key)[0] + 1
                plain[str(key)] = self._plain(below, (*path, str(key)))
            return plain
        if isinstance(value, CommentedSeq):
            for number in range(len(value)):
                self.lines[(*path, number)] = value.lc.item(number)[0] + 1
            return [self._plain(below, (*path, number)) for number, below in enumerate(value)]
        if isinstance(value, str):
            return REFERENCE.sub(lambda found: self._reference(found[1], path), str(value))
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return int(value)
        return float(value) if isinstance(value, float) else str(value)

    def _reference(self, said: str, path: Path_) -> str:
        """${NAME}, ${NAME:default}, ${file:/run/secrets/x}"""
        if said.startswith("file:"):
            try:
                return Path(said[5:]).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"{self.place(path)} reads {said[5:]}:"
                    f" {getattr(error, 'strerror', None) or 'not UTF-8'}"
                ) from None
        name, colon, default = said.partition(":")
        if name not in self.environment and not colon:
            raise ConfigError(
                f"{self.place(path)} needs the environment variable {name}, which is not set; set"
                f" it, or give a default with ${{{name}:default}}"
            )
        return self.environment.get(name, default)

    def line(self, path: Path_) -> int:
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def place(self, path: Path_) -> str:
        spelled = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in path
        ).lstrip(".")
        return f"{self.file} line {self.line(path)}: {spelled}" if path else f"{self.file}"

    def check(self, validator: Any, path: Path_ = (), value: Any = None) -> None:
        errors = sorted(
            validator.iter_errors(self.tree if value is None else value),
            key=lambda error: (self.line((*path, *error.absolute_path)), str(error.path)),
        )
        for error in errors:
            raise ConfigError(
                self._sentence(error, (*path, *error.absolute_path)).replace(
                    "?; allowed", "? Allowed"
                )
            )

    def _sentence(self, error: Any, path: Path_) -> str:
        allowed, found = error.schema, error.instance
        if error.validator == "additionalProperties":
            key = next(key for key in found if key not in allowed["properties"])
            return (
                f"{self.place((*path, key))} is not known{guess(key, allowed['properties'])};"
                f" allowed are {', '.join(allowed['properties'])}"
            )
        if error.validator == "required":
            missing = next(key for key in error.validator_value if key not in found)
            words = allowed["properties"].get(missing, {})
            return (
                f"{self.place(path) if path else self.file}: {missing} is missing."
                f" {words.get('description', '')}".rstrip()
            )
        if error.validator == "enum":
            return (
                f'{self.place(path)} is "{found}"{guess(str(found), map(str, allowed["enum"]))};'
                f" allowed are {', '.join(map(str, allowed['enum']))}"
            )
        if error.validator == "pattern" and "|s|m|h|d)" in error.validator_value:
            return (
                f'{self.place(path)} is "{found}"; use a number and a unit, such as 30s, 5m, 12h'
                " or 1d"
            )
        if error.validator == "maxProperties":
            return f"{self.place(path)}: one output at a time; there are {', '.join(found)}"
        shown = (
            "this value"
            if allowed.get("writeOnly")
            else (
                f'"{found}"'
                if not isinstance(found, (dict, list))
                else f"a {'section' if isinstance(found, dict) else 'list'}"
            )
        )
        return f"{self.place(path)} cannot be {shown}. {allowed.get('description', '')}".rstrip()

    def filled(self, path: Path_, form: Any, given: Mapping[str, Any]) -> Any:
        try:
            return fill_in(form, given)
        except ConfigError as error:
            key = re.split("[: ]", error.what)[0]
            if key in given:
                raise ConfigError(f"{self.place((*path, key))}{error.what[len(key) :]}") from None
            raise ConfigError(f"{self.place(path)}: {error.what}") from None

    def input(self, number: int, entry: Dict[str, Any]) -> Input:
        path: Path_ = ("inputs", number)
        plugin = plugins.plugin(entry["type"])
        self.check(_input_validator(plugin.name), path, entry)
        parts = {
            form: {key: value for key, value in entry.items() if key in _names(form)}
            for form in forms(plugin)
        }
        made = Input(plugin, *(self.filled(path, form, given) for form, given in parts.items()))
        self._check_drop(path, made.every.drop)
        if made.receiving:
            try:
                receiving.check(made.receiving)
            except ConfigError as error:
                raise ConfigError(f"{self.place(path)}: {error.what}") from None
        return made

    def _check_drop(self, path: Path_, drop: Mapping[str, Any]) -> None:
        for name in drop:
            if name not in ("severity", "action", "dataset"):
                raise ConfigError(
                    f"{self.place((*path, 'drop', name))} is not"
                    f" known{guess(name, ['severity', 'action', 'dataset'])}; allowed are severity,"
                    " action, dataset"
                )
        said = drop.get("severity") or []
        for word in said if isinstance(said, list) else [said]:
            if word not in SEVERITIES:
                raise ConfigError(
                    f"{self.place((*path, 'drop', 'severity'))} is"
                    f' "{word}"{guess(str(word), SEVERITIES)}; allowed are {", ".join(SEVERITIES)}'
                )

    def check_ids(self, inputs: List[Input]) -> None:
        """An id defaults to the type, and is needed where a type appears twice."""
        seen: Dict[str, int] = {}
        for number, made in enumerate(inputs):
            if made.id in seen:
                what = (
                    f'the id "{made.id}" is that of inputs[{seen[made.id]}] too'
                    if made.every.id
                    else f"a second input of type {made.plugin.name} needs an `id` of its own"
                )
                raise ConfigError(f"{self.place(('inputs', number))}: {what}")
            seen[made.id] = number
