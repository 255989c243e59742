"""A receiver's configuration, its addresses and the stored events."""

import collections
import json
import sqlite3

from centurylink_ips.simulator import Knobs, Simulator

SECRET = "a-secret-of-sixteen-and-more"


def write(tmp_path, output="", more="", **settings):
    path = tmp_path / "siemtap.yml"
    all_settings = {
        "listen": "127.0.0.1:0",
        "secret": SECRET,
        "syslog": ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"],
        **settings,
    }
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\n{output}\n{more}\ninputs:\n  - type:"
        " centurylink_ips\n"
        + "".join(f"    {name}: {json.dumps(value)}\n" for name, value in all_settings.items())
    )
    return path


def addresses(process):
    """Return (webhook, UDP, TCP, status page)."""
    match = process.until(r"listening at (\S+), (\S+), (\S+)\n")
    return (
        match[1].replace("<secret>", SECRET),
        match[2],
        match[3],
        process.until(r"status page at (\S+)")[1],
    )


def ids_in_files(tmp_path):
    """Return how often each id is in the files."""
    lines = [
        line
        for file in sorted((tmp_path / "out").glob("*.ndjson*"))
        for line in file.read_bytes().splitlines()
    ]
    return collections.Counter(json.loads(line)["event"]["id"] for line in lines)


def ids_in_database(tmp_path):
    """Return the ids in the database."""
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        return {id for (id,) in db.execute("SELECT id FROM event")}


def pushed_events(number, **knobs):
    """Return what the vendor sends in so many seconds."""
    start = 1_772_618_400_000
    return list(Simulator(Knobs(rate=1.0, **knobs)).pushed(start, start + number * 1000))
