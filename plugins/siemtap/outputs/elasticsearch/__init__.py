"""The outputs `elasticsearch` and `opensearch`."""
