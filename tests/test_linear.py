"""The time that a record takes grows with its length, not faster: attackers choose header texts and
addresses."""

import ast
import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import regex_growth

from apptrana.manifest import Settings
from apptrana.mapping import ATTACK
from apptrana.redaction import headers, raw_headers, redact_header_text, unpaired
from siemtap.core.compile import bind
from siemtap.core.convert import CONVERSION_ERRORS, any_time, endpoint, ip, mac
from siemtap.core.errors import Malformed
from siemtap.core.formats import cef, leef, syslog
from siemtap.core.manifest import fill_in

ROOT = Path(__file__).parents[1]
PLUGINS = ROOT / "plugins"
FLAGS = {"i": re.I, "m": re.M, "s": re.S}
FLAG_NAMES = {r"re\.I": re.I, r"re\.M": re.M, r"re\.(?:S|DOTALL)\b": re.S}
SCANS = ("search", "sub", "subn", "split", "findall", "finditer")
COMPILED = re.compile(r"/((?:[^/\\\n]|\\.)+)/([ims]*)\.(matcher|split)\(|=~ /((?:[^/\\\n]|\\.)+)/")


class Expression(NamedTuple):
    """A regular expression of the source. `scans`: it is tried at every place of a text."""

    place: str
    pattern: str
    flags: int
    scans: bool


