"""The server around the service: who may call, health, TLS, metrics, and how it ends."""
