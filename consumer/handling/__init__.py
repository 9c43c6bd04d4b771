"""What is done with events: in lanes, or batch by batch."""
