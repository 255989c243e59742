"""`siemtap run` as a service of Windows."""
