"""Clients of a vendor's API, and readers of files."""
