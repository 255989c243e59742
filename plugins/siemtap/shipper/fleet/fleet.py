"""The share of a worker of a fleet: the inputs whose partitions Kafka's consumer group gives it."""

from __future__ import annotations

import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Callable, Dict, Iterable, List, Optional, Set

from ...core.errors import Retry, SiemtapError
from ...core.identity import sha256_hex
from ...core.model import Unit
from ...kafka.transactions import Limits
from ..processes.share import Share
from . import topics
from .membership import WAIT_FOR_PERSON, Membership
from .partition import Partition, key_of
from .settings import Cluster

log = logging.getLogger("siemtap")

PARALLEL = 8  # partitions that are opened at the same time
RETRY_EVERY = 2.0  # seconds between two attempts, if no person must act in between
REVOKE_TIMEOUT = 20.0  # seconds
Changed = Callable[[Callable[[str], bool]], None]  # is told which inputs have another lease now


class Replaced(SystemExit):
    """The end of the process when another one joins with its instance id. The log says why."""


class Fleet(Share):
    """The inputs of this worker. All pulled units of an input are in one partition, so an account's
    rate limit, token and parallel requests are those of one process.

    identity: of path.data. limits: of the events' transactions. stop: called with the error that
    ends the process.
    """

    name = ""
    alone = True

    def __init__(
        self,
        settings: Cluster,
        identity: str,
        limits: Limits,
        stop: Callable[[BaseException], None],
        changed: Changed,
    ) -> None:
        self.settings = settings
        self.limits = limits
        self.stop = stop
        self.changed = changed
        self.instance_id = settings.instance_id or f"{socket.gethostname()}-{identity}"
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.count = 0  # of partitions; 0: not known yet
        self.has_grown = False  # the topic has other partitions than this process counts with
        self.partitions: Dict[int, Partition] = {}  # those assigned, open or not
        self.open: Dict[int, Partition] = {}
        self.problems: Dict[int, str] = {}  # of partitions that do not open; -1: of the topics
        self.ids: Optional[Set[str]] = None  # of the configured inputs
        self.openers = ThreadPoolExecutor(PARALLEL, thread_name_prefix="partition")
        self.membership = Membership(settings, self.instance_id, self, self.closing)
        try:
            self.count = topics.check(settings)
        except Retry as error:
            self.problems[-1] = error.message
            log.warning("%s; the inputs wait until it answers", error)

    def start(self) -> None:
        """Join the group, once its topics are known to be right."""
        threading.Thread(target=self._join, name="fleet-start", daemon=True).start()

    def _join(self) -> None:
        while not self.count and not self.closing.is_set():
            try:
                self.count = topics.check(self.settings)
                self.problems.pop(-1, None)
            except SiemtapError as error:
                if error.message != self.problems.get(-1) and not isinstance(error, Retry):
                    log.error("%s", error)
                self.problems[-1] = error.message
                self.closing.wait(RETRY_EVERY if isinstance(error, Retry) else WAIT_FOR_PERSON)
        if not self.closing.is_set():
            self.membership.start()

    def close(self) -> None:
        """Write nothing more, and stop being heard in the group."""
        self.closing.set()
        self.revoked(list(self.partitions))
        self.membership.close()
        self.openers.shutdown(wait=False, cancel_futures=True)

    # The share

    def number_of(self, input: str) -> int:
        """Return the partition of an input's units; -1 while the topic is not known."""
        return int(sha256_hex(input)[:15], 16) % self.count if self.count else -1

    def lease(self, input: str) -> Optional[Partition]:
        partition = self.open.get(self.number_of(input))
        return None if partition is None or partition.ended else partition

    def know(self, input: str, plugin: str, units: List[Unit]) -> None:
        """Publish the units of an input in its partition. Only the partition's owner does, in its
        transactions: so no worker undoes what another one has published."""
        messages = {
            key_of(unit): json.dumps({**unit._asdict(), "type": plugin}).encode() for unit in units
        }
        partition = self.lease(input)
        if partition is not None:
            published = list(partition.units.items())  # other inputs of the partition publish, too
            gone = {key for key, value in published if input_of(value) == input}
            partition.publish({**dict.fromkeys(gone - messages.keys()), **messages})

    def configured(self, ids: Iterable[str]) -> None:
        """Take notice of the inputs that are configured, and remove the units of others from the
        topic of units. Checkpoints stay, as in path.data: an input that comes back goes on."""
        self.ids = set(ids)
        for partition in list(self.open.values()):
            self.openers.submit(self._remove_units, partition)

    def _remove_units(self, partition: Partition) -> None:
        if self.ids is None:
            return
        published = list(partition.units.items())  # as in `know`
        gone = [key for key, value in published if input_of(value) not in self.ids]
        try:
            partition.publish(dict.fromkeys(gone))
        except SiemtapError as error:  # the next owner, or the next reload, does it
            log.debug("units were not removed: %s", error)

    def problem(self) -> str:
        """Return why this worker does not get its inputs; "" if nothing is wrong."""
        problem = next(iter(list(self.problems.values())), "")
        if problem:
            return problem
        why = self.membership.why() if self.count else ""
        return f"cluster.kafka: {why}" if why else ""

    # What the group says

    def assigned(self, partitions: List[int]) -> None:
        for number in partitions:
            self._begin(number, self.limits)
        if partitions:
            log.info("fleet: got partitions %s of %d", _listed(partitions), self.count)

    def _begin(self, number: int, limits: Limits) -> None:
        if self.closing.is_set() or self.has_grown:
            return
        partition = Partition(self.settings, limits, number, self._failed)
        with self.lock:
            self.partitions[number] = partition
        self._open_in_turn(partition)

    def _open_in_turn(self, partition: Partition) -> None:
        """Open a partition after those that wait already, unless it is given up."""
        with self.lock:
            if not partition.ended and not self.closing.is_set():
                partition.opening = self.openers.submit(self._open, partition)

    def _open(self, partition: Partition) -> None:
        number = partition.number
        if partition.ended or self.closing.is_set():
            return
        try:
            partition.open()
        except SiemtapError as error:
            self._open_later(partition, error)
            return
        with self.lock:
            self.problems.pop(number, None)
            is_current = self.partitions.get(number) is partition and not partition.ended
            if is_current:
                self.open[number] = partition
        if not is_current:
            partition.close()
            return
        self.changed(lambda id: self.number_of(id) == number)
        self._remove_units(partition)

    def _open_later(self, partition: Partition, error: SiemtapError) -> None:
        """Try again after a while, in which the thread is free for other partitions."""
        number, is_retry = partition.number, isinstance(error, Retry)
        with self.lock:
            if partition.ended:
                return
            is_new = self.problems.get(number) != error.message
            self.problems[number] = error.message
        if is_new and not is_retry:
            log.error("%s", error)
        wait = RETRY_EVERY if is_retry else WAIT_FOR_PERSON
        timer = threading.Timer(wait, self._open_in_turn, [partition])
        timer.daemon = True  # it holds up no exit
        timer.start()

    def revoked(self, partitions: List[int]) -> None:
        with self.lock:
            given = [
                self.partitions.pop(number) for number in partitions if number in self.partitions
            ]
            for partition in given:
                partition.ended = True
                self.open.pop(partition.number, None)
                self.problems.pop(partition.number, None)
        with ThreadPoolExecutor(max(1, len(given))) as closers:
            closing = [closers.submit(partition.close) for partition in given]
            wait([*closing, *(each.opening for each in given if each.opening)], REVOKE_TIMEOUT)
        numbers = {partition.number for partition in given}
        if given:
            log.info("fleet: gave up partitions %s", _listed(numbers))
            self.changed(lambda id: self.number_of(id) in numbers)

    def _failed(self, partition: Partition) -> None:
        """Open a partition anew, unless the group meanwhile says that it is another worker's. A
        worker that was paused for too long hears of that within a heartbeat."""
        with self.lock:
            if self.open.get(partition.number) is partition:
                del self.open[partition.number]
        threading.Thread(target=self._again, args=[partition], name="partition-again").start()

    def _again(self, partition: Partition) -> None:
        number = partition.number
        partition.close()
        self.changed(lambda id: self.number_of(id) == number)
        self.closing.wait(min(10.0, self.settings.session_timeout / 3000))
        with self.lock:
            is_current = self.partitions.get(number) is partition
        if is_current and not self.closing.is_set():
            alone = self.limits.alone or partition.transactions.needs_alone
            self._begin(number, self.limits._replace(alone=alone))

    def replaced(self) -> None:
        log.error(
            "cluster.kafka: another process has joined the group %s as %s, and this one stops: each"
            " worker needs a path.data or an `instance_id` of its own",
            self.settings.group,
            self.instance_id,
        )
        self.closing.set()
        self.stop(Replaced(1))

    def has_partitions(self, number: int) -> None:
        if number == self.count or self.has_grown:
            return
        self.has_grown = True
        log.error("%s", self._grown(number))
        self.problems[-1] = self._grown(number)
        self.revoked(list(self.partitions))

    def _grown(self, number: int) -> str:
        return (
            f"cluster.kafka: the topic {self.settings.units} has {number} partitions and had"
            f" {self.count}, so inputs belong to others now: stop all workers, give"
            f" {self.settings.checkpoints} as many, and see docs/fleet.md"
        )


def input_of(value: bytes) -> str:
    """Return the input of a message of the topic of units."""
    try:
        return str(json.loads(value)["input"])
    except (ValueError, TypeError, KeyError):
        return ""


def _listed(partitions: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(partitions)))
