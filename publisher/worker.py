"""The loop around the pass: when to make the next one, and what to say of the last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outbox.errors import OutboxUnavailable, StreamRefused, StreamUnavailable
from publisher.pacing import pause_after_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outbox.errors import CatalogStreamError
    from publisher.bell import Bell
    from publisher.pacing import Pacing

_TRANSIENT = (OutboxUnavailable, StreamUnavailable, StreamRefused)


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass came to."""

    moved: int
    failures: int
    """Failed passes in a row, this one included."""
    error: CatalogStreamError | None = None


async def run_worker(  # noqa: PLR0913 - each is one thing the loop is handed
    one_pass: Callable[[], Awaitable[int]],
    bell: Bell,
    pacing: Pacing,
    stop: asyncio.Event,
    *,
    observe: Callable[[PassReport], None],
    dice: Callable[[], float],
) -> None:
    """Make one pass after another until *stop* is set.

    Transient errors are waited out for ever, longer and longer; anything else ends the loop.
    """
    failures = 0
    while not stop.is_set():
        try:
            moved = await _pass_and_wait(one_pass, bell, pacing, stop)
        except _TRANSIENT as exc:
            failures += 1
            observe(PassReport(0, failures, exc))
            await bell.close()
            await _sleep(stop, pause_after_failure(failures, pacing, dice=dice()))
        else:
            failures = 0
            observe(PassReport(moved, 0))


async def _pass_and_wait(
    one_pass: Callable[[], Awaitable[int]], bell: Bell, pacing: Pacing, stop: asyncio.Event
) -> int:
    moved = await one_pass()
    if moved:
        if bell.is_asleep:
            await bell.wake_up()
        await _sleep(stop, pacing.busy_pause_s)
    elif not bell.is_asleep:
        # Asleep only from now on: one more pass must look before anything waits.
        if not await bell.fall_asleep():
            await _sleep(stop, pacing.poll_pause_s)
    else:
        rang = await bell.wait(stop, timeout_s=pacing.backstop_s)
        moved = await one_pass()
        if moved:
            bell.should_have_rung()
        if moved or rang:
            await bell.wake_up()
    return moved


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
