"""The messages of a consumer that were read and are not delivered yet."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Callable, Deque, Dict, Iterable, List, NamedTuple, Optional, Set

from ..core.convert import LATEST
from .gaps import Partition

# Messages of one batch: a reader that died had at most so many in hand, delivered or not.
BATCH_MESSAGES = 2_000


class Received(NamedTuple):
    """A message as it was read. `time`: milliseconds, by its timestamp.

    Without its headers: a name among them that is no UTF-8 ends the process in confluent-kafka
    2.16.1.
    """

    topic: str
    partition: int
    offset: int
    value: Optional[bytes]
    time: int

    @property
    def place(self) -> Partition:
        return self.topic, self.partition


def received(message: Any) -> Received:
    """Return what is kept of a message of confluent-kafka."""
    # a producer may send any number as its time
    time = min(max(0, message.timestamp()[1]), LATEST)
    return Received(message.topic(), message.partition(), message.offset(), message.value(), time)


class Backlog:
    """Messages that wait, in the order of each partition, and those in hand: handed out, and not
    delivered yet. Not thread-safe.

    `size`: of those that wait, in bytes.
    """

    def __init__(self) -> None:
        self.waiting: Deque[Received] = deque()
        self.size = 0
        self.in_hand: List[Received] = []
        # partitions that others may read since messages of theirs are in hand
        self.given_away: Set[Partition] = set()
        # where to go on if they come back: what is before was delivered, and not committed
        self.delivered: Dict[Partition, int] = {}
        # partition -> how many of its next messages may have been delivered, by whoever had them
        self.doubtful: Dict[Partition, int] = {}

    def add(self, message: Received) -> None:
        """Let a message wait, unless it was delivered before its partition was given away."""
        if message.offset < self.delivered.get(message.place, 0):
            return
        self.delivered.pop(message.place, None)
        self.waiting.append(message)
        self.size += _size(message)

    def take(self, number: int, size: int, is_free: Callable[[Received], bool]) -> List[Received]:
        """Take messages in hand, up to `number` and about `size` bytes, but none from the first on
        that is not free."""
        while self.waiting and len(self.in_hand) < number and size > 0:
            if not is_free(self.waiting[0]):
                break
            message = self.waiting.popleft()
            self.in_hand.append(message)
            self.size -= _size(message)
            size -= _size(message)
        return list(self.in_hand)

    def done(self) -> None:
        """Forget the messages in hand: they are delivered."""
        for place, number in self._numbers_in_hand().items():
            self.doubtful[place] = self.doubtful.get(place, 0) - number
            if self.doubtful[place] <= 0:
                del self.doubtful[place]
        self._drop_hand()

    def _drop_hand(self) -> None:
        self.in_hand = []
        self.given_away = set()

    def _numbers_in_hand(self) -> Counter[Partition]:
        return Counter(each.place for each in self.in_hand)

    def again(self, owned: Set[Partition]) -> None:
        """Put the messages in hand back, of partitions that have been ours all the time: what was
        given away is read anew if it came back."""
        back = [each for each in self.in_hand if each.place in owned - self.given_away]
        for place, number in self._numbers_in_hand().items():
            self.doubtful[place] = max(number, self.doubtful.get(place, 0))
        self._drop_hand()
        self.waiting.extendleft(reversed(back))
        self.size += sum(map(_size, back))

    def committed(self, offsets: Dict[Partition, int]) -> None:
        """Note that what is before these offsets is delivered, and leave it out where it was given
        away meanwhile and is read anew."""
        delivered = {each: offsets[each] for each in self.given_away & offsets.keys()}
        if delivered:
            self.delivered.update(delivered)
            self._keep(lambda each: each.offset >= delivered.get(each.place, 0))

    def take_over(self, places: Iterable[Partition]) -> None:
        """Note that these partitions are ours from now on."""
        self.doubtful.update(dict.fromkeys(places, BATCH_MESSAGES))

    def is_doubtful(self) -> bool:
        """Return whether what is delivered now may have been delivered before: messages in hand, or
        without any, the event of a loss."""
        places = self.places_in_hand()
        return not places or bool(self.doubtful.keys() & places)

    def give_away(self, places: Set[Partition]) -> None:
        """Forget what waits of these partitions: others read them from now on."""
        self.given_away |= places & self.places_in_hand()
        self._keep(lambda each: each.place not in places)

    def begins_anew(self, place: Partition) -> None:
        """Forget what was delivered of a partition whose offsets are not there any more."""
        self.delivered.pop(place, None)

    def places_in_hand(self) -> Set[Partition]:
        """Return the partitions of the messages in hand."""
        return {each.place for each in self.in_hand}

    def undelivered(self) -> Iterable[Received]:
        """Return the messages that wait, and those in hand."""
        return (*self.waiting, *self.in_hand)

    def _keep(self, is_kept: Callable[[Received], bool]) -> None:
        self.waiting = deque(filter(is_kept, self.waiting))
        self.size = sum(map(_size, self.waiting))


def _size(message: Received) -> int:
    return len(message.value or b"")
