"""Indusface AppTrana WAF: attack log and audit log, pulled through the SIEM API."""

from .plugin import PLUGIN

__all__ = ["PLUGIN"]
