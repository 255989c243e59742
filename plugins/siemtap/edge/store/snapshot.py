"""The file of checkpoints and events, opened for reading only, beside a shipper that writes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Generator, List, Sequence, Tuple

from ...core.errors import ConfigError, Retry
from .migrations import check_version


class Snapshot:
    """A SQLite file that is read and never written. `read` is that of `Database`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise ConfigError(
                f"there is no {path} yet: start `siemtap run` first, or check `path.data`"
            )
        try:
            self.db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
            try:
                self.db.execute("SELECT count(*) FROM mark").fetchone()
                check_version(self.db, path)
            except BaseException:
                self.db.close()
                raise
        except sqlite3.Error as error:
            raise self._error_from(error) from None

    def read(self, sql: str, values: Sequence[Any] = ()) -> List[Tuple[Any, ...]]:
        """Return the rows of a query."""
        try:
            return self.db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._error_from(error) from None

    def each(self, sql: str, values: Sequence[Any] = ()) -> Generator[Tuple[Any, ...], None, None]:
        """Yield the rows of a query, which need not fit in memory together.

        The shipper cannot truncate its write-ahead log before the last row is taken, or the
        iterator is closed.
        """
        try:
            cursor = self.db.execute(sql, values)
            try:
                yield from cursor
            finally:
                cursor.close()
        except sqlite3.Error as error:
            raise self._error_from(error) from None

    def has_table(self, name: str) -> bool:
        return bool(
            self.read("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [name])
        )

    def close(self) -> None:
        self.db.close()

    def _error_from(self, error: sqlite3.Error) -> Exception:
        if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
            return Retry(f"{self.path} cannot be read: {error}; check its rights, and try again")
        return ConfigError(f"{self.path} is damaged or not of siemtap ({error})")
