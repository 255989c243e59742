"""Formats that several vendors send: syslog, CEF, LEEF."""
