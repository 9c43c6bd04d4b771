"""How long to wait before the next pass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pacing:
    """Pauses between passes, in seconds."""

    busy_pause_s: float = 0.001
    """After a tick was made: leaves the disk to the writers, makes ticks larger."""
    poll_pause_s: float = 0.005
    """After a look that found nothing, while nobody would ring."""
    backstop_s: float = 1.0
    """How long the ticker sleeps at most, however quiet the doorbell."""
    quiet_check_s: float = 1.0
    """How often a worker with nothing to do looks whether its stream is as it left it."""
    lease_s: float = 3.0
    """For how long a lease holds that is not renewed."""
    renew_s: float = 1.0
    """How often a member that leads every stream renews its leases."""
    stand_by_s: float = 0.4
    """How often another one does, and looks for more."""
    give_up_s: float = 10.0
    """After so long without Redis a stream is left to another process, for as long again."""
    backoff_base_s: float = 0.1
    backoff_cap_s: float = 10.0


def pause_after_failure(failures: int, pacing: Pacing, *, dice: float) -> float:
    """Exponential with full jitter, in seconds; *dice* is in [0, 1)."""
    ceiling = min(pacing.backoff_cap_s, pacing.backoff_base_s * 2.0 ** min(failures - 1, 32))
    return ceiling * dice
