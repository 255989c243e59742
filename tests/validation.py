"""A check of events with reasons of the test's own, and an output that keeps what it gets."""


class RefusingCheck:
    """`reason_of(event)` is why an event is invalid, or None; no value is ever at fault."""

    def __init__(self, reason_of):
        self.reason_of = reason_of

    def __call__(self, event):
        return self.reason_of(event)

    def without_unfit(self, event):
        return None


class MemoryOutput:
    """An output that accepts and keeps all events, and the store of rejected events."""

    together = False

    def __init__(self):
        self.events, self.refused = [], []

    def deliver(self, unit, events, mark):
        self.events += events
        return []

    def store(self, unit, refused):
        self.refused += refused
