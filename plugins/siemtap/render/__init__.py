"""Documents rendered from manifests and tables: schemas, reference pages, panels."""
