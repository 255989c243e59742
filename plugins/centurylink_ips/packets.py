"""The printable form of a captured packet, without the secrets of an HTTP message.

A packet is a piece of a stream: it may begin and end anywhere. `packet_text` of
`elastic/mapping.painless` implements the same rules.
"""

from __future__ import annotations

import re
from typing import Pattern

REDACTED = "REDACTED"
UNPRINTABLE = re.compile(r"[^\x20-\x7e\s]+")
SIGN = re.compile(r"[:=]")
# in front of the sign: of a header, `Cookie: …`, or of a parameter, `token=…`, `user[password]=…`
NAME = re.compile(r"""([A-Za-z0-9_\[\]%-]{1,64})["']?[ \t]{0,9}\Z""")
WIDEST = 64 + 1 + 9  # characters of it
USER = re.compile(r"""(?<=://)[^\x00-\x20/?#"'<>]{1,256}@""")  # and password, of a URL
SECRET_WORDS = (
    "cookie",
    "token",
    "secret",
    "passw",
    "session",
    "apikey",
    "api-key",
    "api_key",
    "credential",
    "jwt",
)
SECRET_NAMES = ("sid", "pass", "pwd")
# Names that a packet may hold the end of.
CUT = re.compile(r"[ \t]{0,9}([A-Za-z0-9_-]{0,64})[ \t]{0,9}([:=])")
CUT_NAMES = (
    "set-cookie",
    "proxy-authorization",
    "x-api-key",
    "api_key",
    "x-auth-token",
    "client_secret",
    "password",
    "session_id",
    "jsessionid",
)
# What a message or a whole harmless header begins with. Anything else before headers is the rest of
# an unknown header.
START = re.compile(
    r"(?:GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|TRACE|CONNECT|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE"
    r"|LOCK|UNLOCK|SEARCH|REPORT) |(?:HTTP|RTSP|SIP)/|(?:Accept|Accept-Encoding|Accept-Language"
    r"|Cache-Control|Connection|Content-Length|Content-Type|Date|Host|Origin|Referer|Server"
    r"|User-Agent|X-Forwarded-For): "
)
VERSION = re.compile(r" HTTP/[0-9](?:\.[0-9])?")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}[ \t]{0,9}:")
GAP = re.compile(r"[ \t]{0,9}")
LINE_BREAK = re.compile(r"[\r\n]")
END_OF_VALUE = re.compile(r"[&; \t\r\n]")
END_OF_QUOTED = {'"': re.compile(r'["\r\n]'), "'": re.compile(r"['\r\n]")}


def printable(content: bytes, longest: int) -> str:
    """Return the first `longest` bytes of a packet as text: secrets REDACTED, what cannot be
    printed a dot."""
    text = redact(content[:longest].decode("latin-1"))
    return UNPRINTABLE.sub(".", text)[:longest].strip()


def redact(text: str) -> str:
    """Return a text with REDACTED in place of the values of secret headers and parameters, and of
    user and password in URLs."""
    text = USER.sub(f"{REDACTED}@", text)
    parts = []
    begin = shown = _end_of_cut(text)
    if shown:
        parts.append(REDACTED)
    while sign := SIGN.search(text, begin):
        place = sign.start()
        name = NAME.search(text, max(begin, place - WIDEST), place)
        begin = place + 1
        if not name or not is_secret(name[1].lower()):
            continue
        is_header = sign[0] == ":"
        start = begin if is_header else _begin_of_value(text, begin)
        end = _end_of_line(text, start) if is_header else _end_of_value(text, start)
        if text[start:end].strip():
            parts += [text[shown:start], f" {REDACTED}" if is_header else REDACTED]
            begin = shown = end
    return "".join([*parts, text[shown:]])


def is_secret(name: str) -> bool:
    """Return whether the name, in lower case, is that of a secret."""
    if "auth" in name and ("author" not in name or "authoriz" in name):
        return True
    return name in SECRET_NAMES or any(word in name for word in SECRET_WORDS)


def _end_of_cut(text: str) -> int:
    """Return the end of the header or parameter in whose middle a packet begins; 0 if it does
    not."""
    line = text[: _place_of(LINE_BREAK, text, 0)]
    if START.match(line):
        return 0
    if VERSION.fullmatch(line[line.rfind(" ") :]):
        return _place_of(END_OF_VALUE, text, 0)
    end = _end_of_line(text, 0)
    rest = text[end : end + 90]
    is_end_of_headers = rest == "\r\n" or rest.startswith("\r\n\r\n")
    if is_end_of_headers or HEADER.match(rest.lstrip("\r\n")):
        return end
    cut = CUT.match(line)
    if not cut or not any(name.endswith(cut[1].lower()) for name in CUT_NAMES):
        return 0
    return end if cut[2] == ":" else _end_of_value(text, _begin_of_value(text, cut.end()))


def _end_of_line(text: str, start: int) -> int:
    """Return where a header ends that may go on in lines that begin with a blank."""
    end = _place_of(LINE_BREAK, text, start)
    while end < len(text):
        after = end + 2 if text.startswith("\r\n", end) else end + 1
        if text[after : after + 1] not in (" ", "\t"):
            break
        end = _place_of(LINE_BREAK, text, after)
    return end


def _begin_of_value(text: str, start: int) -> int:
    """Return where the value of a parameter begins, whose sign may be between blanks."""
    gap = GAP.match(text, start) if text[start - 2 : start - 1] in (" ", "\t") else None
    return gap.end() if gap else start


def _end_of_value(text: str, start: int) -> int:
    """Return where the value of a parameter ends."""
    quote = text[start : start + 1]
    if quote not in END_OF_QUOTED:
        return _place_of(END_OF_VALUE, text, start)
    end = _place_of(END_OF_QUOTED[quote], text, start + 1)
    return end + 1 if text[end : end + 1] == quote else end


def _place_of(pattern: Pattern[str], text: str, start: int) -> int:
    """Return where a pattern is found first; the end of the text if it is not."""
    match = pattern.search(text, start)
    return match.start() if match else len(text)
