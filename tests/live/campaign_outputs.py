"""An output that is away for an hour, then answers slowly, half, wrongly, or lies, while vendors are
pulled and a webhook and syslog go on. At the end the store must equal the truth.

The process `siemtap run` and the vendors' simulators have a clock that runs fast (fast_clock.py);
between siemtap and the store is a proxy (rude_proxy.py). The stores are those of the campaign of
kills, which fail beside it: rollovers, a node that is killed, a HEC that is restarted. `queued`: two
outputs by the queue, of which one is behind the proxy; the other must not wait for it.

usage: ci/campaign outputs [--output NAME] [--seed 1]
[--away 60] [--rude 120] (minutes of that clock) [--speed 30]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import campaign_stores
from fast_clock import FastClock, free_port, resident, wait_for_port
from rude_proxy import RudeProxy

from siemtap.testing import simulation

STORES = {
    **{
        name: campaign_stores.STORES[name]
        for name in ("elasticsearch", "opensearch", "splunk_hec", "splunk_hec_ack")
    },
    "queued": campaign_stores.Queued,
}
MINUTE = 60_000  # milliseconds
LOOKBACK = 30 * MINUTE
SECRET = "campaign-0123456789"
WARM, DRAIN = 5, 45  # minutes before, and after
BEHIND = 10 * MINUTE  # an output that is not away has what is older
CHANGES = 0.4  # how likely the store itself fails in a minute of rude answers
ABS_LATE = 42 * MINUTE  # until an attack of ABS is read: lag, interval, and a little
TIMEOUT = 2.0  # seconds of the real clock, of one request to the output
PATIENCE = 300.0  # of the real clock: an output with many small requests goes on for long
AWAY = ("closed", "silent", "reset")
# Time-outs are long, because those of sockets run by the real clock.
CONFIG = """
path.data: {folder}/data
http.enabled: false
logging: {{level: warning}}
outputs: {outputs}
inputs:
  - {{type: apptrana, output: {names}, url: "{apptrana}", client_id: demo, client_secret: demo-secret, interval: 1m, lag: 10s, overlap: 225s, lookback: 30m, timeout: 5m}}
  - {{type: pingintelligence, output: {names}, url: "{abs}", access_key: demo-access, secret_key: demo-secret, interval: 10m, lag: 30m, lookback: 1h, timeout: 5m}}
  - {{type: centurylink_ips, output: {names}, listen: "127.0.0.1:{port}", plain_http: true, secret: {secret}, syslog: "tcp://127.0.0.1:{syslog}"}}
