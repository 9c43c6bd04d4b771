"""The content service: what it answers, and from where."""
