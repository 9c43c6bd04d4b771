"""PostgreSQL and Valkey out of their wheels, for development, tests and benchmarks."""
