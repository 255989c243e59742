"""What the server answers with, and the pages that take a while: few at a time, none for long."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterable, Mapping, NamedTuple, Tuple
from urllib.parse import parse_qs

from ...core.errors import ConfigError

WORKERS = 2  # searches at the same time; each has a thread
WAITING = 8  # further ones that wait for a thread
SECONDS = 5.0  # that a search may take
MOST_FIELDS = 100  # of a query string
MOST_CHARACTERS = 1_000  # of a field

Fields = Mapping[str, Tuple[str, ...]]  # of a query string; without empty ones


class Answer(NamedTuple):
    """Status, content type and body."""

    status: int
    kind: str
    body: bytes


def html_answer(parts: Iterable[str], status: int = 200) -> Answer:
    """Return a page."""
    return Answer(status, "text/html", "".join(parts).encode("utf-8", "replace"))


def text_answer(status: int, text: str) -> Answer:
    """Return a sentence."""
    return Answer(status, "text/plain", f"{text}\n".encode("utf-8", "replace"))


def fields_of(query: bytes) -> Fields:
    """Return the fields of a query string. Raise ConfigError if they are too many or too long."""
    try:
        fields = parse_qs(query.decode("latin-1"), max_num_fields=MOST_FIELDS)
    except ValueError:
        raise ConfigError(f"an address has at most {MOST_FIELDS} fields") from None
    for name, values in fields.items():
        if any(len(value) > MOST_CHARACTERS for value in values):
            raise ConfigError(f"{name[:20]} is longer than {MOST_CHARACTERS:,} characters")
    return {name: tuple(values) for name, values in fields.items()}


class SlowAnswers:
    """Makes answers in threads of their own, so that the page goes on answering meanwhile."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="page-search")
        self.number = 0  # that run or wait; only the event loop changes it

    async def make(self, work: Callable[[], Answer]) -> Answer:
        """Return what `work` returns, or a 503 if too many others wait."""
        if self.number >= WORKERS + WAITING:
            return text_answer(503, "too many searches wait; try again in a few seconds")
        self.number += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        finally:
            self.number -= 1

    def close(self) -> None:
        """Begin no further one. A running one ends within SECONDS."""
        self.pool.shutdown(wait=False, cancel_futures=True)
