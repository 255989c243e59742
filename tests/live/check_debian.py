"""The Debian package on this machine: installed with apt-get, run as its unit runs it, removed and
purged. Needs root, apt-get, systemd-analyze, lintian and strace; systemd is not started. Run by
`ci/live debian`, which builds the package before.
"""

import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = Path("/etc/siemtap/siemtap.yml")
DATA = Path("/var/lib/siemtap")
OPT = Path("/opt/siemtap")
UNIT = Path("/usr/lib/systemd/system/siemtap.service")
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
MAX_EXPOSURE = "20"  # tenths, of systemd-analyze security
# What the unit does around the command: a read-only system with one writable folder, no home
# folders, a /tmp of its own, no capabilities, no new privileges, no memory that is written and run.
NAMESPACE = """
set -e
mount --bind /var/lib/siemtap /var/lib/siemtap
mount -o remount,bind,ro /
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0000,ro tmpfs /root
umask 077
cd /
exec /usr/bin/python3 -I -c '
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, of Linux 6.3
    print("without PR_SET_MDWE: the kernel does not know it", file=sys.stderr)
os.execvp(sys.argv[1], sys.argv[1:])
' setpriv --reuid siemtap --regid siemtap --init-groups --no-new-privs --bounding-set=-all \
  --inh-caps=-all "$@"
"""


