"""The configuration file siemtap.yml."""
