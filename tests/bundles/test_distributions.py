"""The shipper's wheel and sdist, their bill of materials and their checksums."""

import configparser
import json
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import distributions
import pytest
import sbom
import wheels
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from locked import PINNED
from packaging.requirements import Requirement

from siemtap.bundles.ucc import LOCKED

ROOT = Path(__file__).parents[2]
PINS = dict(pin.split("==") for pin in PINNED["shipper"])
# whose terms allow the package to carry the library
ALLOWED = {
    "Apache-2.0",
    "Apache-2.0 AND BSD-2-Clause",
    "Apache-2.0 OR BSD-3-Clause",
    "BSD License",
    "BSD License, Apache Software License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "MPL-2.0 AND (Apache-2.0 OR MIT)",
    "PSF-2.0",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist."""
    return distributions.build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def bill(built, tmp_path_factory):
    target = wheels.default_target()
    libraries = wheels.download(target, tmp_path_factory.mktemp("wheels"))
    return sbom.bill(built[0], libraries, target)


@pytest.mark.slow
def test_second_build_has_the_same_bytes(built, tmp_path):
    before = os.umask(0o077)
    try:
        (tmp_path / "checkout").mkdir()
        for name in distributions.SOURCES:
            subprocess.run(["cp", "-R", ROOT / name, tmp_path / "checkout"], check=True)
        again = distributions.build(tmp_path / "checkout", tmp_path / "dist")
    finally:
        os.umask(before)
    for first, second in zip(built, again):
        assert first.name == second.name and first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_contents_of_the_distributions(built):
    wheel, sdist = built
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None and archive.namelist()[-1].endswith(".dist-info/RECORD")
        assert {oct(info.external_attr >> 16) for info in archive.infolist()} == {"0o100644"}
        names = archive.namelist()
    assert not [name for name in names if re.search(r"\.pyc$|/shipper\.txt$|^tests/", name)]
    with tarfile.open(sdist) as tar:
        top = {name.split("/")[1] for name in tar.getnames() if "/" in name}
        assert {member.mtime for member in tar} == {distributions.STAMP}
    assert top >= {"LICENSE", "README.md", "setup.cfg", "pyproject.toml", "plugins", "schemas"}
    assert not top & {"tests", "ci", "docs", "dist"}


@pytest.mark.slow
def test_bill_of_materials_is_valid_and_complete(bill):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    broken = bill.replace('"SHA-256"', '"SHA-255"', 1)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None
    document = json.loads(bill)
    locked = (LOCKED / "shipper.txt").read_text()
    versions = {}
    for component in document["components"]:
        versions[sbom.normalized(component["name"])] = component["version"]
        (digest,) = component["hashes"]
        assert f"sha256:{digest['content']}" in locked, component["name"]
        (licensed,) = component["licenses"]
        terms = licensed.get("expression") or "".join(licensed["license"].values())
        assert terms in ALLOWED, component["name"]
    assert set(versions) == {sbom.normalized(name) for name in PINS}
    relations = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
    own = document["metadata"]["component"]["purl"]
    assert "pkg:pypi/orjson@" + PINS["orjson"] in relations[own]
    assert "pkg:pypi/pymongo@" + PINS["pymongo"] in relations[own], "of the extra mongodb"


@pytest.mark.slow
def test_requirement_without_a_pin_is_an_error(built, tmp_path):
    with pytest.raises(ValueError, match="siemtap requires .*: pin it in"):
        sbom.bill(built[0], [], wheels.default_target())


def test_pins_satisfy_the_requirements():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].split("\n")
    lines += setup["options.extras_require"]["mongodb"].split("\n")
    lines += setup["options.extras_require"]["geoip"].split("\n")
    lines += setup["options.extras_require"]["kafka"].split("\n")
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len(requirements) > 15
    for requirement in requirements:
        assert PINS[requirement.name] in requirement.specifier, requirement
    for line in (ROOT / "ci/constraints.txt").read_text().split("\n"):
        if line and not line.startswith("#"):
            tested = Requirement(line)
            if tested.name in PINS:
                assert PINS[tested.name] in tested.specifier, "another version is tested"


def test_every_pin_is_locked():
    lines = (LOCKED / "shipper.txt").read_text().splitlines()
    assert tuple(line.split()[0] for line in lines) == PINNED["shipper"]
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}", line) for line in lines)


def test_checksums(tmp_path):
    (tmp_path / "b.whl").write_bytes(b"b")
    (tmp_path / "a.zip").write_bytes(b"a")
    for _ in range(2):  # the list does not list itself
        path = distributions.write_checksums(tmp_path)
    check = ["sha256sum", "--check", "--strict", path.name]
    result = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout == "a.zip: OK\nb.whl: OK\n"
