"""`siemtap audit`: read the vendors again and compare them with the output."""
