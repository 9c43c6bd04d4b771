"""What hands events to a handler."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from consumer.event import Event

Handler: TypeAlias = "Callable[[Event], Awaitable[object]]"
BatchHandler: TypeAlias = "Callable[[Sequence[Event]], Awaitable[object]]"


class Work(Protocol):
    """Hands events to a handler, as long as the lease is held."""

    def give(self, events: Sequence[Event]) -> None:
        """They come after all that was given before."""

    async def run(self) -> None:
        """Until `stop`, and until what had begun then has ended. Raises LeaseLost."""

    def stop(self) -> None:
        """Begin nothing more."""

    def take_busy_s(self) -> Sequence[float]:
        """Seconds in the handler since the last call, of each lane."""


def failure_of(error: BaseException) -> BaseException:
    """Whatever a handler raises is its failure, unless it is we who cancel it.

    A task of its own that was cancelled must not be the end of a lane.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
    return error
