"""The files of docs/sc4s.md in a real syslog-ng: it passes Deep Security's and ABS's lines on, and
nothing else, and the events are those of the lines as their sender wrote them."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from cache import CACHE
from processes import wait_for

from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Payload
from siemtap.core.settings import CommonSettings
from siemtap.engine.mapper import batch_mapper
from siemtap.render import registry

ROOT = Path(__file__).parents[2]
SYSLOG_NG = CACHE / "syslog-ng"  # ci/tools unpacks Debian's package there
pytestmark = pytest.mark.skipif(
    not ((SYSLOG_NG / "ready").exists() or os.environ.get("CI")), reason="no syslog-ng: ci/tools"
)
NOW = 1_772_618_540_000
# What SC4S 3.45 has for such files: the macro for the fields of an event, the topics, and for CEF the
# vendor and the product of its header. The source reads RFC 5424 first, then RFC 3164.
CONFIGURATION = """@version: 3.35
options {{ keep-hostname(yes); chain-hostnames(no); }};
block rewrite r_set_splunk_dest_default(index("main") source("") sourcetype("") vendor("") product("")) {{
    set("`index`", value(".splunk.index"));
    set("`source`", value(".splunk.source"));
    set("`sourcetype`", value(".splunk.sourcetype"));
    set("`vendor`", value("fields.sc4s_vendor"));
    set("`product`", value("fields.sc4s_product"));
}};
{files}
parser app-group-sc4s-syslog-pgm {{ app-parser(topic(sc4s-syslog-pgm)); }};
parser app-group-selected {{ app-parser(topic(sc4s-lp-dest-select-d_syslog_siemtap)); }};
parser cef {{
    csv-parser(
        delimiters(chars('') strings('|')) flags(greedy) prefix('.metadata.cef.')
        columns('version', 'device_vendor', 'device_product', 'rest') template('$MSGHDR$MSG')
    );
}};
source s_in {{ network(ip("127.0.0.1") port({port}) flags(no-parse) log-msg-size(1048576)); }};
destination d_syslog_siemtap {{ syslog("127.0.0.1" port({target}) transport("tcp")); }};
destination d_all {{ file("{all}" template("$MSGHDR$MSG\\n")); }};
log {{
    source(s_in);
    if {{
        parser {{ syslog-parser(drop-invalid(yes) flags(syslog-protocol, assume-utf8, no-rfc3164-fallback)); }};
    }} else {{
        parser {{ syslog-parser(flags(assume-utf8)); }};
    }};
    if (match('CEF:' template('$MSGHDR$MSG'))) {{
        parser(cef);
        rewrite {{
            set("${{.metadata.cef.device_vendor}}" value("fields.sc4s_vendor"));
            set("${{.metadata.cef.device_product}}" value("fields.sc4s_product"));
        }};
    }} elif {{
        parser(app-group-sc4s-syslog-pgm);
    }} else {{}};
    destination(d_all);
    if {{
        parser(app-group-selected);
        destination(d_syslog_siemtap);
    }} else {{}};
}};
"""
LINES = {
    "centurylink_ips": ROOT / "plugins/centurylink_ips/cases/cef_by_syslog/payload.txt",
    "pingintelligence": ROOT / "plugins/pingintelligence/cases/syslog_rfc_5424/payload.log",
}
OTHERS = [
    "<134>1 2026-03-04T10:02:13Z abs01 other 1 - - pi-attack-info-{}",
    "<134>Mar  4 10:02:13 fw01 CEF:0|Other|Deep Security Agent|1|2|x|3|src=192.0.2.1",
    "<134>Mar  4 10:02:13 fw01 CEF:0|Trend Micro|Other Product|1|2|x|3|src=192.0.2.1",
    "<134>Mar  4 10:02:13 fw01 kernel: APIIntelligence pi-attack-info-{}",
]


def files():
    """Return the files of the page, as one."""
    blocks = re.findall(r'```c title="[^"]+"\n(.*?)```', (ROOT / "docs/sc4s.md").read_text(), re.S)
    assert len(blocks) == 2
    return "\n".join(blocks)


def relayed(lines, folder):
    """Return what syslog-ng passes on to the shipper of lines, each without its frame."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target = socket.create_server(("127.0.0.1", 0))
    target.settimeout(60)
    configuration = folder / "syslog-ng.conf"
    configuration.write_text(
        CONFIGURATION.format(
            files=files(), port=port, target=target.getsockname()[1], all=folder / "all.log"
        )
    )
    names = ("persist-file", "pidfile", "control")
    places = [f"--{name}={folder / name}" for name in names]
    libraries = {str(path.parent) for path in SYSLOG_NG.rglob("*.so*")}
    (modules,) = (path.parent for path in SYSLOG_NG.rglob("libsyslogformat.so"))
    command = [SYSLOG_NG / "usr/sbin/syslog-ng", "-F", "--no-caps", "-f", configuration, *places]
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*command, f"--module-path={modules}"],
            stderr=stderr,
            env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))},
        )
    try:
        wait_for(lambda: is_open(port))
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall("".join(f"{line}\n" for line in lines).encode())
        all_lines = folder / "all.log"
        wait_for(lambda: all_lines.exists() and all_lines.read_text().count("\n") >= len(lines))
    finally:
        process.terminate()  # it sends what it holds
        process.wait(60)
    peer, _ = target.accept()
    received = b""
    with peer, target:
        peer.settimeout(60)
        while part := peer.recv(65536):
            received += part
    return unframed(received)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def unframed(stream):
    """Return the messages of a stream with octet counts (RFC 6587)."""
    messages = []
    while stream:
        count, _, stream = stream.partition(b" ")
        messages.append(stream[: int(count)].decode())
        stream = stream[int(count) :]
    return messages


def events(plugin, line):
    """Return the events that the shipper makes of a line by TCP."""
    settings = fill_in(plugin.settings, {})
    map_batch = batch_mapper(plugin, settings, fill_in(CommonSettings, {}), {}, lambda: "")
    payload = Payload(body=line.encode(), received=NOW, channel="tcp", path="", peer="192.0.2.20")
    return [
        event
        for records in plugin.receive(settings, payload)
        for event in map_batch(Batch(records.dataset, records.records, {}, NOW))
    ]


def test_the_lines_arrive_with_the_ids_of_their_sender(tmp_path):
    lines = {name: path.read_text().strip().splitlines()[0] for name, path in LINES.items()}
    passed_on = relayed([*OTHERS, *lines.values()], tmp_path)
    assert len(passed_on) == len(lines), (passed_on, (tmp_path / "stderr").read_text())
    for (name, line), relayed_line in zip(lines.items(), passed_on):
        plugin = registry.plugin(name)
        (event,), (relayed_event,) = events(plugin, line), events(plugin, relayed_line)
        assert event["event"]["kind"] in ("alert", "event")
        assert relayed_event["event"]["id"] == event["event"]["id"]
        assert relayed_event["@timestamp"] == event["@timestamp"]
