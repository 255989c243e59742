"""What the benchmarks share: measuring works in turn, printing their costs, one run of the shipper."""

from __future__ import annotations

import json
import tempfile
import time

from siemtap.shipper.config.load import parse
from siemtap.shipper.process import Shipper


def best(works, pages, rounds=5):
    """Return name -> seconds of CPU of the fastest round.

    `works`: name -> (function that prepares the input from a page, function to measure). The input
    is prepared before each measurement, as in production. All works take turns at every page, so
    that a slow moment of the machine affects all of them.
    """
    fastest = {name: float("inf") for name in works}
    for _ in range(rounds):
        spent = dict.fromkeys(works, 0.0)
        for page in pages:
            for name, (prepare, work) in works.items():
                values = prepare(page)
                started = time.process_time()
                for value in values:
                    # The result is dropped: memory in use would slow down the work measured next.
                    work(value)
                spent[name] += time.process_time() - started
        fastest = {name: min(fastest[name], spent[name]) for name in works}
    return fastest


def print_costs(micros, shares, source, results):
    """Print the share of each step, and the cost as a multiple of orjson's.

    `micros`: name -> microseconds an event, among them `whole`, `loads` and `dumps`. `shares`: the
    steps, as (name, microseconds).
    """
    total = sum(share for _, share in shares)
    for name, share in shares:
        print(f"  {name:17s} {share:6.2f} µs  {100 * share / total:5.1f} %")
    print(
        f"  all in one        {micros['whole']:6.2f} µs  = {1e6 / micros['whole']:,.0f} events/s"
        " per core"
    )
    orjson = micros["loads"] + micros["dumps"]
    print(f"  orjson.loads of the {source} + orjson.dumps of the {results}: {orjson:.2f} µs")
    print(f"cost: {micros['whole'] / orjson:.2f} x (at most 4, aim 2)")


def run_once(clock, settings, **sections):
    """Run the shipper once with one input; return (events, seconds by `clock`)."""
    with tempfile.TemporaryDirectory() as folder:
        config = parse(json.dumps({"path": {"data": folder}, "inputs": [settings], **sections}))
        shipper = Shipper(config, once=True)
        started = clock()
        assert shipper.run(), [
            state.error for running in shipper.inputs.values() for state in running.states()
        ]
        return shipper.counts.totals["accepted"], clock() - started
