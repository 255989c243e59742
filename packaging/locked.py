"""Write plugins/siemtap/bundles/requirements/*.txt: the releases that the builds install, and those
of the shipper's packages, with the digests that the package index has for each.

usage: python packaging/locked.py
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.request import Request, urlopen

HERE = Path(__file__).parents[1] / "plugins/siemtap/bundles/requirements"
INDEX = "https://pypi.org/simple"
PINNED = {
    # UCC and its dependencies, for the environment of the build
    "build": (
        "splunk-add-on-ucc-framework==6.6.0",
        "addonfactory-splunk-conf-parser-lib==1.0.0",
        "attrs==26.1.0",
        "certifi==2026.10.18",
        "colorama==0.4.6",
        "defusedxml==0.7.1",
        "dunamai==1.26.5",
        "jinja2==3.1.6",
        "jsonschema==4.26.0",
        "jsonschema-specifications==2025.9.1",
        "markupsafe==3.0.4",
        "packaging==26.3",
        "pyyaml==6.0.3",
        "referencing==0.37.0",
        "rpds-py==0.30.0",
        "typing-extensions==4.16.0",
        "pip==26.2",
        "setuptools==80.9.0",
        "wheel==0.46.3",
    ),
    # splunk-sdk has no wheel
    "sdk": ("splunk-sdk==2.1.1",),
    # The libraries of an add-on. splunktaucclib requires an urllib3 below 2 and does not use it.
    "carried": (
        "splunktaucclib==8.2.0",
        "solnlib==7.0.0",
        "defusedxml==0.7.1",
        "sortedcontainers==2.4.0",
        "pysocks==1.7.1",
        "deprecation==2.1.0",
        "packaging==25.0",
        "requests==2.32.5",
        "urllib3==2.6.3",
        "idna==3.11",
        "certifi==2026.10.18",
        "charset-normalizer==3.4.4",
        "tzdata==2026.6",
        "communityid==1.5",
    ),
    # The further libraries of an add-on with a webhook
    "receiver": ("uvicorn==0.39.0", "h11==0.16.0", "click==8.1.8", "typing-extensions==4.15.0"),
    # What builds the shipper's wheel
    "wheel": ("setuptools==80.9.0",),
    # The libraries of the shipper's Debian package, for Python 3.10 and newer: its requirements and
    # those of its extras `mongodb`, `geoip` and `kafka`. uvicorn, jsonschema-rs and click as in
    # ci/constraints.txt.
    "shipper": (
        "attrs==26.1.0",
        "certifi==2026.10.18",
        "cffi==2.1.1",
        "charset-normalizer==3.5.3",
        "click==8.5.1",
        "communityid==1.5",
        "confluent-kafka==2.16.1",
        "cryptography==50.0.2",
        "dnspython==2.8.0",
        "elastic-transport==8.19.0",
        "elasticsearch==8.19.3",
        "filelock==4.1.0",
        "h11==0.16.0",
        "httptools==0.9.0",
        "idna==3.20",
        "isal==1.9.1",
        "jsonschema==4.26.0",
        "jsonschema-rs==0.60.3",
        "jsonschema-specifications==2025.9.1",
        "markdown-it-py==4.3.0",
        "maxminddb==3.2.0",
        "mdurl==0.1.2",
        "orjson==3.13.0",
        "prometheus-client==0.26.0",
        "pycparser==3.11",
        "pygments==2.21.0",
        "pymongo==4.10.1",
        "python-dateutil==3.0.0",
        "referencing==0.37.0",
        "requests==2.34.2",
        "rich==15.0.0",
        "rpds-py==0.30.0",
        "ruamel.yaml==0.19.1",
        "six==1.17.0",
        "typing-extensions==4.16.0",
        "tzdata==2026.6",
        "urllib3==2.8.0",
        "uvicorn==0.39.0",
    ),
}


# of wheels that no Linux and no macOS installs, and of Pythons that no script of ci/ uses
FOREIGN = re.compile(
    r"-win|-(pp|cp(2|3[5-8]-cp3|31[4-9]))|-cp313-cp313t-|graalpy|android|ios_|wasm"
)


def digests(name: str, version: str, foreign: bool = True) -> list[str]:
    """Return the SHA-256 digests of a release's files; none if the index has no such release.

    `foreign`: also of those wheels that the scripts of ci/ never install.
    """
    request = Request(f"{INDEX}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urlopen(request, timeout=60) as response:
        files = json.loads(response.read())["files"]
    prefix = f"{_normalize(name)}-{_normalize(version)}-"
    return sorted(
        {
            file["hashes"]["sha256"]
            for file in files
            if f"{_normalize(file['filename'])}-".startswith(prefix)
            and (foreign or not FOREIGN.search(file["filename"]))
        }
    )


def _normalize(name: str) -> str:
    return re.sub("[-_.]+", "-", name.lower())


def main() -> int:
    """Write every file; return the exit status."""
    HERE.mkdir(exist_ok=True)
    for group, pins in PINNED.items():
        lines = []
        for pin in pins:
            name, version = pin.split("==")
            hashes = [f"--hash=sha256:{digest}" for digest in digests(name, version)]
            if not hashes:
                print(f"{pin}: the index has no such release", file=sys.stderr)
                return 1
            lines.append(" ".join([pin, *hashes]) + "\n")
        (HERE / f"{group}.txt").write_text("".join(lines))
        print(f"{group}: {len(pins)} releases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
