"""Redis, wherever REDIS_URL says it is."""
