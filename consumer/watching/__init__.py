"""How a consumer is watched: log, metrics, lag, traces."""
