"""Playback and pages of the catalog for the API Gateway, the cache, and the invalidator."""
