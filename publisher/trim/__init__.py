"""How much of a stream may go, and letting it go."""
