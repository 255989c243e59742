"""A configuration without its secrets, and texts without them."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Callable, Dict, Iterable, Mapping, Set, Sized
from urllib.parse import quote, quote_plus

from ...core.errors import ConfigError
from ...core.manifest import Kind, describe, kind_of
from ..config.document import REFERENCE, Document, Path_
from ..config.load import sections_of

REDACTED = "REDACTED"
SHORTEST = 6  # characters of a value that texts are searched for; a shorter one is in any text
LOGIN = re.compile(r"://([^/?#\s\"']*)@")  # of a URL: user:password
QUERY = re.compile(r"\?[^\s\"']+")
# What a cursor may show: names of its fields, numbers of partitions, times.
FIELD = re.compile(r"[a-z_]{1,40}|\d{1,9}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{5,20}(Z|[+-]\d\d:?\d\d)")
MOST_PARTS = 20


class Redactor:
    """Replaces values in texts, however they are written there. `hidden`: these values."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.hidden: Set[str] = set()
        for value in values:
            self.hide(value)

    def hide(self, value: str) -> None:
        """Add a value, and the login in it if it is a URL."""
        self.hidden.update({value, *value.split("\n")})
        for login in LOGIN.findall(value):
            self.hidden.update({login, login.partition(":")[2]})

    def clean(self, text: str) -> str:
        """Return a text without hidden values, and without logins of URLs."""
        spellings = {spelling for value in self.hidden for spelling in _spellings(value)}
        for spelling in sorted(spellings, key=len, reverse=True):
            text = text.replace(spelling, REDACTED)
        return LOGIN.sub(f"://{REDACTED}@", text)


def _spellings(value: str) -> Set[str]:
    """Return a value as it may stand in a text: plain, in JSON, in a URL, in base64."""
    if len(value) < SHORTEST:
        return set()
    code = value.encode("utf-8", "surrogateescape")
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(code, safe=""),
        quote(code),
        quote_plus(code),
        base64.b64encode(code).decode(),
    }


class WrittenDocument(Document):
    """A configuration as it is written: references are not replaced by their values, which
    `redactor` hides."""

    def __init__(
        self,
        text: str,
        file: str,
        environment: Mapping[str, str],
        keystore: Callable[[str], str],
        redactor: Redactor,
    ) -> None:
        self.redactor = redactor
        super().__init__(text, file, environment, keystore)

    def _resolve(self, reference: str, path: Path_) -> str:
        try:
            self.redactor.hide(self._resolved(reference))
        except ConfigError:
            pass  # `siemtap test config` names it
        name, colon, default = reference.partition(":")
        if name in ("file", "keystore") or not colon:
            return f"${{{reference}}}"
        self.redactor.hide(default)
        return f"${{{name}:{REDACTED}}}"


def redacted(document: WrittenDocument) -> Any:
    """Return the configuration as plain data, with the values of settings that are known and no
    secrets; others are replaced, so that a password under a misspelt name is, too.

    References keep their names. What is replaced is added to the document's redactor.
    """
    known: Dict[Path_, Kind] = {
        (*path, setting["name"]): kind_of(setting)
        for path, form in sections_of(document)
        for setting in describe(form)
    }
    return _Redaction(document.redactor, known).plain(document.tree, ())


class _Redaction:
    def __init__(self, redactor: Redactor, known: Mapping[Path_, Kind]) -> None:
        self.redactor, self.known = redactor, known

    def plain(self, value: Any, path: Path_) -> Any:
        kind = self.known.get(path)
        if (kind and not kind.is_secret) or path[-1:] == ("processors",):
            return self._each(value, self._without_login)
        if kind:
            return self._each(value, self._replaced)
        if isinstance(value, dict):
            return {name: self.plain(part, (*path, name)) for name, part in value.items()}
        if isinstance(value, list):
            return [self.plain(part, (*path, number)) for number, part in enumerate(value)]
        names_form = any(section[:-1] == path[:-1] for section in self.known)
        if path[-1:] == ("type",) and names_form:  # of an input or an output that there is
            return value
        return self._replaced(value)

    def _each(self, value: Any, change: Callable[[Any], Any]) -> Any:
        """Return a value with each text in it changed."""
        if isinstance(value, dict):
            return {name: self._each(part, change) for name, part in value.items()}
        if isinstance(value, list):
            return [self._each(part, change) for part in value]
        return change(value)

    def _replaced(self, value: Any) -> Any:
        if value is None or value == "" or isinstance(value, bool):
            return value
        if REFERENCE.fullmatch(str(value)):
            return value
        self.redactor.hide(REFERENCE.sub("", str(value)))
        return REDACTED

    def _without_login(self, value: Any) -> Any:
        """Return a text without the login and the query of a URL."""
        if not isinstance(value, str):
            return value
        for login in LOGIN.findall(value):
            if not REFERENCE.fullmatch(login):
                self.redactor.hide(f"://{login}@")
        text = LOGIN.sub(f"://{REDACTED}@", value)
        return QUERY.sub(f"?{REDACTED}", text) if "://" in text else text


def shape(value: Any) -> Any:
    """Return a cursor with its texts replaced by their lengths, and long lists cut: those of a
    deny list are addresses and names of clients, and tokens."""
    if isinstance(value, dict):
        parts = {str(name): shape(part) for name, part in list(value.items())[:MOST_PARTS]}
        named = {_field(name, number): part for number, (name, part) in enumerate(parts.items())}
        return {**named, "...": _more(value)} if len(value) > MOST_PARTS else named
    if isinstance(value, list):
        shapes = [shape(part) for part in value[:MOST_PARTS]]
        return [*shapes, _more(value)] if len(value) > MOST_PARTS else shapes
    if isinstance(value, str) and not TIME.fullmatch(value):
        return f"text of {len(value)}"
    return value


def _field(name: str, number: int) -> str:
    return name if FIELD.fullmatch(name) else f"field {number + 1}, name of {len(name)}"


def _more(value: Sized) -> str:
    return f"{len(value) - MOST_PARTS:,} more"
