"""Makes ticks while a worker has nothing left to do, and sleeps while there is nothing new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.errors import OutboxReplaced
from publisher.board import Offer
from publisher.worker import PassReport, pause, run_worker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from outbox.ticks import Ticks
    from publisher.bell import Bell
    from publisher.board import Board
    from publisher.pacing import Pacing


class Ticker:
    """The one in a process that looks at the outbox.

    *settle* makes sure that it is the outbox that it was, and returns its incarnation; it is called
    before the first tick, and again whenever that has changed.
    """

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        ticks: Ticks,
        board: Board,
        bell: Bell,
        pacing: Pacing,
        *,
        pack_up_to: int,
        settle: Callable[[], Awaitable[str]],
    ) -> None:
        self._ticks = ticks
        self._board = board
        self._bell = bell
        self._pacing = pacing
        self._pack_up_to = pack_up_to
        self._settle = settle
        self._settled_for: str | None = None

    async def run(
        self,
        stop: asyncio.Event,
        *,
        observe: Callable[[PassReport], None],
        dice: Callable[[], float],
    ) -> None:
        """Make ticks until *stop* is set."""

        async def ready() -> None:
            if self._bell.is_asleep and not self._board.is_wanted:
                # Another process may be publishing by now, and it may want to sleep.
                await self._bell.close()
            await self._board.wanted(stop)

        async def one_pass() -> int:
            return await self.look_and_wait(stop)

        async def seen(report: PassReport) -> None:
            if report.error:
                self._board.withdraw()
                await self._bell.close()
            observe(report)

        try:
            await run_worker(ready, one_pass, self._pacing, stop, observe=seen, dice=dice)
        finally:
            self._board.withdraw()
            await self._bell.close()

    async def look_and_wait(self, stop: asyncio.Event) -> int:
        """Make a tick if anything is new; how many events it has. Then wait for the next look."""
        events = await self._look()
        if events:
            await self._pause_and_wake_up(stop)
        elif not self._bell.is_asleep:
            # Asleep only from now on: one more look must follow before anything waits.
            if not await self._bell.fall_asleep():
                await pause(stop, self._pacing.poll_pause_s)
        else:
            rang = await self._bell.wait(stop, timeout_s=self._pacing.backstop_s)
            events = await self._look()
            if events:
                self._bell.should_have_rung()
            if events or rang:
                await self._pause_and_wake_up(stop)
        return events

    async def _pause_and_wake_up(self, stop: asyncio.Event) -> None:
        # First the pause: what was just found is appended while nothing else wants the processor.
        await pause(stop, self._pacing.busy_pause_s)
        if self._bell.is_asleep:
            await self._bell.wake_up()

    async def _look(self) -> int:
        if not self._board.is_open:
            self._settled_for = await self._settle()
        try:
            made = await self._ticks.make_and_read(
                size=self._pack_up_to,
                above_ms=self._board.above_ms,
                settled_for=self._settled_for,
            )
        except OutboxReplaced:
            self._board.withdraw()
            return await self._look()
        offer = Offer(*made)
        self._board.post(offer)
        return offer.tick.events if offer.tick else 0
