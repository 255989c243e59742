"""Check the add-ons with AppInspect and slim. Any warning that is not listed here with its reason
fails the check.

usage: packaging/inspected.py FOLDER-WITH-BOTH-TOOLS TARBALL…
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

TAGS = ("cloud", "private_app", "future", "aarch64_compatibility")
# checks of AppInspect that warn, and why the warning is expected
EXPECTED = {
    "check_for_splunk_js": "Splunk's own telemetry; UCC's pages use SplunkJS",
    "check_for_splunk_js_header_and_footer_view": "UCC's pages",
    "check_for_python_script_existence": "counts the Python files",
    "check_for_modular_inputs": "no action required",
    "check_collections_conf": "no action required: the checkpoints",
    "check_python_sdk_version": "2.1.1 is the newest that runs on Python 3.9",
    "check_for_possible_threading": (
        "subprocess in solnlib, which the input does not use; the thread that watches splunkd, and"
        " parallel calls to the vendor"
    ),
    "check_hostnames_and_ips": "version numbers in comments of urllib3",
    "check_for_custom_mako_templates": "UCC 6.6.0's own page",
    "check_for_supported_tls": (
        "solnlib, splunklib: calls to splunkd on the same machine; calls to the vendor verify the"
        " certificate unless an admin disables it"
    ),
    "check_ucc_dependencies": "no action required",
    "check_for_indexer_synced_configs": "props for the indexers",
}
# keys that slim does not know yet
UNKNOWN_TO_SLIM = ("supported_themes", "python.version", "python.required")
FAILURES = ("error", "failure", "future_failure", "future", "manual_check")
MIN_CHECKS = 200  # fewer mean that AppInspect did not run as asked


def main(arguments: List[str]) -> int:
    """Check every tarball, in parallel; return the exit status."""
    tools, *tarballs = map(Path, arguments)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = list(pool.map(partial(inspect, tools), tarballs))
    return 1 if any(problems) else 0


def inspect(tools: Path, tarball: Path) -> int:
    """Check a tarball, print what both tools report, and return the number of problems."""
    with tempfile.TemporaryDirectory() as folder:
        report = run_appinspect(tools, tarball, Path(folder) / "report.json")
        slim_lines = run_slim(tools, tarball, Path(folder))
    checks = [
        check for app in report["reports"] for group in app["groups"] for check in group["checks"]
    ]
    failed = [check for check in checks if is_failure(check)]
    lines = [f"{check['result']}: {check['name']}: {_messages(check)}" for check in failed]
    lines += slim_lines
    lines.append(f"AppInspect {report['summary']}, slim {'not clean' if slim_lines else 'clean'}")
    print("\n".join(f"{tarball.name}: {line}" for line in lines), flush=True)
    return len(failed) + len(slim_lines) + (len(checks) < MIN_CHECKS)


def run_appinspect(tools: Path, tarball: Path, report: Path) -> Dict[str, Any]:
    """Run AppInspect, and return its report."""
    command: List[Any] = [tools / "splunk-appinspect", "inspect", tarball, "--mode", "precert"]
    for tag in TAGS:
        command += ["--included-tags", tag]
    command += ["--data-format", "json", "--output-file", report]
    command += ["--ci", "--skip-trusted-libraries-update"]
    subprocess.run(command, capture_output=True, timeout=600, check=False)
    content: Dict[str, Any] = json.loads(report.read_text())
    return content


def run_slim(tools: Path, tarball: Path, folder: Path) -> List[str]:
    """Unpack a tarball, run slim on it, and return its warnings and errors."""
    with tarfile.open(tarball) as tar:
        tar.extractall(folder, filter="data")
    app = next(path for path in folder.iterdir() if path.is_dir())
    result = subprocess.run(
        [tools / "slim", "validate", str(app)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return [
        line
        for line in (result.stdout + result.stderr).splitlines()
        if ("[WARNING]" in line or "[ERROR]" in line)
        and not any(key in line for key in UNKNOWN_TO_SLIM)
    ]


def is_failure(check: Dict[str, Any]) -> bool:
    """Return whether a check of AppInspect fails, or warns without being expected to."""
    if check["result"] == "warning":
        return check["name"] not in EXPECTED
    return check["result"] in FAILURES


def _messages(check: Dict[str, Any]) -> str:
    return "; ".join(message["message"][:300] for message in check["messages"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
