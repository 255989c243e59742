"""`processes: 2` against one process: `ci/bench processes`. Vendor and bulk server are processes of
their own, on the same cores: so beside the wall clock, the CPU time of each process is measured. The
busiest one bounds what a machine with a core for each would do."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from bench_receive import Receiver, percentile, sender
from campaign import simulator, start
from null_bulk import null_bulk

ROUNDS = 3
INPUTS = 4
LOOKBACK = "2h"
RATE = 200.0  # events a minute of the vendor, for each input
SECONDS = 60

INPUT = """  - {{type: apptrana, id: v{number}, url: "{url}", client_id: demo, client_secret: demo-secret, lookback: {lookback}}}
"""


def cpu_seconds(pid):
    """Return the CPU seconds of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def cpu_until_end(processes):
    """Wait for the end of processes; return the CPU seconds of each of them and of their
    children."""
    cpu = {}
    while any([process.poll() is None for process in processes]):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                top = psutil.Process(process.pid)
                cpu.update({each.pid: cpu_seconds(each.pid) for each in [top, *top.children()]})
        time.sleep(0.1)
    return sorted(cpu.values(), reverse=True)


def accepted(log):
    """Return how many events were accepted, by the last line of a run with --once."""
    (line,) = [line for line in log.splitlines() if "events accepted" in line]
    return int(line.split(" events accepted")[0].split()[-1].replace(",", ""))


def collected(url, bulk_url, processes, lookback=LOOKBACK):
    """Return (events, seconds, CPU seconds of each process) of a run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "siemtap.yml")
        path.write_text(
            f"path.data: {folder}/data\nprocesses: {processes}\nlogging.level: info\n"
            f'output.elasticsearch: {{hosts: ["{bulk_url}"]}}\ninputs:\n'
            + "".join(
                INPUT.format(number=number, url=url, lookback=lookback) for number in range(INPUTS)
            )
        )
        path.chmod(0o600)
        began = time.perf_counter()
        process = start("run", "--once", "-c", str(path), stderr=subprocess.PIPE, text=True)
        cpu = cpu_until_end([process])
        seconds = time.perf_counter() - began
        log = process.communicate()[1]
        assert process.returncode == 0, log
        return accepted(log), seconds, cpu


def throughput(rounds):
    vendor, url = simulator(rate=RATE, odd=False, websites=["shop.example.com"])
    rows = {1: [], 2: []}
    try:
        with null_bulk() as bulk:
            # the CPU of starting and ending, of the busiest process
            idle = {each: collected(url, bulk.url, each, "1m")[2][0] for each in rows}
            shown = " and ".join(f"{each:.1f}" for each in idle.values())
            print(f"starting and ending takes {shown} s of CPU, which is not counted", flush=True)
            for number in range(rounds):
                for processes in rows:
                    events, seconds, cpu = collected(url, bulk.url, processes)
                    work = cpu[0] - idle[processes]
                    rows[processes].append((events / seconds, events / work))
                    shown = ", ".join(f"{each:.1f}" for each in cpu)
                    print(
                        f"round {number + 1}, processes: {processes}: {events:,} events in"
                        f" {seconds:.1f} s; CPU of each process {shown} s",
                        flush=True,
                    )
    finally:
        vendor.kill()
        vendor.communicate()
    best = {
        processes: [max(row[index] for row in rows[processes]) for index in range(2)]
        for processes in rows
    }
    for index, measure in enumerate(("by the wall clock", "by the CPU of the busiest process")):
        print(
            f"{measure}: {best[1][index]:,.0f} and {best[2][index]:,.0f} events/s, 2 processes to 1:"
            f" {best[2][index] / best[1][index]:.2f} (at least 1.7 where two cores are free)"
        )


def webhook(processes, seconds=SECONDS, rate=2_000):
    """Send to a webhook while its events are delivered to a bulk server that stores nothing."""
    with tempfile.TemporaryDirectory() as folder, null_bulk() as bulk:
        output = f'processes: {processes}\noutput.elasticsearch: {{hosts: ["{bulk.url}"]}}'
        receiver = Receiver(folder, output=output)
        result = json.loads(sender(receiver.webhook, rate, seconds).communicate()[0])
        receiver.end()
        times = result["times"]
        print(
            f"webhook, {rate:,} requests/s for {seconds} s while the output delivers, processes:"
            f" {processes}: {len(result['taken']):,} of {result['sent']:,} taken; from when it was"
            f" due p50 {percentile(times, 0.5):.1f} ms, p99 {percentile(times, 0.99):.1f} ms (at"
            " most 20)",
            flush=True,
        )


def run(rounds=ROUNDS, seconds=SECONDS):
    for _ in range(rounds):
        for processes in (1, 2):
            webhook(processes, seconds)
    throughput(rounds)
