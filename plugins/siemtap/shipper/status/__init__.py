"""The status page of a shipper, and its metrics for Prometheus."""
