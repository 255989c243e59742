"""docs/architecture.md follows one record from the vendor to the output: each table lists functions
that are called, in that order."""

import json
import re
import sys
import threading
from pathlib import Path

import pytest
import requests
from centurylink_ips import simulator as centurylink_ips
from stepped_shipper import SteppedShipper

import siemtap
from apptrana import simulator as apptrana
from siemtap.core.windows import HOUR
from siemtap.testing.world import NOON

PLUGINS = Path(siemtap.__file__).parents[1]
PAGE = Path(__file__).parents[2] / "docs/architecture.md"
ROW = re.compile(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
CYCLE = ("siemtap/shipper/input.py", "RunningInput._collect")
SECRET = "a-secret-of-sixteen-and-more"


def listed(heading):
    """Return the rows of the table below a heading, as (file, function)."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n### {heading}\n")[2]
    return ROW.findall(text.partition("\n#")[0])


def class_of(frame):
    """Return the name of the class that defines the method of a frame."""
    classes = type(frame.f_locals["self"]).__mro__
    for each in classes:
        method = vars(each).get(frame.f_code.co_name)
        if getattr(method, "__code__", None) is frame.f_code:
            return each.__name__
    return classes[0].__name__


def calls(work):
    """Return all calls of our functions that a piece of work makes, in all threads."""
    made = []

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(str(PLUGINS)):
            name = frame.f_code.co_name
            if "self" in frame.f_locals:
                name = f"{class_of(frame)}.{name}"
            file = Path(frame.f_code.co_filename).relative_to(PLUGINS).as_posix()
            made.append((file, name))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return made


def missing(rows, made):
    """Return the first row that does not follow the rows before it; None: all are in order."""
    rest = iter(made)
    return next((row for row in rows if row not in rest), None)


def missing_of_cycle(rows, made):
    """The same, for rows that one cycle of a unit must have together."""
    starts = [number for number, call in enumerate(made) if call == CYCLE]
    cycles = [made[start:stop] for start, stop in zip(starts, [*starts[1:], None])]
    absent = [missing(rows, cycle) for cycle in cycles]
    return None if None in absent else max(absent, key=rows.index)


def pull(folder):
    simulated = apptrana.Simulator(apptrana.Knobs(rate=0.05, odd=False))
    stepped = SteppedShipper(folder, simulated, "apptrana").start()
    return stepped, lambda: stepped.run_turns(2)


def push(folder):
    """Listening starts before the turns, so the threads of the listener are traced as well."""
    simulated = centurylink_ips.Simulator(centurylink_ips.Knobs(formats=("json",)))
    stepped = SteppedShipper(
        folder, simulated, "centurylink_ips", listen="127.0.0.1:0", secret=SECRET
    )
    body = json.loads(next(iter(simulated.pushed(NOON - HOUR, NOON))).body)

    def work():
        (running,) = stepped.start().shipper.inputs.values()
        url = running.receiver.addresses[0].replace("<secret>", SECRET)
        assert requests.post(url, json=body, timeout=10).status_code == 204
        stepped.run_turns(2)

    return stepped, work


@pytest.mark.slow
@pytest.mark.parametrize("heading, way", [("A pulled record", pull), ("A pushed record", push)])
def test_the_page_lists_what_a_record_passes(tmp_path, heading, way):
    stepped, work = way(tmp_path)
    made = calls(work)
    rows = listed(heading)
    assert stepped.events() and len(rows) > 10
    stepped.stop()
    before = rows[: rows.index(CYCLE)]
    assert missing(before, made) is None
    assert missing_of_cycle(rows[len(before) :], made) is None


def test_a_wrong_order_is_noticed():
    made = [CYCLE, ("a.py", "f"), ("a.py", "g"), CYCLE, ("a.py", "g")]
    assert missing([("a.py", "f"), ("a.py", "g")], made) is None
    assert missing_of_cycle([CYCLE, ("a.py", "g"), ("a.py", "f")], made) == ("a.py", "f")
