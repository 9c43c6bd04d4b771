"""What becomes of a message to the webhook."""

from enum import StrEnum


class Outcome(StrEnum):
    """How it ended."""

    SENT = "sent"
    FAILED = "failed"
    """It was refused, or every attempt failed."""
    DROPPED = "dropped"
    """Too many were waiting."""
