"""Consumers to run and to copy from, and what they share."""
