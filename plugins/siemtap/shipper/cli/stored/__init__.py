"""Commands for what is stored: events, checkpoints, rejected events, queues; and the audit."""
