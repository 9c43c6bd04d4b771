"""Whether the publisher lives and gets on, decided from what is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from process.health import Condition, Health

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Known:
    """What the process knows of itself and of the outbox."""

    checked: bool
    """The checks at the start are done, and none refused."""
    leads: tuple[str, ...]
    """The streams whose lease it holds."""
    stands_by: bool
    """It would take a lease that came free."""
    oldest_unpublished_s: float | None
    """At the last look; None if nothing waited."""
    looked_s_ago: float | None
    """None before the first look."""
    paused: str | None = None
    """Why, if somebody paused it."""
    back_pressure: Mapping[str, str] = field(default_factory=dict)
    """The reason for each stream that cannot be appended to."""
    ended: tuple[str, ...] = ()
    """Workers that are no longer running and should be."""


def health_of(known: Known, *, max_age_s: float) -> Health:
    """Ready while no unpublished event can be older than *max_age_s*."""
    return Health(
        live=(_workers(known),),
        ready=(_checks(known), _role(known), _progress(known, max_age_s)),
        also={"paused": known.paused, "backPressure": known.back_pressure},
    )


def _workers(known: Known) -> Condition:
    if known.ended:
        return Condition("workers", holds=False, reason=f"ended: {', '.join(known.ended)}")
    return Condition("workers", holds=True, reason="all are running")


def _checks(known: Known) -> Condition:
    reason = "done" if known.checked else "not done yet"
    return Condition("checks", holds=known.checked, reason=reason)


def _role(known: Known) -> Condition:
    if known.leads:
        return Condition("role", holds=True, reason=f"leads {', '.join(known.leads)}")
    if known.stands_by:
        return Condition("role", holds=True, reason="stands by")
    return Condition("role", holds=False, reason="holds no lease and does not stand by for one")


def _progress(known: Known, max_age_s: float) -> Condition:
    if known.paused is not None:
        return Condition("progress", holds=True, reason=f"paused: {known.paused}")
    if known.looked_s_ago is None:
        return Condition("progress", holds=False, reason="nobody has looked yet")
    # A look that is old says little: since then an event may have waited all the time.
    oldest_s = (known.oldest_unpublished_s or 0.0) + known.looked_s_ago
    holds = oldest_s < max_age_s
    if known.oldest_unpublished_s is not None:
        reason = f"the oldest unpublished event has waited {oldest_s:.0f} s"
    elif holds:
        reason = "nothing waits"
    else:
        reason = f"what waits has not been known for {known.looked_s_ago:.0f} s"
    causes = sorted(set(known.back_pressure.values()))
    if causes:
        reason += f"; back-pressure: {', '.join(causes)}"
    return Condition("progress", holds=holds, reason=reason)
