"""What `siemtap fleet status` shows: workers, units and lag, as the brokers know them."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any, Dict, List, NamedTuple, Optional

from ...core.errors import SiemtapError
from ...core.model import Unit
from ...core.windows import Millis
from ...kafka.groups import Groups
from . import checkpoints, topics
from .settings import Cluster


class Worker(NamedTuple):
    """A member of the group. `inputs`: how many inputs its partitions have."""

    instance_id: str
    host: str
    partitions: List[int]
    inputs: int


class UnitStatus(NamedTuple):
    """A unit. `worker`: the instance id; "" if nobody has its partition. `age`: seconds since the
    end of the last window that was committed, or since the commit if the cursor tells no time;
    None: nothing is committed yet."""

    unit: Unit
    partition: int
    worker: str
    age: Optional[float]


class Status(NamedTuple):
    """`lags`: messages of the events' topics that a group has not read yet, by group."""

    workers: List[Worker]
    units: List[UnitStatus]
    lags: Dict[str, int]

    @property
    def orphans(self) -> int:
        """Return how many units nobody reads."""
        return sum(not unit.worker for unit in self.units)


def status(settings: Cluster, events: List[str], now: Millis) -> Status:
    """Ask the brokers. events: the topics of events. Raise Retry if they do not answer, ConfigError
    if a topic or a right is missing."""
    cluster = Groups(settings, "cluster.kafka", topics.TIMEOUT)
    number = topics.check(settings)
    members = cluster.members(settings.group)
    owners = {
        partition: member.instance_id for member in members for partition in member.partitions
    }
    known, marks = (
        checkpoints.latest(settings, topic, range(number), threading.Event())
        for topic in (settings.units, settings.checkpoints)
    )
    units = []
    for key, message in sorted(known.items()):
        parts = json.loads(message.value)
        unit = Unit(parts["input"], parts["dataset"], parts["scope"])
        mark = marks.get(key)
        # a vendor whose clock is ahead is not read in the future
        age = None if mark is None else max(0, now - _until(mark)) / 1000
        owner = owners.get(message.partition, "")
        units.append(UnitStatus(unit, message.partition, owner, age))
    inputs = Counter(worker for worker, _ in {(each.worker, each.unit.input) for each in units})
    workers = [
        Worker(
            member.instance_id, member.host, sorted(member.partitions), inputs[member.instance_id]
        )
        for member in members
    ]
    return Status(workers, units, cluster.lags(events))


def _until(mark: checkpoints.Latest) -> Millis:
    """Return the time up to which a unit is read; that of the commit if its cursor tells none."""
    try:
        until: Any = checkpoints.from_message(mark.value)[1].cursor.get("until")
    except SiemtapError:
        until = None
    return until if type(until) is int else mark.time
