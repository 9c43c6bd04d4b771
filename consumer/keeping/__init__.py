"""What a consumer keeps in its own store."""
