"""Reading a stream: the lease, the group, and what is in hand."""
