"""A software bill of materials in CycloneDX JSON 1.6 (https://cyclonedx.org/docs/1.6/json/): the
shipper, and the libraries that its packages carry."""

from __future__ import annotations

import json
import re
import uuid
from email.message import Message
from pathlib import Path
from typing import Any, Iterable

from distributions import sha256
from packaging.requirements import Requirement
from wheels import Target, metadata_of

from siemtap.bundles.licenses import license_of

TIMESTAMP = "2026-01-01T00:00:00Z"  # of bundles/archive.py
# SPDX identifiers of classifiers that mean one license
IDENTIFIERS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
EXTRAS = ("", "mongodb", "geoip", "kafka")  # whose libraries the locked requirements hold


def bill(shipper: Path, libraries: Iterable[Path], target: Target) -> str:
    """Return the bill of a package as text.

    `shipper`: its wheel. `libraries`: the wheels of the libraries, for `target`.
    """
    paths = {metadata_of(wheel)["Name"]: wheel for wheel in libraries}
    components = [component(paths[name]) for name in sorted(paths, key=normalized)]
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": TIMESTAMP,
            "component": {**component(shipper), "type": "application"},
            "properties": [
                {"name": "siemtap:python", "value": target.python},
                {"name": "siemtap:machine", "value": target.machine},
            ],
        },
        "components": components,
        "dependencies": list(dependencies([shipper, *sorted(paths.values())], target)),
    }
    # the same number for the same content
    text = json.dumps(document, sort_keys=True)
    number = uuid.uuid5(uuid.NAMESPACE_URL, text)
    document["serialNumber"] = f"urn:uuid:{number}"
    return json.dumps(document, indent=1) + "\n"


def component(wheel: Path) -> dict[str, Any]:
    """Return a wheel as a component: name, version, purl, license, digest."""
    metadata = metadata_of(wheel)
    purl = purl_of(metadata)
    return {
        "type": "library",
        "bom-ref": purl,
        "name": metadata["Name"],
        "version": metadata["Version"],
        "purl": purl,
        "licenses": [licensed(metadata)],
        "hashes": [{"alg": "SHA-256", "content": sha256(wheel)}],
        "properties": [{"name": "siemtap:file", "value": wheel.name}],
    }


def licensed(metadata: Message) -> dict[str, Any]:
    """Return a license: an SPDX expression or identifier where the metadata have one, else their
    words."""
    if metadata["License-Expression"]:
        return {"expression": metadata["License-Expression"]}
    name = license_of(metadata)
    identifier = IDENTIFIERS.get(name, name)
    if identifier in IDENTIFIERS.values():
        return {"license": {"id": identifier}}
    return {"license": {"name": name}}


def purl_of(metadata: Message) -> str:
    return f"pkg:pypi/{normalized(metadata['Name'])}@{metadata['Version']}"


def normalized(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def dependencies(wheels: Iterable[Path], target: Target) -> Iterable[dict[str, Any]]:
    """Yield for each wheel which of the others it requires. ValueError if one is missing, or has a
    version that does not do."""
    described = {normalized(data["Name"]): data for data in map(metadata_of, wheels)}
    for metadata in described.values():
        names = set()
        for requirement in _required(metadata, target):
            name = normalized(requirement.name)
            names.add(name)
            if name not in described or described[name]["Version"] not in requirement.specifier:
                raise ValueError(
                    f'{metadata["Name"]} requires {requirement}: pin it in "shipper" of'
                    " packaging/locked.py, and run packaging/locked.py"
                )
        depends_on = [purl_of(described[name]) for name in sorted(names)]
        yield {"ref": purl_of(metadata), "dependsOn": depends_on}


def _required(metadata: Message, target: Target) -> Iterable[Requirement]:
    """Yield what a distribution requires on the target."""
    extras = EXTRAS if metadata["Name"] == "siemtap" else ("",)
    environment = {
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "platform_machine": target.machine,
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "sys_platform": "linux",
        "os_name": "posix",
    }
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        marker = requirement.marker
        if not marker or any(marker.evaluate({**environment, "extra": extra}) for extra in extras):
            yield requirement