"""


class Result(NamedTuple):
    """What a campaign found. `stored`: in the output, of two the fewest. `behind`: events that the
    output which is not away did not have, while the other was. `twice`: events stored twice;
    `unexplained`: those of them whose every delivery had been acknowledged. `rejected`: reason ->
    number."""

    stored: int
    must: int
    pushed: int
    behind: int
    lost: int
    twice: int
    unexplained: int
    unknown: int
    rejected: dict
    proxy: dict
    rss: int  # MiB, the most
    log: str


class Campaign:
    """The processes, the store, the proxy, and the sender of what is pushed."""

    def __init__(self, folder, output, seed, speed, rate):
        self.luck = random.Random(f"{seed}/{output}")
        self.clock = FastClock(speed)
        self.folder = folder
        self.rss = 0
        self.vendors = {
            "apptrana": self.clock.simulate("apptrana", rate=rate, late=[0, 8, 83], seed=seed),
            "abs": self.clock.simulate("pingintelligence", rate=0.05),
        }
        self.store, self.changes, self.behind = STORES[output](folder), 0, 0
        outputs = self.store.sections()
        away = next(section for section in outputs.values() if "hosts" in section)
        self.proxy = RudeProxy(away["hosts"][0], f"{seed}/{output}", now=self.clock.time)
        away.update(hosts=[self.proxy.url], timeout=f"{TIMEOUT * speed:.0f}s")
        self.outputs = list(outputs)
        ports = {"port": free_port(), "syslog": free_port()}
        self.config = folder / "siemtap.yml"
        urls = {name: settings["url"] for name, (_, settings) in self.vendors.items()}
        sections = {"outputs": json.dumps(outputs), "names": json.dumps(self.outputs)}
        text = CONFIG.format(folder=folder, secret=SECRET, **urls, **ports, **sections)
        self.config.write_text(text)
        self.config.chmod(0o600)
        if self.store.needs_setup:
            self.run("setup")
        self.log = open(folder / "siemtap.log", "wb")
        self.shipper = self.clock.start("run", "-c", str(self.config), stderr=self.log)
        self.ips = simulation.simulator("centurylink_ips", {"rate": 0.3, "seed": seed})
        self.sender = simulation.Sender(
            [
                f"http://127.0.0.1:{ports['port']}/centurylink_ips/{SECRET}",
                f"tcp://127.0.0.1:{ports['syslog']}",
            ]
        )
        self.sent = set()
        wait_for_port(ports["syslog"])
        self.pushed_until = self.began = self.clock.millis()

    def run(self, *arguments):
        process = self.clock.start(*arguments, "-c", str(self.config), stdout=subprocess.DEVNULL)
        assert process.wait(120) == 0, f"{arguments[0]} failed"

    def go_on(self, minutes, change=0.0):
        """Let time pass while the vendor pushes. change: how likely the store changes in a
        minute."""
        end = self.clock.millis() + int(minutes * MINUTE)
        while self.clock.millis() < end:
            assert self.shipper.poll() is None, "siemtap has ended"
            self.push()
            if self.luck.random() < change:
                self.change()
            self.rss = max(self.rss, resident(self.shipper.pid) // 1024)
            self.clock.sleep(60)

    def change(self):
        """Let the store itself fail."""
        if self.store.forgets(self.changes):
            self.proxy.spoil_unacknowledged()
        self.store.fail_at_random(self.changes)
        self.changes += 1

    def push(self):
        now = self.clock.millis()
        for message in self.ips.pushed(self.pushed_until, now):
            self.sent.update(message.ids)
            self.sender.send(message)
        self.pushed_until = now

    def be_away(self, minutes):
        ways = self.luck.sample(AWAY, len(AWAY))
        for way in ways:
            if way == "closed":
                self.proxy.close()
                self.proxy.spoil_unacknowledged()
                self.go_on(minutes / len(ways))
                self.proxy = self.proxy.opened()
            else:
                self.proxy.mode = way
                self.go_on(minutes / len(ways))
        before = self.ledger("apptrana", self.first(), self.clock.millis() - BEHIND)
        self.behind = sum(len(before - set(ids)) for ids in self.store.ids()[1:])

    def first(self):
        """Return from when on AppTrana's events must be there."""
        return self.began - LOOKBACK + 2 * MINUTE

    def ledger(self, vendor, start, stop=0):
        url = f"{self.vendors[vendor][1]['url']}/_simulator/ledger?start={start}"
        with urllib.request.urlopen(f"{url}&stop={stop}" if stop else url, timeout=300) as answer:
            return set(json.load(answer))

    def must(self, stop):
        """Return the ids that must be there: what happened until `stop`, and what was accepted."""
        return {
            *self.ledger("apptrana", self.first(), stop),
            *self.ledger("abs", self.began - LOOKBACK, self.drained - ABS_LATE),
            *self.sender.taken,
        }

    def may(self):
        early = self.began - 8 * LOOKBACK
        return {*self.ledger("apptrana", early), *self.ledger("abs", early), *self.sent}

    def rejected(self, output):
        """Return id -> reason."""
        query = "SELECT id, reason FROM rejected WHERE output IN ('', ?)"
        with contextlib.closing(sqlite3.connect(self.folder / "data/siemtap.db")) as db:
            return dict(db.execute(query, [output]))

    def missing(self, must):
        """Return how many events are neither stored nor rejected."""
        each = zip(self.outputs, self.store.ids())
        return sum(len(must - set(ids) - set(self.rejected(name))) for name, ids in each)

    def drain(self, stop, minutes):
        """Wait until everything is there, at most as long as a reader may lag."""
        self.proxy.mode = "honest"
        self.go_on(minutes)
        self.drained = min(self.clock.millis(), stop + ABS_LATE)
        must, end = self.must(stop), time.monotonic() + PATIENCE
        while time.monotonic() < end and self.missing(must):
            self.clock.sleep(60)

    def result(self, stop):
        self.proxy.spoil_unacknowledged()  # whose acknowledgement nobody waits for any more
        self.shipper.send_signal(signal.SIGTERM)
        code = self.shipper.wait(120)
        assert code == 0, f"siemtap ended with {code}"
        stores, may, must = self.store.ids(), self.may(), self.must(stop)
        spoiled = self.proxy.spoiled
        twice = [(id, number) for ids in stores for id, number in ids.items() if number > 1]
        reasons = collections.Counter(
            re.sub("[0-9]+ bytes", "so many bytes", reason)
            for name in self.outputs
            for reason in self.rejected(name).values()
        )
        return Result(
            stored=min(map(len, stores)),
            must=len(must),
            pushed=len(self.sender.taken),
            behind=self.behind,
            lost=self.missing(must),
            twice=len(twice),
            unexplained=sum(number > 1 + spoiled[id] for id, number in twice),
            unknown=sum(len(set(ids) - may) for ids in stores),
            rejected=dict(reasons),
            proxy=dict(self.proxy.counts),
            rss=self.rss,
            log=(self.folder / "siemtap.log").read_text(),
        )

    def close(self):
        self.sender.close()
        for process in [self.shipper, *(process for process, _ in self.vendors.values())]:
            process.kill()
            process.wait()
        for process, _ in self.vendors.values():
            process.stdout.close()
        self.log.close()
        self.proxy.close()
        self.store.close()


