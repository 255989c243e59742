"""The RPM, built for the Python of this Debian and installed with `rpm` into an overlay of this
machine, which is thrown away: its scripts run as root, in a chroot. What is not run: dnf, SELinux and
systemd of an RPM distribution, none of which is at hand, and the resolution of what it requires
(`--nodeps`). Needs root and overlayfs. Run by `ci/live rpm`.
"""

import os
import subprocess
from pathlib import Path

import pytest
import rpm_package
import wheels

ROOT = Path(__file__).parents[2]
FOLDER = "/tmp/siemtap-rpm-root"
OVERLAY = f"""
set -e
mkdir -p {FOLDER}
mount -t tmpfs tmpfs {FOLDER}
mkdir {FOLDER}/upper {FOLDER}/work {FOLDER}/root
mount -t overlay overlay -o lowerdir=/,upperdir={FOLDER}/upper,workdir={FOLDER}/work {FOLDER}/root
mount -t proc proc {FOLDER}/root/proc
mount --bind /dev {FOLDER}/root/dev
echo ready
exec sleep 600
"""
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def output_of(*command, code=0):
    result = subprocess.run(
        [str(word) for word in command],
        env=CLEAN,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert (result.returncode == 0) is (code == 0), result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    target = wheels.default_target()
    target = rpm_package.target_of(target.machine, target.python)
    return rpm_package.build(ROOT, tmp_path_factory.mktemp("rpm"), target)


@pytest.fixture(scope="module")
def machine(package):
    """Return a function that runs a command in the overlay."""
    assert not Path("/opt/siemtap").exists(), "siemtap is installed here"
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", OVERLAY],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n", "no overlay can be mounted"
        enter = ["nsenter", f"--mount=/proc/{process.pid}/ns/mnt"]
        output_of(*enter, "cp", package, f"{FOLDER}/root/siemtap.rpm")

        def run(*command, code=0):
            return output_of(*enter, "chroot", f"{FOLDER}/root", *command, code=code)

        yield run
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def test_second_build_has_the_same_bytes(package, tmp_path):
    target = wheels.default_target()
    before = os.umask(0o077)
    try:
        target = rpm_package.target_of(target.machine, target.python)
        again = rpm_package.build(ROOT, tmp_path / "dist", target)
    finally:
        os.umask(before)
    assert again.name == package.name and again.read_bytes() == package.read_bytes()


def test_rpmlint_has_nothing_to_say(package):
    output = output_of("rpmlint", "-c", ROOT / "packaging/rpm/rpmlintrc.toml", package)
    assert "0 errors, 0 warnings" in output, output


def test_requirements_scripts_and_files(package):
    python = wheels.default_target().python
    required = set(output_of("rpm", "-qp", "--requires", package).split("\n"))
    own = {line for line in required if line and not line.startswith("rpmlib(")}
    assert own == {"/bin/sh", f"/usr/bin/python{python}", "shadow-utils", "systemd"}
    scripts = output_of("rpm", "-qp", "--scripts", package)
    assert f"make-environment /usr/bin/python{python}" in scripts and "@PYTHON@" not in scripts
    rows = [line.split() for line in output_of("rpm", "-qplv", package).splitlines()]
    modes = {row[-1]: (row[0], f"{row[2]}:{row[3]}") for row in rows if row[-2] != "->"}
    assert modes.pop("/etc/siemtap") == ("drwxr-x---", "root:siemtap")
    assert modes.pop("/etc/siemtap/siemtap.yml") == ("-rw-r-----", "root:siemtap")
    assert modes.pop("/var/lib/siemtap") == ("drwx------", "siemtap:siemtap")
    assert modes.pop("/usr/lib/siemtap/make-environment") == ("-rwxr-xr-x", "root:root")
    assert set(modes.values()) == {("-rw-r--r--", "root:root"), ("drwxr-xr-x", "root:root")}
    assert "/usr/lib/systemd/system/siemtap.service" in modes
    assert "siemtap.cdx.json" in str(list(modes))


def test_environment_made_by_hand_is_not_overwritten(machine):
    machine("sh", "-c", "mkdir /opt/siemtap && echo mine > /opt/siemtap/pyvenv.cfg")
    output = machine("rpm", "--nodeps", "-i", "/siemtap.rpm", code=1)
    assert "is an environment that was made by hand" in output
    assert machine("cat", "/opt/siemtap/pyvenv.cfg") == "mine\n"
    machine("rm", "-r", "/opt/siemtap")


def test_installation_makes_user_and_environment(machine):
    output = machine("rpm", "--nodeps", "-i", "/siemtap.rpm")
    assert "is installed and not started" in output and "scriptlet failed" not in output
    assert machine("/usr/bin/siemtap", "--version").startswith("siemtap, version ")
    assert "No broken requirements" in machine(
        "/opt/siemtap/bin/python", "-I", "-m", "pip", "check"
    )
    listed = machine("stat", "-c", "%A %U:%G", "/etc/siemtap/siemtap.yml", "/var/lib/siemtap")
    assert listed == "-rw-r----- root:siemtap\ndrwx------ siemtap:siemtap\n"
    assert machine("rpm", "-V", "--nodeps", "siemtap") == ""
    machine("systemd-analyze", "verify", "/usr/lib/systemd/system/siemtap.service")


def test_service_collects_from_the_simulator_as_its_user(machine):
    script = """
    runuser -u nobody -- siemtap simulate apptrana --port 18091 >/dev/null & sleep 4
    printf 'http.enabled: false\\ninputs: [{type: apptrana, url: "http://127.0.0.1:18091",
      client_id: demo, client_secret: demo-secret}]\\n' >> /etc/siemtap/siemtap.yml
    cd / && runuser -u siemtap -- siemtap run --once -c /etc/siemtap/siemtap.yml
    code=$?; kill %1; exit $code
    """
    output = machine("bash", "-c", script)
    assert " 0 rejected" in output, output
    events = machine("runuser", "-u", "siemtap", "--", "siemtap", "events", "--limit", "2", "--json",
                    "-c", "/etc/siemtap/siemtap.yml")  # fmt: skip
    assert events.count('"apptrana.attack"') == 2


def test_another_version_keeps_data_and_configuration(machine):
    before = machine("sh", "-c", "ls /opt/siemtap; cat /etc/siemtap/siemtap.yml")
    machine("rpm", "--nodeps", "-U", "--replacepkgs", "/siemtap.rpm")
    after = machine("sh", "-c", "ls /opt/siemtap; cat /etc/siemtap/siemtap.yml")
    environments = {line for line in after.splitlines() if line.startswith("env.")}
    assert len(environments) == 1 and not environments & set(before.splitlines())
    assert after.partition("#")[2] == before.partition("#")[2]
    machine("test", "-s", "/var/lib/siemtap/siemtap.db")


def test_removal_leaves_data_and_changed_configuration(machine):
    machine("rpm", "--nodeps", "-e", "siemtap")
    machine("test", "-s", "/var/lib/siemtap/siemtap.db")
    machine("test", "-s", "/etc/siemtap/siemtap.yml.rpmsave")
    machine("sh", "-c", "! test -e /opt/siemtap && ! test -e /usr/bin/siemtap")
