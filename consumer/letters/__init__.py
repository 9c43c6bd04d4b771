"""Dead letters: set aside, requeued, discarded."""
