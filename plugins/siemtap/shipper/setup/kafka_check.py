"""Kafka in `siemtap test output`, `siemtap test inputs` and `siemtap setup`: brokers, topics and
rights.

No event is written, because Kafka deletes none.
"""

from __future__ import annotations

import uuid
from typing import Iterator, List, Tuple

from ...core.errors import SiemtapError
from ...kafka import input as kafka_input
from ...kafka.topics import Topics
from ...kafka.transactions import Limits, Transactions
from ...outputs.kafka.output import topics_of
from ...outputs.kafka.settings import Settings
from ..config.sections import Config, Input
from ..fleet import topics as fleet_topics

Step = Tuple[bool, str]  # whether it succeeded, and a sentence
TIMEOUT = 20_000  # milliseconds


def check_kafka(config: Config) -> Iterator[Step]:
    """Test the output step by step."""
    settings: Settings = config.output.settings
    section = config.output.section
    try:
        topics = Topics(settings, section)
        yield True, f"{', '.join(topics.brokers())} answer"
        yield from _check_topics(topics, _topics(config))
        if config.cluster.enabled:
            number = fleet_topics.check(config.cluster)
            yield True, f"the topics of the fleet have {number} partitions and are compacted"
        # an id of its own, so that a siemtap that runs is not fenced
        id = f"{settings.client_id}-test-{uuid.uuid4().hex}"
        transactions = Transactions(settings, id, Limits(timeout=TIMEOUT), section)
        try:
            transactions.open()
        finally:
            transactions.close()
        yield True, "transactions are allowed"
    except SiemtapError as error:
        yield False, str(error)
        return
    yield True, "no test event was written, because Kafka cannot delete one"


def _topics(config: Config) -> List[str]:
    return topics_of(config.output.settings, [dataset.name for dataset in config.datasets])


def _check_topics(topics: Topics, names: List[str]) -> Iterator[Step]:
    if not names:
        yield True, "topics: the first event of each shows whether it exists"
    problems = dict(topics.check(names))
    for name in names:
        if name in problems:
            yield False, str(problems[name])
        else:
            yield True, f"the topic {name} exists, and may be written to"


def set_up_topics(config: Config, dry_run: bool) -> Iterator[str]:
    """Create the topics that are missing; yield what was done, a sentence each."""
    topics = Topics(config.output.settings, config.output.section)
    missing = topics.missing(_topics(config))
    if not dry_run:
        topics.create(missing)
    if config.cluster.enabled:
        missing = [*fleet_topics.set_up(config.cluster, dry_run), *missing]
    for name in missing:
        yield f"{'would be ' if dry_run else ''}created: topic {name}"
    yield f"{len(missing)} {'to change' if dry_run else 'changed'}"


def check_source(input_config: Input) -> Iterator[str]:
    """Yield what an input of the type kafka would read. Nothing is read, and the group is not
    joined: a siemtap may be in it."""
    settings: kafka_input.Settings = input_config.settings
    topics = Topics(settings, f"the group {settings.group_id}")
    yield f"{', '.join(topics.brokers())} answer"
    names = topics.matching(settings.topics)
    for _, error in topics.check(names, ("Read", "Describe")):
        raise error
    yield f"{len(names)} topics: {', '.join(names) or 'none that fits `topics` exists yet'}"
