"""Whether the stream holds what it should, and what became of one event."""
