"""Sockets, files and the clock. Pure Python for Linux and Windows, so that a Splunk add-on can
include it."""
