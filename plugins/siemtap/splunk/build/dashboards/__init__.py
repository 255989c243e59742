"""The dashboards of an add-on."""
