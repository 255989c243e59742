"""The world: sockets, files, the clock. Pure Python, Linux and Windows, so that a Splunk bundle
can carry it."""
