"""Splunk: what an add-on carries, and what builds it."""
