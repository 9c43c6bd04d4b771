"""The feed: what it is made of, who keeps it, and whether it is right."""
