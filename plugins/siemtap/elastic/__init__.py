"""Elasticsearch, OpenSearch, Kibana and Elastic's integration packages."""
