"""The relay from the outbox into the Redis Stream."""
