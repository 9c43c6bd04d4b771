"""The invalidator, and who is told what it has purged."""
