"""Defects of the checks while values are mapped, for `test_mutants.py`."""

CHECKS = [
    (
        "core/compile/fit.py",
        "(len(parts) == 4 and OCTETS.issuperset(parts)) or",
        "len(parts) == 4 or",
        "shipper/test_checked_events.py",
    ),
    (
        "core/compile/emit.py",
        "'CheckedEvent(root_) if fits else root_'",
        "'CheckedEvent(root_)'",
        "shipper/test_checked_events.py",
    ),
    (
        "core/compile/emit.py",
        "            yield from _check_collected(plan, row, path, value)\n",
        "            yield from ()\n",
        "shipper/test_checked_events.py",
    ),
]
