"""Every event that leaves is checked against the contract; one that fails, or that the output
refuses, is kept with the reason, and stops nobody."""

from __future__ import annotations

import json
import logging
import re
import threading
from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

import jsonschema_rs

from ..core.mapping import Dataset, Event
from ..core.model import Mark, Unit
from ..render.datasets import schema_of
from . import Refused
from .encode import LONE

log = logging.getLogger("siemtap")

Check = Callable[[Event], Optional[str]]  # the reason an event is refused, or None

DIFFERENT_REASONS = 10  # of one unit that are logged; a reason may quote what somebody sent
REASON_AT_MOST = 300  # characters
VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[0-9]+")  # of a reason: values and numbers
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LOOK = "see `siemtap rejected list`"


class Checked:
    """Around an output. `check` None: what leaves is not looked at."""

    def __init__(
        self,
        output: Any,
        check: Optional[Check],
        rejects: Any,
        told: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.output, self.check, self.rejects, self.told = output, check, rejects, told
        self.together = output.together
        self.lock = threading.Lock()
        self.logged: Dict[Tuple[Unit, bool], Set[str]] = {}
        self.latest: Optional[Tuple[Unit, str]] = None  # whose event was refused last, and why

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Refused:
        refused = self.attempt(unit, events, mark)
        self.tell(unit, refused)
        return refused

    def attempt(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Refused:
        """Deliver, and keep what is refused, but count and log nothing: what fails is attempted
        again."""
        failing = self._failing(events)
        if failing:
            self.rejects.keep(unit, failing)
            ids = {id(event) for event, _ in failing}
            events = [event for event in events if id(event) not in ids]
        refused = self.output.deliver(unit, events, mark)
        if refused:
            self.rejects.keep(unit, refused)
        return [*failing, *(refused or ())]

    def tell(self, unit: Unit, refused: Refused) -> None:
        """Count and log what was refused, once it is certain that the delivery is over."""
        if refused:
            self.told(len(refused))
        for event, reason in refused:
            self._log(unit, event, reason)
            self.latest = unit, reason

    def _failing(self, events: List[Event]) -> Refused:
        if self.check is None:
            return []
        return [
            (event, reason)
            for event, reason in ((event, self.check(event)) for event in events)
            if reason is not None
        ]

    def _log(self, unit: Unit, event: Event, reason: str) -> None:
        """Log a reason once a unit: a warning; an error where the event told of a loss."""
        failed = event["event"].get("kind") == "pipeline_error"
        kind = VARYING.sub("", reason)
        with self.lock:
            logged = self.logged.setdefault((unit, failed), set())
            if kind in logged or len(logged) > DIFFERENT_REASONS:
                return
            logged.add(kind)
            last = len(logged) > DIFFERENT_REASONS
        if last:
            log.warning(
                "%s: events are refused for more and more reasons, which are not logged; %s",
                unit,
                LOOK,
            )
        elif failed:
            message = event.get("message") or event.get("error", {}).get("message", "")
            log.error(
                "%s: an event that tells of an error was refused and kept: %s; it says: %s; %s",
                unit,
                printable(reason),
                printable(message),
                LOOK,
            )
        else:
            log.warning(
                "%s: an event was refused and kept: %s; more for this reason are only counted; %s",
                unit,
                printable(reason),
                LOOK,
            )

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        held: Optional[Set[str]] = self.output.holds(unit, events)
        return held

    def close(self) -> None:
        self.output.close()


def printable(text: str) -> str:
    """Shorten what others say, and spell out what would move a terminal's cursor or forge a
    line."""
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text[:REASON_AT_MOST])


def compiled(contract: Dict[str, Any], datasets: Iterable[Dataset]) -> Check:
    """One compiled validator a dataset."""
    validators = {
        dataset.name: jsonschema_rs.Draft7Validator(
            schema_of(contract, dataset), validate_formats=True
        )
        for dataset in datasets
    }

    def check(event: Event) -> Optional[str]:
        validator = validators.get(event["event"]["dataset"])
        if validator is None:
            return f"no input here has a dataset {event['event']['dataset']}"
        return None if is_valid(validator, event) else reason(validator, event)

    return check


def is_valid(validator: Any, event: Event) -> bool:
    """A lone surrogate cannot reach the compiled validator, which reads UTF-8; no rule of the
    contract looks for one."""
    try:
        return bool(validator.is_valid(event))
    except UnicodeEncodeError:
        return bool(
            validator.is_valid(
                json.loads(LONE.sub("\ufffd", json.dumps(event, ensure_ascii=False)))
            )
        )


def reason(validator: Any, event: Event) -> str:
    """The first thing that is wrong, and where; never the value, which may be an attacker's."""
    for error in validator.iter_errors(
        json.loads(LONE.sub("\ufffd", json.dumps(event, ensure_ascii=False, default=str)))
    ):
        rule = "/".join(map(str, error.schema_path))
        return f"{'.'.join(map(str, error.instance_path)) or 'the event'} breaks {rule}"
    return "it cannot be validated"
