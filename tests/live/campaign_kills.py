"""Random `kill -9` of the real process, for each output, under every vendor: what an output has
must equal what the vendors know. `processes`: any process of `processes: 2` is killed, the
supervisor included, which is started again as systemd would.

usage: ci/campaign kills [--kills 1000] [--seed 1] [--output NAME]
--kills: in all, shared equally by the outputs
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

import campaign_processes
from campaign import Vendors, pause, random_of, row, run_once, start
from campaign_stores import STORES, configure

HEAD = ("output", "kills", "events", "had to be there", "acknowledged", "lost", "twice", "unknown")
OUTPUTS = (*STORES, "processes")


def campaign(kills, output, seed, show=print):
    """Kill a shipper with one kind of output; return the Result."""
    if output == "processes":
        return campaign_processes.campaign(kills, seed, show)
    rng = random_of(seed, output)
    with tempfile.TemporaryDirectory(prefix="siemtap-campaign-") as name:
        folder = Path(name)
        vendors = Vendors(seed, kills)
        store = None
        try:
            store = STORES[output](folder)
            config = configure(folder, vendors, store)
            vendors.pusher.start()
            for kill in range(kills):
                process = start("run", "-c", str(config))
                pause(rng, vendors.pusher, process)
                process.kill()
                process.wait()
                # whatever ended by itself was a defect, or a configuration that is wrong
                assert process.returncode == -signal.SIGKILL, process.returncode
                vendors.pusher.note_spooled(store.data)
                store.fail_at_random(kill)
                if kill % 20 == 19:
                    show(f"{output}: {kill + 1} kills")
            vendors.pusher.close()
            last = run_once(config)
            assert last.returncode == 0, (
                f"the last run ended with {last.returncode}:\n{last.stderr}"
            )
            return vendors.compare(store.data, store.ids())
        finally:
            if store:
                store.close()
            vendors.close()


def shares(kills, outputs):
    """Return output -> its number of kills."""
    share, rest = divmod(kills, len(outputs))
    return {output: share + (number < rest) for number, output in enumerate(outputs)}


def is_kept(output, result):
    """Return whether a result is what the output promises."""
    may_double = output in STORES and STORES[output].why_twice
    return not (result.lost or result.unknown or (result.twice and not may_double))


def main():
    parser = argparse.ArgumentParser(prog="ci/campaign kills", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="in all; shared by the outputs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", choices=OUTPUTS, action="append", help="only this; repeatable")
    options = parser.parse_args()
    began = time.monotonic()
    rows = []
    for output, kills in shares(options.kills, options.output or OUTPUTS).items():
        result = campaign(kills, output, options.seed)
        rows.append((output, kills, result))
        print(row(output, kills, *result), flush=True)
    print(f"\n{sum(kills for _, kills, _ in rows)} random kill -9, seed {options.seed}, in", end="")
    print(f" {time.monotonic() - began:.0f} s\n{row(*HEAD)}")
    for output, kills, result in rows:
        print(row(output, kills, *result))
    for output, _, result in rows:
        if result.twice and is_kept(output, result):
            print(f"{output}: {result.twice} twice, as it says: {STORES[output].why_twice}")
    broken = [output for output, _, result in rows if not is_kept(output, result)]
    if broken:
        sys.exit(f"not as promised: {', '.join(broken)}")


if __name__ == "__main__":
    main()
