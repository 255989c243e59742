"""The answers of HEC, and what each of its codes means for the events.

Codes: Splunk, Getting Data In, "Troubleshoot HTTP Event Collector", section "Possible error codes".
"""

from __future__ import annotations

import re
from typing import Dict, FrozenSet, NamedTuple, Optional, Tuple

from ...core.errors import AuthError, ConfigError, Malformed, Retry, SiemtapError
from ...core.windows import Millis
from ...edge.client.messages import Reply
from ...edge.client.replies import parse_retry_after

SUCCESS = 0
NO_DATA = 5  # to a valid token: the answer to an empty request
INCORRECT_INDEX = 7
CHANNEL_MISSING = 10
INVALID_CHANNEL = 11
ACK_DISABLED = 14
HEALTHY = 17
# 24, 25: the events are accepted, and a queue or the acknowledgements are near their limit
ACCEPTED: FrozenSet[int] = frozenset((SUCCESS, 24, 25))
# disabled, missing, in another form, unknown; 16: in the URL; 21, 22: as the health endpoint says
TOKEN: FrozenSet[int] = frozenset((1, 2, 3, 4, 16, 21, 22))
# One of the events is the reason: format, no `event`, a blank one, `fields`.
EVENT: FrozenSet[int] = frozenset((6, 12, 13, 15))
MAX_LENGTH = 300  # characters of a server's text in an error
# A cookie of `Set-Cookie` headers, which are joined by commas: its name stands at the start.
COOKIE = re.compile(r"(?:^|,)[ \t]{0,9}([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}=[^;,\s]{0,4096})")
STRANGE = "the answer is not one of HEC; check whether `hosts` is HEC, or a proxy in front of it"


class Answer(NamedTuple):
    """An answer of HEC. `code`: None if it has none, as one of a proxy."""

    status: int
    code: Optional[int] = None
    text: str = ""
    invalid_event: Optional[int] = None  # index of the first event that is invalid, from 0
    ack_id: Optional[int] = None
    cookies: str = ""  # what a load balancer wants to be sent along
    retry_after: Millis = 0

    @property
    def is_accepted(self) -> bool:
        return self.status == 200 and self.code in ACCEPTED

    @property
    def blames_events(self) -> bool:
        """Return whether the size of the request, or one of its events, is the reason."""
        return self.status == 413 or self.code in EVENT

    def __str__(self) -> str:
        code = "" if self.code is None else f" code {self.code}"
        return f"{self.status}{code}{': ' if self.text else ''}{self.text}"


def parse(reply: Reply, now: Millis) -> Answer:
    """Return HEC's answer in a reply of any form."""
    body = object_of(reply) or {}
    text = body.get("text")
    return Answer(
        status=reply.status,
        code=_whole(body.get("code")),
        text=text[:MAX_LENGTH] if isinstance(text, str) else "",
        invalid_event=_whole(body.get("invalid-event-number")),
        ack_id=_whole(body.get("ackId")),
        cookies="; ".join(COOKIE.findall(reply.headers.get("set-cookie", ""))),
        retry_after=parse_retry_after(reply.headers.get("retry-after"), now),
    )


def object_of(reply: Reply) -> Optional[Dict[str, object]]:
    """Return the JSON object of a reply; None if its body is none."""
    try:
        body = reply.json()
    except (ValueError, RecursionError, Malformed):
        return None
    return body if isinstance(body, dict) else None


def _whole(value: object) -> Optional[int]:
    """Return a number from 0 on; None for anything else."""
    return value if type(value) is int and value >= 0 else None


def error_from(answer: Answer, doing: str) -> SiemtapError:
    """Return the error that an answer means which does not accept the events.

    `doing` says what was attempted, and where.
    """
    text = f"{doing}: {answer}"
    after, status = answer.retry_after, answer.status
    # 8, 9, 18 to 20, 23, 26, 27: an internal error, busy, unhealthy, shutting down, a queue is full
    if status in (408, 425, 429) or status >= 500:
        return Retry(text, after=after, status=status)
    if answer.code in TOKEN or (answer.code is None and status == 401):
        return AuthError(f"{text}; check `token` of output.splunk_hec", status=status)
    message = _CONFIG.get((status, answer.code)) or _CONFIG.get((0, answer.code))
    if answer.code is None:
        message = _CONFIG.get((status, None))
    if message:
        return ConfigError(f"{text}; {message}", status=status)
    if answer.code is None:
        text += f"; {STRANGE}"
    return Retry(text, after=after, status=status)


# (HTTP status, code) -> what a person must change; status 0: any
_CONFIG: Dict[Tuple[int, Optional[int]], str] = {
    (0, INCORRECT_INDEX): (
        "allow the index for the token in Splunk, or change `index` of the input or the output"
    ),
    (0, CHANNEL_MISSING): (
        "the token demands indexer acknowledgement: set `ack: true`, or turn it off in Splunk"
    ),
    (0, ACK_DISABLED): (
        "the token has no indexer acknowledgement: turn it on in Splunk, or set `ack: false`"
    ),
    (404, None): "there is no HEC at this address; check `hosts`",
    (405, None): "there is no HEC at this address; check `hosts`",
    (415, None): "the server does not take gzip: set `compression_level: 0`",
}
_CONFIG[404, 404] = _CONFIG[404, None]  # Splunk repeats the status as code for unknown paths
