"""What on-call types: one module for each command of ``python -m publisher``."""
