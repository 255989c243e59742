"""The configuration file as plain data. Errors name the file, the line, the key, what is allowed,
and the setting that was probably meant. All mistakes are reported together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from ...core.errors import ConfigError
from ...core.manifest import describe, fill_in, kind_of, similar, suggest
from ...core.paths import find, get, names, parents, put
from . import consistency, filebeat, yaml_text
from .validator import describe_problem

MISSING = object()
REFERENCE = re.compile(r"\$\{([^{}]*)\}")
# of shells (${NAME:-default}, ${NAME:?text}) and of Elastic Agent
FOREIGN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*:?[-?+=]|(?i:env):")
TEXTS = ("text", "secret", "choice", "url", "many")  # kinds whose values are kept as written
Path_ = Tuple[Any, ...]  # keys and list indices, from the top of the file to a setting


class Mistakes(ConfigError):
    """All mistakes of a configuration, one a line."""

    def __init__(self, mistakes: List[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Place(NamedTuple):
    """Where a value is: its file and its line there."""

    file: str
    line: int


class Document:
    """The file as plain data (`tree`), and the place of every key in it (`places`).

    keystore: name -> secret, for ${keystore:NAME}.
    """

    def __init__(
        self,
        text: str,
        file: str,
        environment: Mapping[str, str],
        keystore: Optional[Callable[[str], str]] = None,
    ) -> None:
        self.file, self.environment, self.keystore = file, environment, keystore
        self.places: Dict[Path_, Place] = {}
        self.written: Dict[Path_, str] = {}  # the text of what is no text for YAML
        self.tree: Dict[str, Any] = {}
        self.sentences: Dict[Tuple[int, str], str] = {}
        self.wrong: Set[Path_] = set()  # settings with a mistake
        self.references: Set[Path_] = set()  # settings that refer to something outside
        self.secret_places: Dict[str, str] = {}  # file -> place of a secret that is written there
        content = self._read(text, file)
        if not isinstance(content, yaml_text.Section):
            raise ConfigError(f"{file}: expected keys and values, with `inputs:` among them")
        for key, value, line in content.pairs:
            place = Place(file, line)
            self.places.setdefault(tuple(names(key)), place)
            self._add(key, self._plain(value, tuple(names(key)), file), place)

    def _read(self, text: str, file: str) -> Any:
        return yaml_text.read(
            text, file, lambda line, sentence: self._report(line, f"{file} line {line}: {sentence}")
        )

    def _report(self, line: int, sentence: str) -> None:
        self.sentences.setdefault((line, sentence), sentence)

    def report(self, path: Path_, problem: str) -> None:
        """Add a mistake in the setting at `path`; `problem` goes on after its place."""
        self.wrong.add(path)
        self._report(self.place_of(path).line, f"{self.place(path)}{problem}")

    def report_whole(self, path: Path_, sentence: str) -> None:
        """Add a mistake below `path`, in a sentence that names its place."""
        self.wrong.add(path)
        self._report(self.place_of(path).line, sentence)

    def is_wrong(self, path: Path_) -> bool:
        """Return whether there is a mistake in a section."""
        return any(wrong[: len(path)] == path for wrong in self.wrong)

    def raise_mistakes(self) -> None:
        """Raise all mistakes, by line; do nothing if there are none."""
        if self.sentences:
            raise Mistakes([self.sentences[key] for key in sorted(self.sentences)])

    def add_inputs(self, text: str, file: str) -> None:
        """Append the inputs of a file of inputs.d: a list, or a section with `inputs` alone."""
        content = self._read(text, file)
        if isinstance(content, yaml_text.Section) and [p.key for p in content.pairs] == ["inputs"]:
            content = content.pairs[0].value
        if isinstance(content, yaml_text.Text) and content.value is None:
            return  # an empty file
        inputs = self.tree.setdefault("inputs", [])
        if not isinstance(content, yaml_text.Items) or not isinstance(inputs, list):
            self._report(1, f"{file}: expected a list of inputs; begin each with `- type: …`")
            return
        for item, line in content.items:
            path = ("inputs", len(inputs))
            self.places[path] = Place(file, line)
            inputs.append(self._plain(item, path, file))

    def override(self, assignment: str) -> None:
        """Set what `-E key=value` says; the value is read as YAML."""
        key, equals, value = assignment.partition("=")
        key = key.strip()
        if not equals or not key or "" in names(key):
            raise ConfigError(
                f"-E {key[:60]}: write name=value, such as -E logging.level=debug; an input by its"
                " number: inputs.0.interval=5m"
            )
        where = f"-E {key}"
        path: Path_ = tuple(int(part) if part.isdigit() else part for part in names(key))
        content = self._read(value, where)
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]
        for known in [known for known in self.written if known[: len(path)] == path]:
            del self.written[known]
        around: Any = self.tree
        for depth, part in enumerate(path[:-1]):
            inner = around[part] if _has(around, part) else None
            if inner is None and isinstance(around, dict):
                inner = around[part] = {}
            if not isinstance(inner, (dict, list)):
                raise ConfigError(
                    f"{where}: there is no section {'.'.join(names(key)[: depth + 1])}"
                )
            around = inner
        if not (isinstance(around, dict) or _has(around, path[-1])):
            raise ConfigError(f"{where}: there is no {key} to set")
        around[path[-1]] = self._plain(content, path, where)
        self.places[path] = Place(where, 0)

    def _add(self, key: str, value: Any, place: Place) -> None:
        """Add a top-level key to the tree; `path.data: x` means `path: {data: x}`."""
        where = f"{place.file} line {place.line}: {key}"
        if "" in names(key):
            self._report(place.line, f"{where} is not the name of a setting")
            return
        for section in parents(key):
            self.places.setdefault(tuple(names(section)), place)
            if get(self.tree, section, MISSING) is None:
                put(self.tree, section, {})
            if not isinstance(get(self.tree, section, {}), dict):
                self._report(
                    place.line, f"{where} needs a section {section}, which has a plain value"
                )
                return
        self.places[tuple(names(key))] = place
        present = get(self.tree, key, MISSING)
        if present is MISSING or present is None:
            put(self.tree, key, value)
        elif isinstance(present, dict) and isinstance(value, dict):
            duplicates = sorted(set(present) & set(value))
            if duplicates:
                self._report(place.line, f"{where}.{duplicates[0]} is set twice")
            present.update(value)
        elif value is not None:
            self._report(place.line, f"{where} is set twice")

    def _plain(self, value: Any, path: Path_, file: str) -> Any:
        """Return a value as plain Python values, references resolved; note the place of each
        key."""
        if isinstance(value, yaml_text.Section):
            plain: Dict[str, Any] = {}
            for key, child, line in value.pairs:
                self.places[(*path, key)] = Place(file, line)
                plain[key] = self._plain(child, (*path, key), file)
            return plain
        if isinstance(value, yaml_text.Items):
            for number, (_, line) in enumerate(value.items):
                self.places[(*path, number)] = Place(file, line)
            return [
                self._plain(child, (*path, number), file)
                for number, (child, _) in enumerate(value.items)
            ]
        if isinstance(value.value, str):
            if REFERENCE.search(value.value):
                self.references.add(path)
            return REFERENCE.sub(lambda match: self._resolve(match[1], path), value.value)
        if value.value is not None:
            self.written[path] = value.written
        return value.value

    def keep_texts(self, path: Path_, form: Any) -> None:
        """Keep the texts of a section as they were written: `id: 00099` is no number."""
        section = find(self.tree, ()) if not path else self._at(path)
        if not isinstance(section, dict):
            return
        for setting in describe(form):
            name = setting["name"]
            if setting["kind"] not in TEXTS or name not in section:
                continue
            value = section[name]
            if isinstance(value, list):
                for number in range(len(value)):
                    value[number] = self.written.get((*path, name, number), value[number])
            else:
                section[name] = self.written.get((*path, name), value)

    def _at(self, path: Path_) -> Any:
        value: Any = self.tree
        for part in path:
            if not _has(value, part):
                return None
            value = value[part]
        return value

    def _resolve(self, reference: str, path: Path_) -> str:
        """Return the value of ${NAME}, ${NAME:default}, ${file:/run/secrets/x} or
        ${keystore:NAME}; report what cannot be resolved."""
        try:
            return self._resolved(reference)
        except ConfigError as error:
            self.report(path, f" {error}")
            return ""

    def _resolved(self, reference: str) -> str:
        if reference.startswith("file:"):
            try:
                return Path(reference[5:]).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8"
                if "\0" in reference:
                    reason = "no such name"
                raise ConfigError(f"reads {reference[5:]}: {reason}") from None
        if FOREIGN.match(reference):
            raise ConfigError(
                "refers to something in a form of other programs; write ${NAME} for an environment"
                " variable, which is an error if it is not set, ${NAME:default} for one with a"
                " default, ${keystore:NAME} or ${file:/run/secrets/name}"
            )
        name, colon, default = reference.partition(":")
        if name == "keystore" and colon and self.keystore:
            return self.keystore(default)
        if name not in self.environment and not colon:
            raise ConfigError(
                f"needs the environment variable {name}, which is not set; set"
                f" it, or give a default with ${{{name}:default}}"
            )
        return self.environment.get(name, default)

    def place_of(self, path: Path_) -> Place:
        """Return the place of a setting, or of the nearest section around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.file, 1))

    def place(self, path: Path_, written: Optional[Path_] = None) -> str:
        """Return where a setting is: `siemtap.yml line 7: inputs[0].lookback`. written: its path
        there, if a key with dots means a part of `path`."""
        if not path:
            return self.file
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        place = self.place_of(written or path)
        line = f" line {place.line}" if place.line else ""
        return f"{place.file}{line}: {''.join(parts).lstrip('.')}"

    def check(self, validator: Any, path: Path_ = (), value: Any = None) -> None:
        """Validate the file, or the `value` at `path`, and report every error."""
        errors = validator.iter_errors(self.tree if value is None else value)
        # unknown names first: one that was meant for a required name is one mistake, not two
        for error in sorted(errors, key=lambda error: error.validator != "additionalProperties"):
            self._report_error(error, (*path, *error.absolute_path))

    def _report_error(self, error: Any, path: Path_) -> None:
        """Report a schema error as a sentence for the person who wrote the file."""
        schema, value = error.schema, error.instance
        if error.validator == "additionalProperties":
            known = schema["properties"]
            for key in [key for key in value if key not in known]:
                section = ".".join(part for part in path if isinstance(part, str))
                self.wrong.update((*path, name) for name in similar(key, known))
                instead = filebeat.pointer(section, key, value[key], known)
                if instead:
                    self.report((*path, key), f" is Filebeat's name; in siemtap: {instead}")
                    continue
                self.report(
                    (*path, key),
                    f" is not known{suggest(key, known)}; allowed are {', '.join(known)}".replace(
                        "?; allowed", "? Allowed"
                    ),
                )
        elif error.validator == "required":
            for key in [key for key in error.validator_value if key not in value]:
                if (*path, key) in self.wrong:
                    continue
                description = schema["properties"].get(key, {}).get("description", "")
                self.wrong.add((*path, key))
                self._report(
                    self.place_of(path).line,
                    f"{self.place(path)}: {key} is missing. {description}".rstrip(),
                )
        elif path not in self.wrong:
            entries = [inner for inner in error.context or () if inner.relative_path]
            if not entries:
                self.report(
                    path, describe_problem(error, path[-1] if path else "", self.written.get(path))
                )
            for inner in entries:  # of a list
                self.wrong.add(path)
                self._report_error(inner, (*path, *inner.relative_path))

    def fill_in(self, path: Path_, form: Any, values: Mapping[str, Any]) -> Any:
        """Return the form of a section with its values. Report what is wrong, and go on with the
        default or a placeholder."""
        settings = {setting["name"]: setting for setting in describe(form)}
        values = {name: value for name, value in values.items() if name in settings}
        for name, setting in settings.items():
            literal = values.get(name) and (*path, name) not in self.references
            if kind_of(setting).is_secret and literal:
                place = self.place((*path, name))
                self.secret_places.setdefault(self.place_of((*path, name)).file, place)
            if (*path, name) in self.wrong:
                values.pop(name, None)
                if setting["required"]:
                    values[name] = kind_of(setting).placeholder
        while True:
            try:
                return fill_in(form, values)
            except ConfigError as error:
                key = re.split("[: ]", error.message)[0]
                if key not in settings:
                    raise ConfigError(f"{self.place(path)}: {error.message}") from None
                if key in values:
                    self.report((*path, key), error.message[len(key) :])
                else:
                    self.wrong.add((*path, key))
                    self._report(self.place_of(path).line, f"{self.place(path)}: {error.message}")
                values.pop(key, None)
                if settings[key]["required"]:
                    values[key] = kind_of(settings[key]).placeholder

    def fill_in_and_check(self, path: Path_, form: Any, values: Mapping[str, Any]) -> Any:
        """Return the form of a section; report what is wrong in it, also what belongs together."""
        settings = self.fill_in(path, form, values)
        for name, problem in consistency.problems(settings):
            if (*path, name) not in self.wrong:
                self.report((*path, name), problem)
        return settings


def _has(around: Any, part: Any) -> bool:
    if isinstance(around, list):
        return isinstance(part, int) and part < len(around)
    return isinstance(around, dict) and part in around
