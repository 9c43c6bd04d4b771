"""A reference consumer: how much of the catalog changes, minute by minute, in PostgreSQL."""
