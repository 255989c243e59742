"""The search of the embedded store: `siemtap events`, and the same on the status page."""
