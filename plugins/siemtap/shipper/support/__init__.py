"""The archive of `siemtap support`, for a bug report: nothing secret, and no events."""
