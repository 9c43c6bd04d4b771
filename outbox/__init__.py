"""The transactional outbox: events, ticks and positions, and how they are read."""
