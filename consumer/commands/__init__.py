"""What on-call types, one module for each."""
