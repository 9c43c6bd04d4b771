"""Pages in Redis, and what is kept beside them so that none outlives its purge."""