def campaign(output, seed=1, away=60, rude=120, speed=30, drain=DRAIN, rate=10.0):
    """Return the Result of a campaign. away, rude, drain: minutes of the fast clock."""
    with tempfile.TemporaryDirectory(prefix="siemtap-campaign-") as name:
        each = Campaign(Path(name), output, seed, speed, rate)
        try:
            each.go_on(WARM)
            each.be_away(away)
            each.proxy.mode = "rude"
            each.go_on(rude, change=CHANGES)
            stop = each.clock.millis()
            each.drain(stop, drain)
            return each.result(stop)
        finally:
            each.close()


def is_good(result, output):
    """Return whether nothing is lost, unknown or twice without a reason, and no defect is logged.
    Only HEC, which has no ids, may have an event twice."""
    twice = result.unexplained if STORES[output].why_twice else result.twice
    wrong = result.lost or result.behind or result.unknown or twice
    return not (wrong or "Traceback" in result.log)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", choices=STORES, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--away", type=float, default=60)
    parser.add_argument("--rude", type=float, default=120)
    parser.add_argument("--speed", type=float, default=30)
    options = parser.parse_args()
    good = True
    for output in options.output or STORES:
        began = time.monotonic()
        result = campaign(output, options.seed, options.away, options.rude, options.speed)
        print(
            f"{output}: {options.away:g} min away, {options.rude:g} min rude, in"
            f" {time.monotonic() - began:.0f} s at {options.speed:g} times the speed: {result.must}"
            f" events must be there, {result.pushed} of them pushed; {result.stored} stored,"
            f" {result.behind} behind, {result.lost} lost, {result.twice} twice ({result.unexplained} of them without an"
            f" answer that went wrong), {result.unknown} unknown; at most {result.rss} MiB"
        )
        print(f"  the proxy: {json.dumps(result.proxy, sort_keys=True)}")
        for reason, number in sorted(result.rejected.items()):
            print(f"  rejected: {number}: {reason}")
        good = good and is_good(result, output)
        if not is_good(result, output):
            print(result.log[-5000:])
    sys.exit(not good)


if __name__ == "__main__":
    main()
