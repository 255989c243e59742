"""Texts of others for a terminal or a log: what a vendor, a cluster or an attacker wrote cannot
move the cursor, set a title, turn the line around or forge another line."""

from __future__ import annotations

import re

# C0 and C1 controls, line separators, marks of writing direction, halves of surrogate pairs
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
NAMES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: object, lines: bool = False) -> str:
    """Return a text with its controls escaped, such as \\n, \\x1b and \\u202e.

    lines: keep the line ends of a text that has lines of ours; what follows is indented, so that it
    does not look like a line of a log.
    """
    if lines:
        return "\n    ".join(printable(line) for line in str(text).split("\n"))
    return UNSAFE.sub(_escape, str(text))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return NAMES.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def escape_markup(text: str) -> str:
    """Return the text for a terminal table: control characters replaced, markup escaped.

    Attackers write into these texts, and a terminal obeys control characters.
    """
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return shown.replace("[", "\\[")
