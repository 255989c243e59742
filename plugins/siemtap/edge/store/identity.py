"""The identity of a data folder: made at the first request, kept in siemtap.db, and so copied with
it."""

from __future__ import annotations

import sqlite3
import uuid

from .checkpoints import Database


def identity(database: Database) -> str:
    """Return 32 hex digits that stay the same for this file."""
    return str(database.write(_identity))


def _identity(db: sqlite3.Connection) -> str:
    db.execute("CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL)")
    row = db.execute("SELECT id FROM identity").fetchone()
    if row:
        return str(row[0])
    id = uuid.uuid4().hex
    db.execute("INSERT INTO identity (id) VALUES (?)", [id])
    return id
