"""`siemtap setup` and `siemtap test output`."""
