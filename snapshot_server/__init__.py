"""The snapshot server: a projector keeps the catalog as encoded items, a gRPC service sends them."""
