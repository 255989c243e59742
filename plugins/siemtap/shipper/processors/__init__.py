"""The setting `processors`: what is done with events between their mapping and the schema check, in
the names and the grammar of Filebeat. Compiled once, when an input starts."""
