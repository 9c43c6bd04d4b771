"""How things are: what both servers know, put together."""
