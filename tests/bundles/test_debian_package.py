"""The Debian package, without installing it: bytes, contents, modes, scripts, configuration.
`ci/live debian` installs it."""

import io
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import deb
import distributions
import pytest
import wheels
from locked import PINNED

from siemtap.shipper.config.load import parse

ROOT = Path(__file__).parents[2]
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
pytestmark = pytest.mark.skipif(
    not (shutil.which("dpkg-deb") or os.environ.get("CI")), reason="no Debian: no dpkg-deb"
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return deb.build(ROOT, tmp_path_factory.mktemp("deb"), wheels.default_target())


def members(package, option):
    """Return path -> (mode, owner, content) of the control files or of the files."""
    tar = subprocess.run(["dpkg-deb", option, package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {
            member.name.removeprefix("./"): (
                member.mode,
                f"{member.uname}:{member.gname}",
                archive.extractfile(member).read() if member.isfile() else member.linkname.encode(),
            )
            for member in archive
        }


@pytest.mark.slow
def test_second_build_has_the_same_bytes(package, tmp_path):
    before = os.umask(0o077)
    try:
        again = deb.build(ROOT, tmp_path / "dist", wheels.default_target())
    finally:
        os.umask(before)
    assert again.name == package.name and again.read_bytes() == package.read_bytes()


@pytest.mark.slow
def test_files_and_their_modes(package):
    files = members(package, "--fsys-tarfile")
    assert {owner for _, owner, _ in files.values()} == {"root:root"}
    private = {name: mode for name, (mode, _, _) in files.items() if mode & 0o007 == 0}
    assert private == {"etc/siemtap": 0o750, "etc/siemtap/siemtap.yml": 0o640}
    unit = files["usr/lib/systemd/system/siemtap.service"][2]
    assert unit == (ROOT / "packaging/siemtap.service").read_bytes()
    (manual,) = re.findall(r"(?m)^Documentation=file:///(.*)$", unit.decode())
    assert files[manual][2] == (ROOT / "docs/index.md").read_bytes()
    assert "usr/share/doc/siemtap/plugins/apptrana/README.md" in files
    assert files["usr/bin/siemtap"][2] == b"/opt/siemtap/bin/siemtap"
    folder = "usr/lib/siemtap/wheels/"
    carried = [name for name in files if name.startswith(folder) and name != folder]
    assert len(carried) == len(PINNED["shipper"]) + 1
    lines = files["usr/lib/siemtap/requirements.txt"][2].decode().splitlines()
    assert len(lines) == len(carried)
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    assert not [name for name in files if name.startswith(("opt", "var"))]


@pytest.mark.slow
def test_control_files(package):
    control = members(package, "--ctrl-tarfile")
    assert {name for name, (mode, _, _) in control.items() if mode == 0o755} - {""} <= {
        ".",
        *SCRIPTS,
    }
    assert control["conffiles"][2] == b"/etc/siemtap/siemtap.yml\n"
    python = wheels.default_target().python
    text = control["control"][2].decode()
    assert f"python3 (>= {python}~)" in text and "python3-venv" in text
    for name in SCRIPTS:
        assert control[name][2] == (ROOT / "packaging/debian" / name).read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        *(f"debian/{name}" for name in SCRIPTS),
        *(f"rpm/{name}" for name in ("pre", "post", "preun")),
        "make-environment",
    ],
)
def test_scripts_are_valid(name):
    path = ROOT / "packaging" / name
    text = path.read_text()
    assert text.startswith("#!/bin/sh\n") and "\nset -e\n" in text
    subprocess.run(["sh", "-n", path], check=True)


@pytest.mark.parametrize("step, left", [("remove", 4), ("purge", 1)])
def test_purge_removes_what_the_admin_has_put_into_its_folders(tmp_path, step, left):
    folders = ("etc/siemtap", "etc/siemtap/inputs.d", "var/lib/siemtap", "var/lib/siemtap-other")
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "environment").write_text("API_KEY=secret")
    script = (ROOT / "packaging/debian/postrm").read_text()
    script = re.sub(r"(?<= )/(?=etc/|var/)", f"{tmp_path}/", script).replace("/run/", "/none/")
    assert script.count(str(tmp_path)) == 3
    subprocess.run(["sh", "-c", script, "postrm", step], check=True)
    assert len([*tmp_path.rglob("environment")]) == left
    assert (tmp_path / "var/lib/siemtap-other/environment").exists()


@pytest.mark.parametrize("name", ["debian/postinst", "rpm/post"])
def test_hint_of_the_package_is_the_command_of_the_manual(name):
    script = (ROOT / "packaging" / name).read_text()
    (hint,) = re.findall(r'(?s)echo "    (sudo systemd-run .*?siemtap\.yml)"', script)
    manual = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    (documented,) = re.findall(
        r"(?s)^    (sudo systemd-run .*?siemtap\.yml)$", manual, re.MULTILINE
    )
    words = re.sub(r'\\+"?\n *(echo ")?', " ", hint).split()
    assert words == documented.replace("\\\n", " ").replace("test inputs", "test config").split()


def test_another_machine_is_refused(tmp_path):
    target = wheels.Target("3.11", "riscv64")
    with pytest.raises(SystemExit, match="riscv64 is no architecture .* x86_64, aarch64"):
        deb.build(ROOT, tmp_path, target)
    assert distributions.SUMS not in os.listdir(tmp_path)


def test_examples_of_the_configuration_are_valid(tmp_path, monkeypatch):
    text = (ROOT / "packaging/debian/siemtap.yml").read_text()
    block = re.sub(r"(?m)^#(?! )", "", text)
    block = re.sub(r"(?m)^#(?=  )", "", block)
    block = re.sub(r"\$\{[^}]*\}", "a-secret-of-some-length", block)
    config = parse(block, "siemtap.yml")
    assert str(config.data) == "/var/lib/siemtap"
    assert [each.plugin.name for each in config.inputs] == ["apptrana"]
    assert [output.type for output in config.outputs] == ["elasticsearch"]
