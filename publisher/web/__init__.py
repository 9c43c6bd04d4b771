"""Health and metrics, for probes and Prometheus."""
