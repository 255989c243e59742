"""The benchmark of many inputs in one process."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import psutil
from campaign import simulator as simulator_process
from campaign import start

from siemtap.core.convert import rfc3339


def run(number=10_000, interval=60):
    """Measure many inputs in one process, each with its own account: how many are served within
    their interval, memory, and CPU when idle."""
    vendor, url = simulator_process(rate=0.2, odd=False, websites=["shop.example.com"])
    try:
        with tempfile.TemporaryDirectory() as folder:
            for seconds, purpose in ((interval, "served"), (86_400, "idle")):
                path = Path(folder) / "siemtap.yml"
                rows = [
                    {
                        "type": "apptrana",
                        "id": f"c{n}",
                        "url": url,
                        "client_id": f"demo-{n}",
                        "client_secret": "demo-secret",
                        "lookback": "60s",
                        "overlap": "60s",
                        "interval": f"{seconds}s",
                    }
                    for n in range(number)
                ]
                path.write_text(
                    json.dumps(
                        {
                            "path": {"data": f"{folder}/{purpose}"},
                            "http": {"port": 0},
                            "workers": 8,
                            "inputs": rows,
                        }
                    )
                )
                many(path, seconds, purpose, number)
    finally:
        vendor.kill()
        vendor.communicate()


def many(path, interval, purpose, number):
    started = time.monotonic()
    process = start("run", "-c", str(path), stderr=subprocess.PIPE, text=True)
    shipper = psutil.Process(process.pid)
    try:
        address = next(
            line.rsplit(" ", 1)[1].strip() for line in process.stderr if "status page" in line
        )
        threading.Thread(target=process.stderr.read, daemon=True).start()
        ready = time.monotonic()

        def served(since):
            """Return (units with a success since then, all units)."""
            with urllib.request.urlopen(f"{address}stats", timeout=60) as answer:
                units = [unit for row in json.load(answer)["inputs"] for unit in row["units"]]
            return [
                unit
                for unit in units
                if unit["state"] == "ok" and (unit["last_success"] or "") >= since
            ], units

        if purpose == "served":
            # The first round is spread over one interval; after it each input runs once in each.
            time.sleep(2.2 * interval)
            since = rfc3339(int((time.time() - 1.05 * interval) * 1000))
            good, units = served(since)
            cpu = shipper.cpu_times()
            print(
                f"{number:,} inputs, interval {interval} s, configuration read in"
                f" {ready - started:.0f} s: {len(good):,} of {len(units):,} served within their"
                f" interval, {shipper.memory_info().rss / 2**20:.0f} MiB (at most 400),"
                f" {100 * (cpu.user + cpu.system) / (time.monotonic() - started):.0f} % of a core"
            )
            assert len(units) == number
        else:
            time.sleep(10)
            idle(shipper, number, interval)
    finally:
        process.terminate()
        process.wait(60)


def idle(shipper, number, interval):
    """Measure CPU while no input is due."""
    time.sleep(5)
    before = shipper.cpu_times()
    time.sleep(30)
    after = shipper.cpu_times()
    print(
        f"{number:,} inputs, interval {interval} s:"
        f" {100 * (after.user + after.system - before.user - before.system) / 30:.1f} % of a core"
    )
