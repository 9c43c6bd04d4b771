"""Whether the server lives and serves, decided from what is known."""

from __future__ import annotations

from dataclasses import dataclass

from process.health import Condition, Health


@dataclass(frozen=True, slots=True)
class Known:
    """What the process knows of itself, of the database and of the feed."""

    looked_s_ago: float | None
    """Since the database last answered; None if it never has."""
    is_built: bool
    """The feed has items to serve, or is known to have none."""
    lag_s: float
    """Of the feed, when the database last answered."""
    draining: bool = False
    ended: tuple[str, ...] = ()
    """What is no longer running in this process and should be."""


def health_of(known: Known, *, max_lag_s: float, max_silence_s: float) -> Health:
    """Ready while the feed is no more than *max_lag_s* behind, as far as the database says."""
    return Health(
        live=(_parts(known),),
        ready=(_draining(known), _database(known, max_silence_s), _feed(known, max_lag_s)),
    )


def _parts(known: Known) -> Condition:
    if known.ended:
        return Condition("parts", holds=False, reason=f"ended: {', '.join(known.ended)}")
    return Condition("parts", holds=True, reason="all are running")


def _draining(known: Known) -> Condition:
    reason = "shutting down" if known.draining else "not shutting down"
    return Condition("stays", holds=not known.draining, reason=reason)


def _database(known: Known, max_silence_s: float) -> Condition:
    if known.looked_s_ago is None:
        return Condition("database", holds=False, reason="PostgreSQL has not answered yet")
    if known.looked_s_ago > max_silence_s:
        # Without the figure: the log has one line for each reason, not one a second.
        return Condition("database", holds=False, reason="PostgreSQL does not answer")
    return Condition("database", holds=True, reason="PostgreSQL answers")


def _feed(known: Known, max_lag_s: float) -> Condition:
    if not known.is_built:
        return Condition("feed", holds=False, reason="the feed is not built yet")
    if known.lag_s > max_lag_s:
        reason = f"the feed is more than {max_lag_s:.0f} s behind"
        return Condition("feed", holds=False, reason=reason)
    return Condition("feed", holds=True, reason="the feed is up to date")
