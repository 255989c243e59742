"""Consumer groups: who is in one, what it may, and how far it has read."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, NamedTuple

from ..core.errors import ConfigError
from .topics import Topics


class Member(NamedTuple):
    """A member of a group, and the partitions that it has."""

    instance_id: str
    host: str
    partitions: List[int]


class Groups(Topics):
    """The consumer groups of a cluster, as this user sees them."""

    def check_group(self, group: str) -> None:
        """Raise ConfigError if this user may not join a consumer group."""
        (answer,) = self.admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=self.timeout
        ).values()
        described = self._call(partial(answer.result, self.timeout), group=group)
        allowed = described.authorized_operations
        if allowed is not None and "READ" not in {each.name for each in allowed}:
            raise ConfigError(
                f"{self.where}: no right to use the consumer group {group}; run"
                f" {self.advice.allow(('Read', 'Describe'), f'--group {group}')}"
            )

    def members(self, group: str) -> List[Member]:
        """Return the members of a group, by instance id."""
        (answer,) = self.admin.describe_consumer_groups(
            [group], request_timeout=self.timeout
        ).values()
        described = self._call(partial(answer.result, self.timeout), group=group)
        members = [
            Member(
                each.group_instance_id or each.member_id,
                each.host.lstrip("/"),
                [part.partition for part in each.assignment.topic_partitions],
            )
            for each in described.members
        ]
        return sorted(members)

    def lags(self, names: List[str]) -> Dict[str, int]:
        """Return how many messages of topics each group that reads one has not read yet. Markers of
        transactions count as messages."""
        answer = self.admin.list_consumer_groups(request_timeout=self.timeout)
        listed = self._call(partial(answer.result, self.timeout))
        lags: Dict[str, int] = {}
        for group in sorted(each.group_id for each in listed.valid):
            committed = [part for part in self._committed(group) if part.topic in names]
            if committed:
                ends = self._ends(committed)
                lags[group] = sum(
                    max(0, ends[part.topic, part.partition] - max(0, part.offset))
                    for part in committed
                )
        return lags

    def _committed(self, group: str) -> Any:
        wanted = self.kafka.ConsumerGroupTopicPartitions(group)
        (answer,) = self.admin.list_consumer_group_offsets(
            [wanted], request_timeout=self.timeout
        ).values()
        return self._call(partial(answer.result, self.timeout), group=group).topic_partitions

    def _ends(self, parts: Any) -> Dict[Any, int]:
        latest = self.kafka.admin.OffsetSpec.latest()
        wanted = {self.kafka.TopicPartition(part.topic, part.partition): latest for part in parts}
        answers = self.admin.list_offsets(wanted, request_timeout=self.timeout)
        return {
            (part.topic, part.partition): self._call(partial(answer.result, self.timeout)).offset
            for part, answer in answers.items()
        }
