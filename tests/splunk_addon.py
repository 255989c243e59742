"""Run a built add-on: input, events, log."""

import collections
import json
import subprocess
from xml.sax.saxutils import escape

from splunk_breaker import break_events, parse_props
from splunkd_stand_in import KEY

from siemtap.splunk.runtime.names import account_settings, addon


def start(home, python, plugin, arguments=(), stdin=""):
    app = addon(plugin)
    process = subprocess.Popen(
        [python, "-B", str(home / f"etc/apps/{app.name}/bin/{app.kind}.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"SPLUNK_HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd="/",
    )
    process.stdin.write(stdin.encode())
    process.stdin.close()
    process.stdin = None
    return process


def stdin_of(splunk, home, plugin, stanza, **settings):
    params = "".join(
        f'<param name="{name}">{escape(str(value))}</param>'
        for name, value in {"interval": "60", "account": "main", **settings}.items()
    )
    return (
        '<?xml version="1.0"'
        f' encoding="UTF-8"?><input><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>{home}</checkpoint_dir><configuration><stanza'
        f' name="{plugin.name}://{stanza}"'
        f' app="{addon(plugin).name}">{params}</stanza></configuration></input>'
    )


def log(home, plugin):
    path = home / f"var/log/splunk/{addon(plugin).root}_{plugin.name}.log"
    return path.read_text() if path.exists() else ""


def indexed_of(out, home, plugin):
    """Return the events that splunkd makes of a stream with the add-on's props.conf."""
    indexed_events = break_events(
        out, parse_props((home / f"etc/apps/{addon(plugin).name}/default/props.conf").read_text())
    )
    assert all(isinstance(json.loads(indexed.raw), dict) for indexed in indexed_events)
    return indexed_events


def ids(indexed_events):
    """Return how often each event id was indexed."""
    return collections.Counter(
        event.get("event.id") or event["event"]["id"]
        for event in (json.loads(indexed.raw) for indexed in indexed_events)
    )


def account_of(plugin, vendor):
    """Return the fields of the account page with a simulated vendor's values."""
    own = {s["name"] for s in account_settings(plugin)}
    settings = {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in vendor.simulated.settings(vendor.url).items()
    }
    return {name: value for name, value in settings.items() if name in own}
