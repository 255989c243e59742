"""Syslog listeners over UDP, TCP and TLS. A Splunk add-on does not carry them: AppInspect refuses a
UDP socket in one."""
