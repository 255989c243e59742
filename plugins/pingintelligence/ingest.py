"""What Elastic's package needs beside the manifest and the mapping: how events come to an agent,
the parsers of mapping.py in Painless, and which settings the form does not have."""

from __future__ import annotations

from pathlib import Path

from siemtap.elastic.cel import program
from siemtap.elastic.package.model import Package, Stream, Way
from siemtap.elastic.painless_rows import literal

from .attack_types import STEMS, TYPES
from .attacks import REPORT_KEYS
from .mapping import ATTACK, ATTACKLIST, REPORT
from .redaction import BY_NAME, HARMLESS, KINDS, LISTS, PAGE, SECRET, SECRET_WORDS, URLS
from .report_types import REPORTS

HERE = Path(__file__).parent / "elastic"
ACCOUNT = ("url", "role", "access_key", "secret_key", "authorization", "timezone")
NEEDED = ("url", "access_key", "secret_key")
WALK = (
    "interval",
    "lookback",
    "lag",
    "overlap",
    "skip_after",
    "max_query_range",
    "apis",
    "exclude_apis",
)
OPTIONS = ("ase_blocking", "hash_identifiers")


# What the programs read of redaction.py, attacks.py and reports.py.
NAMES = {
    "kinds": KINDS,
    "lists": LISTS,
    "order": list(KINDS),
    "secret": SECRET,
    "page": sorted(REPORT_KEYS | LISTS.keys()),
}
REPORTED = {
    "reports": {name: report._asdict() for name, report in REPORTS.items()},
    "allowed": ", ".join(REPORTS),
}

TABLE = {str(id): list(of) for id, of in TYPES.items()}
BY_STEM = {f"{stem} {number}": list(map(str, ids)) for (stem, number), ids in STEMS.items()}

PACKAGE = Package(
    {
        "pingintelligence.attack": Stream(
            (
                Way(
                    "cel",
                    ACCOUNT,
                    (*WALK, "attack_version", *OPTIONS),
                    program(HERE, "attack", ATTACK, NAMES),
                    NEEDED,
                ),
                Way("filestream", (), ("url", *OPTIONS, "role")),
                Way("tcp", (), ("url", *OPTIONS, "role"), port=9_515),
            ),
            "shape_b_consolidated",
            "read_attack",
            ("timezone", "role", "hash_identifiers"),
        ),
        "pingintelligence.attacklist": Stream(
            (
                Way(
                    "cel",
                    ACCOUNT,
                    ("interval", "hash_identifiers"),
                    program(HERE, "attacklist", ATTACKLIST, NAMES),
                    NEEDED,
                ),
            ),
            "attack_list_first_look",
            latest=(
                "observer.name",
                "pingintelligence.identifier.type",
                "pingintelligence.identifier.name",
                "source.address",
                "user.name",
                "pingintelligence.cookie.value_hash",
                "pingintelligence.token_hash",
                "pingintelligence.api_key_hash",
            ),
        ),
        "pingintelligence.report": Stream(
            (
                Way(
                    "cel",
                    ACCOUNT,
                    ("interval", "lag", "reports", "report_details", "apis", "exclude_apis"),
                    program(HERE, "report", REPORT, REPORTED),
                    NEEDED,
                ),
            ),
            "report_of_metrics",
            "read_report",
            ("timezone", "report_details"),
        ),
    },
    (HERE / "mapping.painless").read_text(encoding="utf-8")
    + f"Map attack_types() {{\n  return {literal(TABLE)};\n}}\nMap stems() {{\n  return"
    f" {literal(BY_STEM)};\n}}\n"
    + f"List harmless() {{\n  return {literal(sorted(HARMLESS))};\n}}\nList urls() {{\n  return"
    f" {literal(sorted(URLS))};\n}}\n" + "List of_page() {\n  return"
    f" {literal(sorted(PAGE - HARMLESS - URLS - BY_NAME.keys()))};\n}}\nList secret_words() {{\n "
    f" return {literal(SECRET_WORDS)};\n}}\n",
    absent={
        "types": "the program queries types 0, 100 and 101, which report attacks of all types",
        "attack_list": "the deny list is a data stream that can be disabled",
        "allow_early": "a lag below 30m is accepted",
        "admin_version": "the program uses v5, or v4 if ABS has no v5",
        "mongodb": "an agent has no MongoDB client",
        "ddos_limit": "an agent has no MongoDB client",
        "attack_log": "the file input has Paths",
    },
)
