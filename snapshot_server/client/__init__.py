"""A client of the content service: a sync that goes on whatever breaks, and is verified."""
