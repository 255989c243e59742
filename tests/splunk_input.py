"""The modular input as a process, with a simulator of splunkd."""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from processes import HANG
from splunk_breaker import break_events
from splunkd_stand_in import KEY

from siemtap.render import registry
from siemtap.splunk.build.knowledge import props
from siemtap.splunk.runtime import splunkd
from siemtap.splunk.runtime.names import App
from siemtap.splunk.runtime.stored.checkpoints import KvCheckpoints

ROOT = Path(__file__).parents[1]
START = ROOT / "tests/splunk/start.py"
PROPS = {
    stanza: settings
    for plugin in registry.installed().values()
    for stanza, settings in props(plugin).items()
}


def connect(splunk, key=KEY):
    """Return a client of the simulated splunkd, as the test add-on has it."""
    return splunkd.Splunkd(
        App("TA-test", "ta_test", "apptrana"), splunk.url, key, sleep=lambda seconds: None
    )


def checkpoints(splunk):
    """Return the checkpoints of the input `first` in the KV store."""
    return KvCheckpoints(connect(splunk), "apptrana://first")


def save_account(splunk, vendor):
    """Save the simulated AppTrana's account as `main`."""
    settings = vendor.simulated.settings(vendor.url)
    splunk.account(
        "main",
        {"client_secret": settings["client_secret"]},
        url=settings["url"],
        client_id=settings["client_id"],
    )


def start(splunk, home, kind="apptrana", arguments=(), stdin=None, **settings):
    params = "".join(
        f'<param name="{name}">{escape(str(value))}</param>'
        for name, value in {"interval": "60", "account": "main", **settings}.items()
    )
    if stdin is None:
        stdin = (
            '<?xml version="1.0"'
            f' encoding="UTF-8"?><input><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>{home}</checkpoint_dir><configuration><stanza'
            f' name="{kind}://first" app="TA-test">{params}</stanza></configuration></input>'
        )
    (home / "var/log/splunk").mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(START), kind, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "SPLUNK_HOME": str(home)},
    )
    process.stdin.write(stdin.encode())
    process.stdin.close()
    process.stdin = None
    return process


def run(*arguments, **more):
    """Run the input, and return (exit status, standard output, standard error)."""
    process = start(*arguments, **more)
    out, err = process.communicate(timeout=HANG)
    return process.returncode, out, err.decode()


def events(out):
    """Return (indexed event, its fields) of each event that splunkd makes of a stream."""
    return [(indexed, json.loads(indexed.raw)) for indexed in break_events(out, PROPS)]


def ids(*outs):
    return collections.Counter(
        event.get("event.id") or event["event"]["id"] for out in outs for _, event in events(out)
    )


def log(home, kind="apptrana"):
    return (home / f"var/log/splunk/ta_test_{kind}.log").read_text()
