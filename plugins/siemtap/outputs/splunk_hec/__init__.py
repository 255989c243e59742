"""The output `splunk_hec`: events for Splunk's HTTP Event Collector (HEC)."""
