"""Reads the streams: consumer groups that handle each event, in order per entity."""
