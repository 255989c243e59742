"""What Elastic's package needs beside the manifest and the mapping: how events come to an agent,
and the converters once more, in Painless."""

from __future__ import annotations

from pathlib import Path

from siemtap.render.package import Package, Stream, Way
from siemtap.render.painless import literal

from .attack_types import STEMS, TYPES
from .redaction import BY_NAME, HARMLESS, PAGE, SECRET_WORDS, URLS

HERE = Path(__file__).parent / "elastic"
ACCOUNT = ("url", "role", "access_key", "secret_key", "authorization", "timezone")
NEEDED = ("url", "access_key", "secret_key")
WALK = ("interval", "lookback", "lag", "overlap", "max_query_range", "apis", "exclude_apis")
SAID = ("ase_blocking", "hash_identifiers")


# What the programs share, by the word that stands for it there.
SHARED = {
    "$pieces": (HERE / "pieces.cel").read_text(encoding="utf-8").rstrip(),
    "$entries": (HERE / "entries.cel").read_text(encoding="utf-8").rstrip(),
    # a moment as ABS's clock on the wall shows it, to the minute
    "$wall(moment)": (
        "[moment.getFullYear(state.timezone), moment.getMonth(state.timezone) + 1,"
        " moment.getDate(state.timezone), moment.getHours(state.timezone),"
        ' moment.getMinutes(state.timezone)].map(part, (part < 10 ? "0" : "") +'
        ' string(part)).as(part, part[0] + "-" + part[1] + "-" + part[2] + "T" + part[3] + ":" +'
        " part[4])"
    ),
    # a success that says it failed
    "$refused(said)": (
        '["error", "errors", "message"].exists(word, word in said && !(said[word] in [null, "",'
        ' false])) && !keys(said).exists(key, key in ["attack_type", "ioc_type", "description",'
        ' "company", "name", "api_name", "earlier_date", "later_date", "cookie", "api_key",'
        ' "token", "ddos_info", "ips", "cookies", "access_tokens", "oauth_tokens", "tokens",'
        ' "api_keys", "apikeys", "usernames", "users"])'
    ),
}


def program(name: str) -> str:
    source = (HERE / f"{name}.cel").read_text(encoding="utf-8")
    for word, meant in SHARED.items():
        source = source.replace(word, meant)
    return source


TABLE = {str(id): list(of) for id, of in TYPES.items()}
BY_STEM = {f"{stem} {number}": list(map(str, ids)) for (stem, number), ids in STEMS.items()}

PACKAGE = Package(
    {
        "pingintelligence.attack": Stream(
            (
                Way("cel", ACCOUNT, (*WALK, "attack_version", *SAID), program("attack"), NEEDED),
                Way("filestream", (), ("url", *SAID, "role")),
                Way("tcp", (), ("url", *SAID, "role"), port=9_515),
            ),
            "shape_b_consolidated",
            "read_attack",
            ("timezone", "role", "hash_identifiers"),
        ),
        "pingintelligence.attacklist": Stream(
            (Way("cel", ACCOUNT, ("interval", "hash_identifiers"), program("attacklist"), NEEDED),),
            "attack_list_first_look",
        ),
        "pingintelligence.report": Stream(
            (
                Way(
                    "cel",
                    ACCOUNT,
                    ("interval", "lag", "reports", "report_details", "apis", "exclude_apis"),
                    program("report"),
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
)
