"""What on-call types about the feed."""
