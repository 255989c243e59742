"""Random `kill -9` of any process of `processes: 2`, the supervisor included, with two outputs; a
part of `ci/campaign kills`."""

from __future__ import annotations

import collections
import contextlib
import signal
import tempfile
import time
from pathlib import Path

import psutil
from campaign import Vendors, random_of, run_once, start
from campaign_stores import Two, configure

PROCESSES = 3  # of a supervisor: two workers and the receivers


def processes_of(supervisor, at_least=0):
    """Return the supervisor and its processes that run, once there are enough of them."""
    children = []
    deadline = time.monotonic() + 20
    with contextlib.suppress(psutil.NoSuchProcess):
        while len(children) < at_least and time.monotonic() < deadline:
            time.sleep(0.05)
            children = psutil.Process(supervisor.pid).children()
        children = psutil.Process(supervisor.pid).children()
    return [supervisor, *children]


def name_of(process, supervisor):
    if process is supervisor:
        return "supervisor"
    return "receivers" if "receivers" in process.cmdline()[-1] else "worker"


def campaign(kills, seed, show=print, killed=None):
    """Return the Result. `killed`: a Counter, which is told the kills by role."""
    rng = random_of(seed, "processes")
    killed = collections.Counter() if killed is None else killed
    with tempfile.TemporaryDirectory(prefix="siemtap-campaign-") as name:
        folder = Path(name)
        vendors = Vendors(seed, kills, apptrana=3, rate=15.0)
        store = Two(folder)
        config = configure(folder, vendors, store, processes=2)
        supervisor = start("run", "-c", str(config))
        try:
            vendors.pusher.start()
            while sum(killed.values()) < kills:
                if rng.random() < 0.5:  # else it may hit what has just been started
                    vendors.pusher.wait_for_answer(supervisor)
                time.sleep(rng.uniform(0.3, 3.0))
                if supervisor.poll() is not None:
                    assert supervisor.returncode == -signal.SIGKILL, supervisor.returncode
                    supervisor = start("run", "-c", str(config))
                    continue
                victim = rng.choice(processes_of(supervisor, PROCESSES))
                with contextlib.suppress(psutil.NoSuchProcess):
                    role = name_of(victim, supervisor)
                    victim.kill()
                    killed[role] += 1
                    if sum(killed.values()) % 20 == 0:
                        show(f"processes: {sum(killed.values())} kills")
            if supervisor.poll() is None and killed["supervisor"] < kills:
                supervisor.terminate()
                assert supervisor.wait(120) in (0, -signal.SIGTERM, -signal.SIGKILL)
            vendors.pusher.close()
            last = run_once(config)
            assert last.returncode == 0, (
                f"the last run ended with {last.returncode}:\n{last.stderr}"
            )
            show(f"processes: killed {dict(killed)}")
            return vendors.compare(store.data, store.ids())
        finally:
            for process in processes_of(supervisor):
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    process.kill()
            supervisor.wait()
            vendors.close()
