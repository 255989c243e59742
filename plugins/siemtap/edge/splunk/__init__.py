"""The form of an event in Splunk, the same from an add-on and from the output `splunk_hec`."""
