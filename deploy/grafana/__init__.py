"""Dashboards: TOML that people change, and the JSON that Grafana reads."""
