"""packaging/requirements/*.txt: what the build of the add-ons installs, to the byte. Asks the
package index for the digests of each pinned release.

usage: python packaging/locked.py
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.request import Request, urlopen

HERE = Path(__file__).parent / "requirements"
INDEX = "https://pypi.org/simple"
PINNED = {
    # UCC and all that it needs, for the throw-away environment
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
    # There is no wheel of it
    "sdk": ("splunk-sdk==2.1.1",),
    # What an add-on carries. splunktaucclib asks for an urllib3 below 2, and uses none of it: ours
    # wins.
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
    # What one carries that receives
    "receiver": ("uvicorn==0.39.0", "h11==0.16.0", "click==8.1.8", "typing-extensions==4.15.0"),
}


def digests(name: str, version: str) -> list[str]:
    with urlopen(
        Request(f"{INDEX}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}),
        timeout=60,
    ) as answer:
        files = json.loads(answer.read())["files"]
    return sorted(
        {
            file["hashes"]["sha256"]
            for file in files
            if f"{_plain(file['filename'])}-".startswith(f"{_plain(name)}-{_plain(version)}-")
        }
    )


def _plain(said: str) -> str:
    return re.sub("[-_.]+", "-", said.lower())


def main() -> int:
    HERE.mkdir(exist_ok=True)
    for group, pins in PINNED.items():
        lines = []
        for pin in pins:
            found = digests(*pin.split("=="))
            if not found:
                print(f"{pin}: the index has no such release", file=sys.stderr)
                return 1
            lines.append(" ".join([pin, *(f"--hash=sha256:{digest}" for digest in found)]) + "\n")
        (HERE / f"{group}.txt").write_text("".join(lines))
        print(f"{group}: {len(pins)} releases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
