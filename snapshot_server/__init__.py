"""The snapshot server: a projector keeps the catalog as encoded items, a service sends them."""
