"""Manifest + mapping -> text or data, for whoever reads it. Pure: nothing here opens a file."""
