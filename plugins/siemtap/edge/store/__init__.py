"""Stores in SQLite: checkpoints and rejected events."""