def in_python():
    """Yield the expressions that Python code has as a text."""
    for path in sorted(PLUGINS.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            pattern = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            if isinstance(pattern, bytes):
                pattern = pattern.decode("latin-1")
            function = ast.unparse(node.func)
            is_of_re = function.startswith("re.") and function != "re.escape"
            if not isinstance(pattern, str) or not (is_of_re or function == "match"):
                continue
            more = " ".join(map(ast.unparse, [*node.args[1:], *node.keywords]))
            flags = sum(flag for name, flag in FLAG_NAMES.items() if re.search(name, more))
            yield Expression(
                f"{path.relative_to(PLUGINS)}:{node.lineno}",
                pattern,
                flags,
                function.removeprefix("re.") in SCANS or _is_scanned(source, node),
            )


def _is_scanned(source, call):
    """Tell whether the file scans with the constant that a call of re.compile makes."""
    line = source.splitlines()[call.lineno - 1]
    name = re.match(r"\s*(\w+) = re\.compile", line)
    return bool(name) and bool(re.search(rf"\b{name[1]}\.(?:{'|'.join(SCANS)})\(", source))


def in_painless():
    """Yield the expressions of the functions for ingest pipelines."""
    for path in sorted(PLUGINS.rglob("*.painless")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            for match in COMPILED.finditer(line):
                nearby = " ".join(lines[number : number + 3])
                pattern = (match[1] or match[4]).replace("\\/", "/")
                scans = match[3] == "split" or match[4] is not None
                yield Expression(
                    f"{path.relative_to(PLUGINS)}:{number + 1}",
                    pattern,
                    sum(FLAGS[flag] for flag in match[2] or ""),
                    scans or "find()" in nearby or "replaceAll" in nearby,
                )


EXPRESSIONS = [*in_python(), *in_painless()]
# Files whose expressions may take longer, and why
EXEMPT = {
    "siemtap/core/compile/paths.py": "reads the paths of a mapping table",
    "siemtap/elastic/painless.py": "reads the functions of this repository",
    "siemtap/testing/contract.py": "reads the README of a plugin, line by line",
    "siemtap/render/reference.py": "reads the help texts of this repository",
}
# RFC 5424: a quote that is not escaped ends each value, so each has one way to be read
STRUCTURED_DATA = syslog.ELEMENT.pattern


def test_the_source_has_expressions():
    assert len(EXPRESSIONS) > 120 and sum(item.scans for item in EXPRESSIONS) > 30
    assert all(
        any(regex_growth.reasons(*item[1:]) for item in EXPRESSIONS if item.place.startswith(file))
        for file in EXEMPT
    )


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda expression: expression.place)
def test_no_expression_takes_more_than_linear_time(expression):
    file = expression.place.partition(":")[0]
    if file in EXEMPT or expression.pattern == STRUCTURED_DATA:
        return
    reasons = regex_growth.reasons(expression.pattern, expression.flags, expression.scans)
    assert not reasons, f"{expression.pattern}: {reasons}"


@pytest.mark.parametrize(
    "pattern, scans",
    [
        (r"(a+)+b", False),
        (r"(a|a)*b", False),
        (r"(?:a|ab?)*c", False),
        (r"a*a*b", False),
        (r"\s*\\*[\"']?\s*[:=]", False),
        (r".*:.*:.*x", False),
        (r"\s+$", True),
        (r'"([^"]+)"\s*:\s*"(.*?)"\s*(?:,|$)', True),
    ],
)
def test_expressions_that_take_longer_are_noticed(pattern, scans):
    assert regex_growth.reasons(pattern, re.S, scans)


PIECES = (
    '"',
    '"a":"b',
    '"a":"b"',
    '"a" : "b" ; ',
    '":"',
    '"a":1,',
    '"a":"1",',
    "\\",
    "cookie ",
    'cookie"',
    "cookie\\",
    " ",
    "[",
    "{",
    "a@",
    "http://",
    "::ffff:",
    "1.2.3.4,",
    "1.2.3.4:5, ",
    "0",
    ".1",
    "|",
    "a=b ",
    "a=",
    '[a b="',
    "<1>",
    "1 ",
    "\t",
)
SETTINGS = fill_in(Settings, {"client_id": "x", "client_secret": "y"})
MAP_RECORD = bind(ATTACK, SETTINGS)
SECRET = SETTINGS.redact_headers


def map_attack(text):
    names = ("attackerIP", "requestHeader", "attackUri", "target", "attackData", "tlsVersion")
    return MAP_RECORD({"attackTime": "2026-03-04T10:02:13Z", **dict.fromkeys(names, text)}, 0)


def read(parse):
    def quietly(text):
        try:
            return parse(text)
        except (*CONVERSION_ERRORS, Malformed):
            return None

    return quietly


READERS = {
    "attack": map_attack,
    "headers": lambda text: headers(text, SECRET),
    "raw headers": lambda text: raw_headers(text, SECRET),
    "header text": lambda text: redact_header_text(text, SECRET),
    "text": lambda text: unpaired(text, SECRET),
    "ip": ip,
    "mac": read(mac),
    "endpoint": endpoint,
    "time": read(any_time),
    "syslog": syslog.parse_line,
    "syslog after a header": lambda text: syslog.parse_line(f"<1>1 - h a - - {text}"),
    "cef": read(lambda text: cef.parse(f"CEF:0|a|b|c|d|e|f|{text}")),
    "cef header": read(lambda text: cef.parse(f"CEF:{text}")),
    "leef": read(lambda text: leef.parse(f"LEEF:1.0|a|b|c|d|{text}")),
}


def seconds(read_text, text, times=1):
    """Return the best of some times."""
    measured = []
    for _ in range(times):
        begin = time.process_time()
        read_text(text)
        measured.append(time.process_time() - begin)
    return min(measured)


def grows_too_fast(read_text, half, end):
    """Tell whether four times the text takes more than nine times the time, three times in a row:
    linear is four, quadratic sixteen, and a busy machine makes noise. What takes a moment only is
    not measured again: noise would be more of it than the text."""
    whole, quarter = half + half + end, half[: len(half) // 2] + end
    once = seconds(read_text, whole)
    if once < 0.05 or once > 3:
        return once > 3  # a hundred times what the slowest takes
    return all(
        seconds(read_text, whole, times=3) > 9 * seconds(read_text, quarter, times=3)
        for _ in range(3)
    )


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("end", ["", "x", '"'])
def test_four_times_the_text_takes_at_most_about_four_times_the_time(reader, end):
    for piece in PIECES:
        half = piece * (20_000 // len(piece))
        assert not grows_too_fast(READERS[reader], half, end), piece
