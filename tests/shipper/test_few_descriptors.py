"""A process with few descriptors: peers that say nothing stop neither webhook, page nor store."""

import contextlib
import re
import subprocess
import sys

import pytest
from edge.raw_requests import SECRET
from edge.test_limits import ask_health, connections
from processes import ENVIRONMENT, wait_for


@pytest.mark.slow
def test_silent_peers_do_not_stop_a_process_with_few_descriptors(tmp_path):
    """400 silent connections, 256 descriptors: the webhook, the page and the store go on."""
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\ninputs:\n  - {{type: centurylink_ips, listen:"
        f" '127.0.0.1:0', secret: {SECRET}, syslog: ['tcp://127.0.0.1:0']}}\n"
    )
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
        "from siemtap.shipper.cli.main import main; main(sys.argv[1:])"
    )
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", "-c", str(path)], env=ENVIRONMENT, stderr=log
    )
    text = (tmp_path / "log").read_text
    try:
        wait_for(lambda: "status page at" in text())
        port = int(re.search(r"tcp://127\.0\.0\.1:(\d+)", text())[1])
        page = int(re.search(r"status page at http://127\.0\.0\.1:(\d+)", text())[1])
        with contextlib.ExitStack() as stack:
            connections(stack, port, 400)
            wait_for(lambda: b"503" in ask_health(stack, page))
            assert b"are refused" in ask_health(stack, page)
        assert len(text()) < 5_000 and "Traceback" not in text()
    finally:
        process.terminate()
        assert process.wait(60) == 0
        log.close()
