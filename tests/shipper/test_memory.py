"""What glibc's malloc keeps free goes back to the system."""

import subprocess
import sys

import pytest

PROGRAM = """
import threading, time
from pathlib import Path
from siemtap.shipper import memory

memory.TRIM_EVERY = 0.2

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1024 / 1024

stopping = threading.Event()
blocks = [bytes(3_000) for _ in range(50_000)]
if TUNED:
    memory.tune_malloc(stopping)
kept = blocks[::50]  # small blocks that keep the end of the arena in use
full = resident()
del blocks
end = time.monotonic() + 10
while resident() > full - 100 and TUNED and time.monotonic() < end:
    time.sleep(0.05)
print(full - resident())
stopping.set()
for thread in threading.enumerate():
    if thread.name == "memory":
        thread.join(10)
        assert not thread.is_alive()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
@pytest.mark.parametrize("is_tuned", [True, False])
def test_holes_between_blocks_in_use_are_returned(is_tuned):
    program = f"TUNED = {is_tuned}\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    returned = float(done.stdout)
    assert returned > 100 if is_tuned else returned < 20
