"""Measurements of the programs beside what one would otherwise write: `make bench`."""
