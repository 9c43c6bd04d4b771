"""The catalog first, then the stream."""
