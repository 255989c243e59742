"""What AppInspect and slim say of the add-ons: nothing but the warnings that are explained here.

usage: packaging/inspected.py FOLDER-WITH-BOTH TARBALL…
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List

TAGS = ("cloud", "private_app", "future", "aarch64_compatibility")
EXPECTED = {
    "check_for_splunk_js": "telemetry of Splunk's own; UCC's pages use SplunkJS",
    "check_for_splunk_js_header_and_footer_view": "UCC's pages",
    "check_for_python_script_existence": "says how many Python files there are",
    "check_for_modular_inputs": "no action required",
    "check_collections_conf": "no action required: the checkpoints",
    "check_python_sdk_version": "2.1.1 is the newest that runs on Python 3.9",
    "check_for_possible_threading": (
        "subprocess in solnlib, which the input does not use; the watch over splunkd, and calls"
        " side by side"
    ),
    "check_hostnames_and_ips": "version numbers in comments of urllib3",
    "check_for_custom_mako_templates": "UCC 6.6.0's own page",
    "check_for_supported_tls": (
        "solnlib, splunklib: calls to splunkd on this machine; our own calls verify unless an admin"
        " says no"
    ),
    "check_ucc_dependencies": "no action required",
    "check_for_indexer_synced_configs": "props for the indexers",
}
# keys that are newer than slim
SLIM = ("supported_themes", "python.version", "python.required")


def main(words: List[str]) -> int:
    tools = Path(words[0])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return (
            1
            if any(list(pool.map(lambda tarball: looked_at(tools, Path(tarball)), words[1:])))
            else 0
        )


def looked_at(tools: Path, tarball: Path) -> int:
    """How much is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [
                tools / "splunk-appinspect",
                "inspect",
                tarball,
                "--mode",
                "precert",
                *(word for tag in TAGS for word in ("--included-tags", tag)),
                "--data-format",
                "json",
                "--output-file",
                report,
                "--ci",
                "--skip-trusted-libraries-update",
            ],
            capture_output=True,
            timeout=600,
            check=False,
        )
        said = json.loads(report.read_text())
        checks = [
            check for one in said["reports"] for group in one["groups"] for check in group["checks"]
        ]
        bad = [
            check
            for check in checks
            if check["result"] in ("error", "failure", "future_failure", "future", "manual_check")
            or (check["result"] == "warning" and check["name"] not in EXPECTED)
        ]
        with tarfile.open(tarball) as tar:
            tar.extractall(folder, filter="data")
        slim = subprocess.run(
            [
                tools / "slim",
                "validate",
                str(next(path for path in Path(folder).iterdir() if path.is_dir())),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    lines = [
        line
        for line in (slim.stdout + slim.stderr).splitlines()
        if ("[WARNING]" in line or "[ERROR]" in line) and not any(word in line for word in SLIM)
    ]
    print(
        "\n".join(
            [
                *(
                    f"{tarball.name}: {check['result']}: {check['name']}:"
                    f" {'; '.join(message['message'][:300] for message in check['messages'])}"
                    for check in bad
                ),
                *(f"{tarball.name}: {line}" for line in lines),
                (
                    f"{tarball.name}: AppInspect {said['summary']}, slim"
                    f" {'clean' if not lines else 'not clean'}"
                ),
            ]
        ),
        flush=True,
    )
    return len(bad) + len(lines) + (len(checks) < 200)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
