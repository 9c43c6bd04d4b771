"""Tasks that end when they should."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from consumer.errors import LeaseLost

if TYPE_CHECKING:
    from collections.abc import Iterable


async def ended(tasks: Iterable[asyncio.Task[Any]], *, again_s: float = 0.05) -> None:
    """Cancel *tasks*, and those that go on once more after *again_s*.

    asyncio.wait_for of Python 3.11, which redis-py uses and handlers may, loses a cancellation that
    comes at the same moment as what it waits for.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=again_s)


def first_error(
    tasks: Iterable[asyncio.Task[Any]], *, rather_not: type[Exception] = LeaseLost
) -> BaseException | None:
    """What one of the *tasks* has raised; *rather_not* only if there is nothing else."""
    errors = [
        error
        for task in tasks
        if task.done() and not task.cancelled() and (error := task.exception())
    ]
    errors.sort(key=lambda error: isinstance(error, rather_not))
    return errors[0] if errors else None


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for *seconds*, or until *stop* is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
