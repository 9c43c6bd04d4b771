"""The loop around a pass: what fails for a while is tried again for ever, and said."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outbox.errors import OutboxDamaged, OutboxUnavailable, StreamRefused, StreamUnavailable
from publisher.errors import IdentityChanged
from publisher.pacing import pause_after_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outbox.errors import CatalogStreamError
    from publisher.pacing import Pacing

# A damaged tick stops one stream until somebody has looked, and not the process with all others.
_TRANSIENT = (
    OutboxUnavailable,
    OutboxDamaged,
    StreamUnavailable,
    StreamRefused,
    IdentityChanged,
)


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass came to."""

    moved: int
    failures: int
    """Failed passes in a row, this one included."""
    error: CatalogStreamError | None = None
    took_s: float = 0.0


async def run_worker(  # noqa: PLR0913 - each is one thing the loop is handed
    ready: Callable[[], Awaitable[None]],
    one_pass: Callable[[], Awaitable[int]],
    pacing: Pacing,
    stop: asyncio.Event,
    *,
    observe: Callable[[PassReport], Awaitable[None]],
    dice: Callable[[], float],
) -> None:
    """Make one pass after another until *stop* is set, each when *ready* returns.

    Transient errors are waited out for ever, longer and
    longer; anything else ends the loop.
    """
    failures = 0
    while not stop.is_set():
        await ready()
        if stop.is_set():
            return
        started = time.monotonic()
        try:
            moved = await one_pass()
        except _TRANSIENT as exc:
            failures += 1
            await observe(PassReport(0, failures, exc, time.monotonic() - started))
            await pause(stop, pause_after_failure(failures, pacing, dice=dice()))
        else:
            failures = 0
            await observe(PassReport(moved, 0, None, time.monotonic() - started))


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for *seconds*, or until *stop* is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
