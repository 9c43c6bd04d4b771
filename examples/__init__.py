"""Admin tools as their users would write them: plain SQL on catalog.*, and no word of events."""
