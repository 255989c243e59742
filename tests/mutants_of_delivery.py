"""Defects of the order of events and marks, and of what is looked up and written."""

DELIVERY = [
    # The commit order
    (
        "engine/sinks.py",
        "        if events:\n            rejections = self.sink.deliver(unit, events, None)\n",
        (
            "        if mark is not None:\n            self.checkpoints.save(unit, mark)\n"
            "        if events:\n            rejections = self.sink.deliver(unit, events, None)\n"
        ),
        "test_crash.py::test_mark_is_saved_after_the_events",
    ),
    (
        "engine/sinks.py",
        "            self.unsaved |= ids_of(events)\n            raise\n",
        "            raise\n",
        "test_crash.py::test_mark_that_cannot_be_saved_causes_no_duplicates",
    ),
    (
        "engine/sinks.py",
        "held = self.unsaved & ids_of(events) if self.unsaved else set()",
        "held = set()",
        "test_crash.py::test_mark_that_cannot_be_saved_causes_no_duplicates",
    ),
    (
        "engine/sinks.py",
        "            self.unsaved -= ids_of(events)\n",
        "            pass\n",
        "test_crash.py::test_events_with_a_saved_mark_are_no_longer_in_doubt",
    ),
    (
        "engine/pump.py",
        "        rejections = sink.deliver(unit, fresh, mark)\n",
        "        rejections = sink.deliver(unit, fresh, mark) if fresh else []\n",
        "test_crash.py::test_empty_batch_moves_the_mark",
    ),
    (
        "engine/sinks.py",
        'events = [event for event in events if event["event"]["id"] not in held]',
        "pass",
        "test_crash.py::test_mark_that_cannot_be_saved_causes_no_duplicates",
    ),
    (
        "engine/pump.py",
        "fresh, mark = mark.after(batch",
        "fresh, _ = mark.after(batch",
        "test_crash.py::test_pump_delivers_new_events_with_their_mark",
    ),
    (
        "engine/sinks.py",
        "self.doubt[dataset] = self.has_any(unit, of_it)",
        "self.doubt[dataset] = False",
        "outputs/test_first_look_ups.py",
    ),
    (
        "shipper/input.py",
        "            state.had_events = {}\n",
        "",
        "outputs/test_first_look_ups.py::test_a_failure_begins_a_new_doubt",
    ),
    (
        "engine/pump.py",
        "map_batch(batch, mark.seen)",
        "map_batch(batch, ())",
        "shipper/test_written_events.py",
    ),
]
