"""The checkpoints of an input, in the KV store, and beside it while it takes none."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from splunklib.binding import HTTPError

from ....core.convert import rfc3339
from ....core.errors import ConfigError, SiemtapError
from ....core.identity import canonical
from ....core.model import Mark, Unit
from ..splunkd import TRANSIENT_STATUSES, Splunkd
from .files import read_json, write_json

log = logging.getLogger("siemtap")

MAX_STATE_CHARACTERS = 4 * 1024 * 1024  # of a checkpoint, packed; a document holds 16 MB
KV_STORE_START = 30.0  # seconds the KV store may take to start


class KvCheckpoints:
    """The marks of an input in a KV store collection, one document for each unit.

    `generation`: the start and the reset number of the stanza. A mark of another generation does
    not count: the input was reset, or its start was changed.

    `aside`: a file for the marks that the KV store did not take, after their events were delivered.
    The next run goes on from there, so that nothing is sent twice. Such a mark counts only while
    the document in the KV store is the one that it was to replace.
    """

    def __init__(
        self, splunkd: Splunkd, input: str, generation: str = "", aside: Optional[Path] = None
    ) -> None:
        self.splunkd = splunkd
        self.input = input
        self.generation = generation
        self.collection = f"{splunkd.app.root}_checkpoints"
        self.kvstore = splunkd.service.kvstore
        self.aside = aside
        self.loaded: Dict[str, str] = {}  # key of a unit -> digest of its document
        self.lock = threading.Lock()

    def key(self, unit: Unit) -> str:
        """Return the `_key` of a unit's document: 16 hex digits."""
        text = "\n".join((self.input, unit.dataset, unit.scope))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def load(self, unit: Unit) -> Mark:
        """Return a unit's mark, an empty one if there is none of this generation.

        Raise ConfigError if the document is damaged or the KV store is disabled, Retry if it does
        not start in time.
        """
        document = self._read(unit)
        self.loaded[self.key(unit)] = _digest(document)
        aside = self._read_aside().get(self.key(unit), {})
        if aside.get("replaces") == _digest(document):
            log.info("%s continues from the checkpoint that the KV store did not take", unit)
            document = aside["document"]
        if not document:
            return Mark()
        try:
            if str(document.get("began", "")) != self.generation:
                log.info("%s starts again: the input was reset, or its start was changed", unit)
                return Mark()
            return Mark.from_json(json.loads(zlib.decompress(base64.b64decode(document["state"]))))
        except (ValueError, TypeError, KeyError, AttributeError, zlib.error):
            raise ConfigError(
                f"the checkpoint {self.key(unit)} of {unit} cannot be read; reset it on the page of"
                " the input"
            ) from None

    def _read(self, unit: Unit) -> Dict[str, Any]:
        """Return a unit's document; {} if there is none."""
        try:
            document: Dict[str, Any] = self._call(
                lambda: self._documents().query_by_id(self.key(unit))
            )
        except HTTPError as error:
            if error.status == 404:
                return {}
            raise
        return document

    def save(self, unit: Unit, mark: Mark) -> None:
        """Save a unit's mark. The oldest ids are dropped until it fits into a document."""
        state = _pack(mark)
        while len(state) > MAX_STATE_CHARACTERS and mark.seen:
            mark = self._drop_oldest_ids(unit, mark)
            state = _pack(mark)
        document = {
            "_key": self.key(unit),
            "input": self.input,
            "unit": str(unit),
            "began": self.generation,
            "state": state,
            "until": str(mark.cursor.get("until", "")),
        }
        try:
            self._call(lambda: self._documents().batch_save(dict(document)))
        except (HTTPError, SiemtapError):
            self._save_aside(unit, document)
            raise
        self.loaded[self.key(unit)] = _digest(document)
        self._forget_aside(unit)

    def _save_aside(self, unit: Unit, document: Dict[str, Any]) -> None:
        if self.aside is None:
            return
        key = self.key(unit)
        with self.lock:
            kept = self._read_aside()
            kept[key] = {"replaces": self.loaded.get(key, _digest({})), "document": document}
            write_json(self.aside, kept)

    def _forget_aside(self, unit: Unit) -> None:
        if self.aside is None or not self.aside.exists():
            return
        with self.lock:
            kept = self._read_aside()
            kept.pop(self.key(unit), None)
            write_json(self.aside, kept)

    def _read_aside(self) -> Dict[str, Any]:
        return read_json(self.aside) if self.aside else {}

    def _drop_oldest_ids(self, unit: Unit, mark: Mark) -> Mark:
        """Return the mark without the older half of its ids, and warn."""
        ends = sorted(set(mark.seen.values()))
        oldest = ends[len(ends) // 2] if len(ends) > 1 else ends[-1] + 1
        log.warning(
            "%s: the %d ids of the overlap do not fit into the KV store; events from before %s that"
            " are read again are sent again",
            unit,
            len(mark.seen),
            rfc3339(oldest),
        )
        return Mark(mark.cursor, {id: until for id, until in mark.seen.items() if until >= oldest})

    def delete_all(self) -> None:
        """Delete every document of the input."""
        self._call(lambda: self._documents().delete(json.dumps({"input": self.input})))

    def _documents(self) -> Any:
        return self.kvstore[self.collection].data

    def _disabled_error(self) -> ConfigError:
        return ConfigError(
            f"the KV store has no collection {self.collection}, and none can be created: it seems"
            " to be disabled on this instance. Run the input on an instance with a KV store, or set"
            " `checkpoint` to file and leave the input on this instance"
        )

    def _call(self, request: Callable[[], Any]) -> Any:
        """Call the KV store, wait while it starts, and create the collection if it is missing."""

        def with_collection() -> Any:
            try:
                return request()
            except KeyError:
                pass
            try:
                self.kvstore.create(self.collection)
            except HTTPError as error:
                if error.status in (401, *TRANSIENT_STATUSES):
                    raise
                raise self._disabled_error() from None
            try:
                return request()
            except KeyError:
                raise self._disabled_error() from None

        def unless_disabled() -> Any:
            try:
                return with_collection()
            except HTTPError as error:
                if "disabled" in str(error).lower():
                    raise self._disabled_error() from None
                raise

        return self.splunkd.call(
            unless_disabled,
            "the KV store",
            "it is starting, or failed; see `splunk show kvstore-status` and mongod.log",
            patience=KV_STORE_START,
        )


def _digest(document: Dict[str, Any]) -> str:
    """Return a digest of what a document says; "" if there is none."""
    if not document:
        return ""
    text = f"{document.get('began', '')} {document.get('state', '')}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _pack(mark: Mark) -> str:
    """Return a mark as compressed JSON in Base64."""
    text = canonical(mark.to_json()).encode("utf-8", "surrogatepass")
    return base64.b64encode(zlib.compress(text)).decode()
