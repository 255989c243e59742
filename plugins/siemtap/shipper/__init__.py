"""The shipper: a process that runs inputs into one output."""