def run(*command, code=0):
    """Run a command as root; return its output."""
    result = subprocess.run(
        [str(word) for word in command],
        env={**CLEAN, "DEBIAN_FRONTEND": "noninteractive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert (result.returncode == 0) is (code == 0), result.stdout
    return result.stdout


def as_siemtap(*command):
    return run("runuser", "-u", "siemtap", "--", *command)


@pytest.fixture(scope="module")
def package():
    """The built package. At the end nothing of it is on the machine."""
    (path,) = (ROOT / "dist").glob("siemtap_*.deb")
    assert not OPT.exists() and not DATA.exists() and not CONFIG.exists(), "siemtap is installed"
    yield path
    if "siemtap" in run("dpkg", "-l"):
        run("apt-get", "purge", "-y", "-qq", "siemtap")
    if any(user.pw_name == "siemtap" for user in pwd.getpwall()):
        run("deluser", "--quiet", "siemtap")


@pytest.fixture(scope="module")
def installed(package):
    run("apt-get", "install", "-y", "-qq", "--allow-downgrades", package)
    return package


@pytest.fixture(scope="module")
def vendor(installed):
    """Yield the settings of an input that reads from the simulator of the installed package."""
    process = subprocess.Popen(
        ["/usr/bin/siemtap", "simulate", "apptrana"],
        user="nobody",
        group="nogroup",
        extra_groups=(),
        cwd="/",
        env=CLEAN,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


class Service:
    """The unit's command, run as the unit runs it, with a socket in the place of systemd's."""

    def __init__(self, folder, *tracing):
        self.log = folder / "log"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"siemtap-check-{os.getpid()}-{time.monotonic_ns()}"
        self.socket.bind(f"\0{name}")
        variables = {**CLEAN, "NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "1000000"}
        words = shlex.split(setting("ExecStart"))
        command = [*tracing, "unshare", "--mount", "sh", "-c", NAMESPACE, "sh", *words]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, env=variables, stderr=log, stdout=log)

    def until(self, text):
        """Read messages until one contains a text."""
        self.socket.settimeout(120)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            message = self.socket.recv(4096).decode()
            if text in message:
                return message
        raise AssertionError(f"no {text}: {self.log.read_text()}")

    def end(self):
        """Stop the service as systemd does, and return its exit code."""
        owner = pwd.getpwnam("siemtap").pw_uid
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                is_service = path.stat().st_uid == owner and b"\0run\0" in path.read_bytes()
            except OSError:  # it has ended
                continue
            if is_service:
                os.kill(int(path.parent.name), signal.SIGTERM)
        code = self.process.wait(120)
        self.socket.close()
        return code


def setting(name):
    """Return a setting of the installed unit."""
    return re.search(rf"(?m)^{name}=(.*)$", UNIT.read_text())[1]


def wait_for_events(number):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        output = as_siemtap("siemtap", "events", "-c", CONFIG, "--json", "--limit", "100000")
        events = [json.loads(line) for line in output.split("\n") if line]
        if len(events) > number:
            return {event["event"]["id"] for event in events}
        time.sleep(1)
    raise AssertionError(f"no more than {len(events)} events")


def test_environment_made_by_hand_is_not_overwritten(package):
    OPT.mkdir()
    (OPT / "pyvenv.cfg").write_text("mine")
    try:
        output = run("apt-get", "install", "-y", "-qq", package, code=1)
        assert "is an environment that was made by hand" in output
        assert (OPT / "pyvenv.cfg").read_text() == "mine"
    finally:
        shutil.rmtree(OPT)
        run("apt-get", "purge", "-y", "-qq", "siemtap")


def test_installed_files_and_user(installed):
    user = pwd.getpwnam("siemtap")
    assert user.pw_dir == str(DATA) and user.pw_shell.endswith("nologin")
    for path, mode, owner in (
        (CONFIG, 0o640, "root:siemtap"),
        (CONFIG.parent, 0o750, "root:siemtap"),
        (DATA, 0o700, "siemtap:siemtap"),
        (OPT, 0o755, "root:root"),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path
        assert f"{path.owner()}:{path.group()}" == owner, path
    assert run("/usr/bin/siemtap", "--version").startswith("siemtap, version ")
    assert "No broken requirements" in run("/opt/siemtap/bin/python", "-I", "-m", "pip", "check")
    assert run("dpkg", "--verify", "siemtap") == ""
    assert len(list(OPT.iterdir())) == 2, "bin and one environment"


def test_lintian_has_nothing_to_say(package):
    assert run("lintian", "--allow-root", "--fail-on", "error,warning", package) == ""


def test_unit_passes_systemds_checks(installed):
    assert run("systemd-analyze", "verify", UNIT).strip() == ""
    report = run(
        "systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", UNIT
    )
    print(report.splitlines()[-1])


def test_service_without_inputs_says_what_to_do(installed):
    result = subprocess.run(
        ["runuser", "-u", "siemtap", "--", *shlex.split(setting("ExecStart"))],
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == int(setting("RestartPreventExitStatus")) == 2
    assert "inputs" in result.stderr and "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def configured(vendor):
    text = CONFIG.read_text() + f"\ninputs: {json.dumps([{'type': 'apptrana', **vendor}])}\n"
    CONFIG.write_text(text)
    assert stat.S_IMODE(CONFIG.stat().st_mode) == 0o640
    return text


def test_service_collects_from_the_simulator(configured, tmp_path):
    service = Service(tmp_path)
    try:
        service.until("READY=1")
        ids = wait_for_events(500)
        service.until("STATUS=healthy\nWATCHDOG=1")
    finally:
        code = service.end()
    assert code == 0, service.log.read_text()
    log = service.log.read_text()
    assert len(ids) > 500 and " error " not in log and "PR_SET_MDWE" not in log
    modes = {stat.S_IMODE(path.stat().st_mode) for path in DATA.rglob("*") if path.is_file()}
    assert modes == {0o600}


def test_service_uses_calls_that_the_unit_allows(configured, tmp_path):
    trace = tmp_path / "trace"
    service = Service(tmp_path, "strace", "-f", "-qq", "--signal=none", "-o", trace)
    try:
        service.until("READY=1")
        service.until("WATCHDOG=1")
        time.sleep(5)
    finally:
        service.end()
    lines = trace.read_text(errors="replace").split('execve("/opt/siemtap/bin/siemtap"')
    assert len(lines) == 2, "the command was started once"
    used = set(re.findall(r"(?m)^\d+ +([a-z]\w*)\(", lines[1]))
    assert len(used) > 30
    denied = used - (calls("@system-service") - calls("@privileged"))
    assert denied == set()


def calls(group):
    """Return the system calls of a group of systemd's."""
    names = set()
    for line in run("systemd-analyze", "--no-pager", "syscall-filter", group).splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            names |= calls(name)
        elif name and not name.startswith("#"):
            names.add(name)
    return names


def test_new_version_keeps_data_and_runs_on(configured, installed, tmp_path):
    before = [path for path in OPT.iterdir() if path.name.startswith("env.")]
    service = Service(tmp_path)
    try:
        service.until("READY=1")
        ids = wait_for_events(500)
        run("apt-get", "install", "-y", "-qq", "--reinstall", installed)
        after = [path for path in OPT.iterdir() if path.name.startswith("env.")]
        assert len(after) == 1 and after != before and CONFIG.read_text() == configured
        assert stat.S_IMODE(CONFIG.stat().st_mode) == 0o640 and CONFIG.group() == "siemtap"
        service.until("WATCHDOG=1")
    finally:
        code = service.end()
    assert code == 0, service.log.read_text()
    assert ids <= wait_for_events(len(ids) - 1)


def test_removal_leaves_the_data_and_purge_removes_it(configured, vendor):
    run("apt-get", "remove", "-y", "-qq", "siemtap")
    assert (DATA / "siemtap.db").exists() and CONFIG.read_text() == configured
    assert not OPT.exists() and not UNIT.exists() and not Path("/usr/bin/siemtap").exists()
    (CONFIG.parent / "environment").write_text("ES_API_KEY=secret\n")
    run("apt-get", "purge", "-y", "-qq", "siemtap")
    assert not DATA.exists() and not CONFIG.parent.exists()
    assert "siemtap" not in run("dpkg", "-l")
