"""Trend Vision One: Workbench alerts and Observed Attack Techniques, pulled from its API."""

from .plugin import PLUGIN

__all__ = ["PLUGIN"]
