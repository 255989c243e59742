"""Receivers: the webhook, the spool, the ids of what was delivered."""
