"""How long a client waits, and how often it tries again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Durations in seconds."""

    attempts: int = 10
    """Calls in a row that bring no chunk, before it gives up."""
    attempt_s: float = 300.0
    """For one call; the next one goes on where it ended."""
    silence_s: float = 45.0
    """Without a chunk, before a call is taken for dead. Above what a server waits for at_least."""
    backoff_base_s: float = 0.1
    backoff_cap_s: float = 10.0
    crowded_base_s: float = 1.0
    """After the service said that it has too much to do."""
    crowded_cap_s: float = 60.0


def pause_before_retry(
    failures: int, patience: Patience, *, crowded: bool, asked_s: float = 0.0, dice: float
) -> float:
    """Exponential with full jitter, in seconds; *dice* is in [0, 1).

    Never below *asked_s*, what the service asked for; jittered above it, or all would be back at
    the same moment.
    """
    base = patience.crowded_base_s if crowded else patience.backoff_base_s
    cap = patience.crowded_cap_s if crowded else patience.backoff_cap_s
    return asked_s + min(cap, base * 2.0 ** min(failures - 1, 32)) * dice
