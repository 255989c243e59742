"""Reads siemtap.yml. The whole file is checked before anything runs."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from ...core.errors import ConfigError
from ...core.manifest import suggest
from ...core.model import Plugin
from ...core.paths import get, names
from ...core.settings import SEVERITIES
from ...outputs.types import OUTPUTS
from ...render import registry
from ...render.config import file_schema, forms, input_schema
from ...render.datasets import added_paths
from ..fleet import configured as fleet
from ..processors.steps import compile_processors
from . import consistency, outputs
from .document import Document, Path_
from .keystore import Keystore
from .sections import TOP, Config, General, Health, Input, OutputConfig
from .types import input_type, input_types
from .validator import Validator

INPUTS_FOLDER = "inputs.d"  # beside the configuration file
FIELDS = {"cluster.kafka": "cluster"}  # sections whose field of Config has another name
DROP_KEYS = ("severity", "action", "dataset")


def load(
    file: str,
    environment: Optional[Mapping[str, str]] = None,
    overrides: Sequence[str] = (),
) -> Config:
    """Read and check a configuration file and the files of inputs.d beside it. Raise ConfigError
    for all mistakes.

    overrides: `key=value` of -E, which win over the file.
    """
    texts = [(name, read_text(name)) for name in [file, *map(str, input_files(file))]]
    return load_texts(texts, os.environ if environment is None else environment, overrides)


def load_texts(
    texts: Sequence[Tuple[str, str]], environment: Mapping[str, str], overrides: Sequence[str]
) -> Config:
    """Check the texts of a configuration file and of those of inputs.d, as (file, text)."""
    (file, text), *parts = texts
    keystore = Keystore.beside(file, environment).get
    return parse(text, file, environment, parts, overrides, keystore)


def input_files(file: str) -> List[Path]:
    """Return the files of inputs.d beside a configuration file, by name. Raise ConfigError for a
    folder that cannot be read, whose inputs would be left out."""
    folder = Path(file).parent / INPUTS_FOLDER
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(".yml"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return []
    except OSError as error:
        raise ConfigError(
            f"{folder}: {error.strerror}. Let the user of siemtap read this folder of inputs, or"
            " remove it"
        ) from None


def read_text(file: str) -> str:
    """Return the text of a file of the configuration. Raise ConfigError if it cannot be read."""
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(
            f"{file} is not UTF-8; save it as UTF-8 (or convert it with iconv -t UTF-8)"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        advice = "Name another file with -c"
        if isinstance(error, FileNotFoundError):
            advice = "Create it (the README shows an example), or name another file with -c"
        elif isinstance(error, PermissionError):
            advice = "Run siemtap as a user who may read it, or let this one read it"
        raise ConfigError(f"{file}: {reason}. {advice}") from None


def parse(
    text: str,
    file: str = "siemtap.yml",
    environment: Mapping[str, str] = {},
    parts: Sequence[Tuple[str, str]] = (),
    overrides: Sequence[str] = (),
    keystore: Optional[Callable[[str], str]] = None,
) -> Config:
    """Check a configuration's text.

    environment: the variables that ${NAME} refers to. parts: (file, text) of more inputs.
    keystore: name -> secret.
    """
    document = Document(text, file, environment, keystore)
    for name, part in parts:
        document.add_inputs(part, name)
    for override in overrides:
        document.override(override)
    for path, form in sections_of(document):
        document.keep_texts(path, form)
    document.check(Validator(whole_schema()))
    tree = document.tree
    general = {key: value for key, value in tree.items() if key in _names(General)}
    sections: Dict[str, Any] = {}
    for name, form in TOP.items():
        if name:
            place = tuple(names(name))
            sections[FIELDS.get(name, place[-1])] = document.fill_in_and_check(
                place, form, _section(tree, name)
            )
    filled = document.fill_in_and_check((), General, general)
    configured = outputs.read_outputs(document)
    if sections["cluster"].enabled:
        configured = fleet.outputs_of(document, sections["cluster"], filled, configured)
        fleet.check_inputs(document, [_plugin_of(entry) for entry in _entries(tree)])
    plugins = _plugins_of(_entries(tree))
    inputs = [
        input_config
        for number, entry in enumerate(_entries(tree))
        if (input_config := _read_input(document, number, entry, configured, plugins))
    ]
    sections["health"] = _route_health(document, sections["health"], configured)
    _check_ids(document)
    config = Config(
        file=file,
        general=filled,
        **sections,
        outputs=configured,
        inputs=tuple(inputs),
        overrides=tuple(overrides),
        texts=((file, text), *parts),
        warnings=(
            *consistency.warn_of_readers(document.secret_places),
            *(f"{each.id} {each.idle}" for each in inputs if each.idle),
            *registry.broken().values(),
        ),
    )
    document.raise_mistakes()
    return config


def _entries(tree: Mapping[str, Any]) -> List[Any]:
    entries = tree.get("inputs")
    return entries if isinstance(entries, list) else []


def _route_health(document: Document, health: Health, configured: Sequence[OutputConfig]) -> Health:
    """Return the section `health` with the name of its output; "" if it is not enabled and has
    none."""
    names = [health.output] if health.output else []
    if not health.enabled and not names and not outputs.default_of(configured):
        return health
    routed = outputs.route(document, ("health", "output"), names, configured)
    return replace(health, output="".join(routed))


def sections_of(document: Document) -> Iterator[Tuple[Path_, Any]]:
    """Yield the path of every section whose settings are known, each with its form; for an input
    one for each of its forms."""
    for name, form in TOP.items():
        yield tuple(names(name)) if name else (), form
    for name, output in OUTPUTS.items():
        yield ("output", name), output.settings_type
    for name, entry in outputs.named_outputs(document.tree).items():
        type = outputs.type_of(entry)
        if type:
            yield ("outputs", name), OUTPUTS[type].settings_type
    for number, entry in enumerate(_entries(document.tree)):
        for form in forms(plugin) if (plugin := _plugin_of(entry)) else ():
            yield ("inputs", number), form


def _plugin_of(entry: Any) -> Optional[Plugin]:
    """Return the plugin of an entry of `inputs`; None if it names none."""
    name = entry.get("type") if isinstance(entry, dict) else None
    return input_types().get(name) if isinstance(name, str) else None


def _plugins_of(entries: Iterable[Any]) -> List[Plugin]:
    """Return the plugins of the entries of `inputs`, each once."""
    used = {plugin.name: plugin for entry in entries if (plugin := _plugin_of(entry))}
    return list(used.values())


def _section(tree: Mapping[str, Any], name: str) -> Dict[str, Any]:
    """Return the settings of a section, without its subsections."""
    section = get(tree, name)
    if not isinstance(section, dict):
        return {}
    return {key: value for key, value in section.items() if f"{name}.{key}" not in TOP}


def whole_schema() -> Dict[str, Any]:
    """Return the JSON Schema of siemtap.yml."""
    return file_schema(
        TOP,
        {name: output.settings_type for name, output in OUTPUTS.items()},
        input_types().values(),
    )


@cache
def _input_validator(plugin: str) -> Any:
    return Validator(input_schema(input_type(plugin)))


def _names(form: Any) -> List[str]:
    return list(form.__dataclass_fields__)


def _read_input(
    document: Document,
    number: int,
    entry: Any,
    configured: Sequence[OutputConfig],
    plugins: Sequence[Plugin],
) -> Optional[Input]:
    """Return the input that an entry of `inputs` configures; None if its type is not known.
    `plugins`: of all entries."""
    path: Path_ = ("inputs", number)
    plugin = _plugin_of(entry)
    if not plugin:
        return None
    document.check(_input_validator(plugin.name), path, entry)
    parts = []
    for form in forms(plugin):
        values = {key: value for key, value in entry.items() if key in _names(form)}
        parts.append(document.fill_in_and_check(path, form, values))
    input_config = Input(plugin, *parts)
    input_config = replace(
        input_config,
        processors=_read_processors(document, plugin, path, entry, plugins),
        outputs=outputs.route(document, (*path, "output"), input_config.common.output, configured),
    )
    _check_drop(document, path, input_config.common.drop)
    if plugin.reads_events:
        _check_topics(document, path, input_config, configured)
    if not document.is_wrong(path):
        for name, problem in consistency.refusals(input_config):
            document.report((*path, name) if name else path, problem)
    return replace(input_config, idle=consistency.idle(input_config))


def _check_topics(
    document: Document, path: Path_, input_config: Input, configured: Sequence[OutputConfig]
) -> None:
    """Report a Kafka input that reads what its own output writes: each event for ever again."""
    settings = input_config.settings
    for output in configured:
        if output.type != "kafka" or output.name not in input_config.outputs:
            continue
        if not set(settings.hosts).intersection(output.settings.hosts):
            continue
        topic = consistency.topic_of_both(
            settings.topics, output.settings.topic, registry.datasets()
        )
        if topic:
            document.report(
                (*path, "topics"),
                f" reads {topic}, which the output {output.name} writes: each event would be"
                " written again without end; give the output another `topic`, or read others",
            )


def _read_processors(
    document: Document,
    plugin: Plugin,
    path: Path_,
    entry: Dict[str, Any],
    plugins: Sequence[Plugin],
) -> Tuple[Any, ...]:
    """Return the processors of an input and then those of the file; report the first mistake in
    each list. A list that is none has been reported. `plugins`: of all inputs."""
    processors: List[Any] = []
    for place, owner, allowed in (
        ((*path, "processors"), entry, [plugin]),
        (("processors",), document.tree, plugins),
    ):
        steps = owner.get("processors", [])
        if not isinstance(steps, list):
            continue
        try:
            compile_processors(steps, document.place, place, partial(_is_field, allowed))
        except ConfigError as error:
            document.report_whole(place, error.message)
        processors += steps
    return tuple(processors)


def _is_field(plugins: Iterable[Plugin], path: str) -> bool:
    """Return whether an event of one of these plugins may have a field."""
    if path == "tags" or path.startswith("fields."):
        return True
    return any(
        path in dataset.targets()
        or path in added_paths(dataset)
        or path.startswith(f"{dataset.namespace}.extra.")
        for plugin in plugins
        for dataset in (registry.datasets().values() if plugin.reads_events else plugin.datasets)
    )


def _check_drop(document: Document, path: Path_, drop: Mapping[str, Any]) -> None:
    for name in drop:
        if name not in DROP_KEYS:
            document.report(
                (*path, "drop", name),
                f" is not known{suggest(name, DROP_KEYS)}; allowed are {', '.join(DROP_KEYS)}",
            )
    severities = drop.get("severity") or []
    if not isinstance(severities, list):
        severities = [severities]
    for severity in severities:
        if not isinstance(severity, str) or severity not in SEVERITIES:
            document.report(
                (*path, "drop", "severity"),
                f' is "{severity}"{suggest(str(severity), SEVERITIES)}; allowed are'
                f" {', '.join(SEVERITIES)}",
            )


def _check_ids(document: Document) -> None:
    """Check that ids are unique. An id defaults to the type, so a type that appears twice
    needs ids."""
    numbers: Dict[str, int] = {}
    for number, entry in enumerate(_entries(document.tree)):
        plugin = _plugin_of(entry)
        id = (entry.get("id") or plugin.name) if plugin else None
        if not isinstance(id, str):
            continue
        if id in numbers:
            if entry.get("id"):
                problem = f'the id "{id}" is also that of inputs[{numbers[id]}]'
            else:
                problem = f"a second input of type {id} needs an `id` of its own"
            document.report(("inputs", number), f": {problem}")
        numbers.setdefault(id, number)
