"""Splunk: what builds an add-on."""
