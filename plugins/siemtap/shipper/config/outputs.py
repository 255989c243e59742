"""The outputs of a configuration file, and which of them gets the events of an input."""

from __future__ import annotations

from functools import cache
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ...core.errors import ConfigError
from ...core.manifest import suggest
from ...kafka.client import library
from ...outputs.elasticsearch.settings import check_login
from ...outputs.types import CLUSTERS, OUTPUTS
from ...render.config import output_schema
from .document import Document, Path_
from .sections import DEFAULT_OUTPUT, OutputConfig
from .validator import Validator


def read_outputs(document: Document) -> Tuple[OutputConfig, ...]:
    """Return the output of the section `output` and those of `outputs`; the embedded store if the
    file names none that exists."""
    outputs: List[OutputConfig] = []
    section = document.tree.get("output")
    for type, values in section.items() if isinstance(section, dict) else ():
        if type in OUTPUTS and not outputs:
            settings = filled(document, ("output", type), type, values)
            outputs.append(OutputConfig(DEFAULT_OUTPUT, type, settings))
    for name, entry in named_outputs(document.tree).items():
        path: Path_ = ("outputs", name)
        type = type_of(entry)
        if not type:
            continue
        if name == DEFAULT_OUTPUT and outputs:
            document.report(path, f": {DEFAULT_OUTPUT} is the name of the section `output`")
            continue
        document.check(_validator(type), path, entry)
        outputs.append(OutputConfig(name, type, filled(document, path, type, entry)))
    if not outputs:
        settings = filled(document, ("output", "sqlite"), "sqlite", {})
        outputs.append(OutputConfig(DEFAULT_OUTPUT, "sqlite", settings))
    _check_stores(document, outputs)
    return tuple(outputs)


def named_outputs(tree: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the entries of the section `outputs` by name."""
    section = tree.get("outputs")
    return section if isinstance(section, dict) else {}


def type_of(entry: Any) -> str:
    """Return the type of an entry of `outputs`; "" if it names none that exists."""
    type = entry.get("type") if isinstance(entry, dict) else None
    return type if isinstance(type, str) and type in OUTPUTS else ""


def filled(document: Document, path: Path_, type: str, values: Any) -> Any:
    """Return the settings of an output; report what is wrong in them, and what it would refuse."""
    values = values if isinstance(values, dict) else {}
    settings = document.fill_in_and_check(path, OUTPUTS[type].settings_type, values)
    if not document.is_wrong(path):
        try:
            _check_usable(type, settings)
        except ConfigError as error:
            document.report(path, f": {error.message}")
    return settings


def _check_usable(type: str, settings: Any) -> None:
    """Raise ConfigError for what the output would refuse when it is opened: a package is missing,
    or settings exclude each other."""
    if type == "kafka":
        library()
    elif type in CLUSTERS:
        check_login(settings, type)
        if settings.cloud_id:
            _check_cloud_id(settings.cloud_id)


def _check_cloud_id(cloud_id: str) -> None:
    from elastic_transport.client_utils import parse_cloud_id  # slow to import, and few need it

    try:
        parse_cloud_id(cloud_id)
    except ValueError:
        raise ConfigError(
            "cloud_id cannot be read: copy the whole ID from the deployment's page in Elastic Cloud"
        ) from None


@cache
def _validator(type: str) -> Any:
    return Validator(output_schema(type, OUTPUTS[type].settings_type))


def _check_stores(document: Document, outputs: Sequence[OutputConfig]) -> None:
    """Report a second output that would write where another one does."""
    used: Dict[Any, OutputConfig] = {}
    for output in outputs:
        place = {
            "sqlite": "path.data",
            "stdout": "standard output",
            "file": getattr(output.settings, "path", ""),
        }.get(output.type)
        if place and place in used:
            path = ("outputs", output.name)
            document.report(path, f": {used[place].section} writes to {place} already")
        used.setdefault(place, output)


def route(
    document: Document, path: Path_, names: Sequence[str], outputs: Sequence[OutputConfig]
) -> Tuple[str, ...]:
    """Return the names of the outputs of what is configured at `path`: those that it names, or the
    only one, or the default one. Report a name that is none."""
    known = [output.name for output in outputs]
    for name in names:
        if name not in known:
            document.report(
                path, f' names "{name}"{suggest(name, known)}; the outputs are {", ".join(known)}'
            )
    if names:
        return tuple(dict.fromkeys(name for name in names if name in known))
    default = default_of(outputs)
    if not default:
        document.report(
            path, f" is missing: several outputs are configured; name one of {', '.join(known)}"
        )
    return (default,) if default else ()


def default_of(outputs: Sequence[OutputConfig]) -> str:
    """Return the name of the output of what names none: the only one, or the default one; "" if
    there is neither."""
    known = [output.name for output in outputs]
    if len(known) == 1:
        return known[0]
    return DEFAULT_OUTPUT if DEFAULT_OUTPUT in known else ""
