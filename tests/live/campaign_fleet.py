"""A fleet under random failures: workers are killed (-9), paused past the session timeout and
resumed, added and stopped, while they read many units. What a read_committed reader sees must equal
what the vendors know, each event once.

usage: python tests/live/campaign_fleet.py [--units 300] [--lookback 30] [--minutes 3]
[--workers 3] [--seed 1]. lookback: minutes of simulated time. minutes: how long workers fail.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import signal
import sys
import time

from kafka_broker import Broker
from kafka_fleet import Vendors, World

SESSION = 6  # seconds; the least that brokers allow
PARTITIONS = 12


class Chaos:
    """Random failures of workers. `pending`: (when, what is done then)."""

    def __init__(self, world, workers, rng):
        self.world, self.rng = world, rng
        self.counts = collections.Counter()
        self.pending = []
        self.names = [f"w{number}" for number in range(workers)]
        self.most = workers + 2
        for name in self.names:
            world.add(name)

    def later(self, seconds, action):
        self.pending.append((time.monotonic() + seconds, action))

    def settle(self, everything=False):
        """Do what is due."""
        due = [each for each in self.pending if everything or each[0] <= time.monotonic()]
        self.pending = [each for each in self.pending if each not in due]
        for _, action in due:
            action()

    def running(self):
        """Return the workers that run and are not paused."""
        return [
            worker
            for worker in self.world.workers.values()
            if worker.process.poll() is None and not worker.paused
        ]

    def fail(self):
        """Let one worker fail, or join, or leave."""
        running = self.running()
        kinds = ["kill", "kill", "pause", "pause", "add", "stop"]
        kind = self.rng.choice(kinds if len(running) > 1 else ["add"])
        worker = self.rng.choice(running) if running else None
        if kind == "kill":
            worker.kill()
            self.later(self.rng.uniform(0, 1.5 * SESSION), worker.start)
        elif kind == "pause":
            worker.pause()
            self.later(self.rng.uniform(0.5, 2.5) * SESSION, worker.resume)
        elif kind == "add":
            stopped = [w for w in self.world.workers.values() if w.process.poll() in (0, -15)]
            if len(self.world.workers) < self.most:
                self.world.add(f"w{len(self.world.workers)}")
            elif stopped:
                self.rng.choice(stopped).start()
            else:
                return
        elif len(running) > 2:
            worker.signal(signal.SIGTERM)
        else:
            return
        self.counts[kind] += 1

    def end(self):
        """Resume and start whatever is paused or killed."""
        self.settle(everything=True)


def campaign(units, lookback, minutes, workers, seed, rate=5.0):
    """Return the numbers of failures by kind, and those of `World.compare`."""
    rng = random.Random(seed)
    vendors = Vendors(units, rate=rate, late=[0, 3, 8])
    with Broker() as broker:
        world = World(
            broker,
            vendors,
            partitions=PARTITIONS,
            lookback=lookback * 60,
            session=f"{SESSION}s",
            # so that the backfill lasts about as long as the failures
            window=f"{max(20, min(300, round(lookback / minutes * 10)))}s",
            interval="10s",
        )
        try:
            world.set_up()
            chaos = Chaos(world, workers, rng)
            end = time.monotonic() + minutes * 60
            while time.monotonic() < end:
                time.sleep(rng.uniform(2, 12))
                chaos.settle()
                chaos.fail()
            chaos.end()
            until = world.wait_until_read(int(time.time() * 1000), seconds=900)
            codes = [worker.end() for worker in chaos.running()]
            assert set(codes) <= {0}, codes
            result = dict(chaos.counts), world.compare(until)
            shutil.rmtree(world.folder)
            return result
        finally:
            world.close()
            vendors.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=300)
    parser.add_argument("--lookback", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    failures, (events, must, lost, twice, unknown) = campaign(
        options.units, options.lookback, options.minutes, options.workers, options.seed
    )
    print(
        f"fleet: {options.workers} workers, {options.units} units, {options.lookback} minutes of"
        f" simulated time in {time.monotonic() - began:.0f} s, {failures}: {events} events"
        f" committed, {must} must be there: {lost} lost, {twice} twice, {unknown} the vendors never"
        " had"
    )
    sys.exit(1 if lost or twice or unknown else 0)


if __name__ == "__main__":
    main()
