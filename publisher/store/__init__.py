"""What Redis is asked, and what it answers."""
