"""A reference consumer: what of the catalog is busy, as a sorted set in Redis."""
