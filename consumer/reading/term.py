"""A term: the time in which this member reads one stream, and all that goes on meanwhile."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from consumer.errors import LeaseLost, RedisRefused
from consumer.reading.tasks import ended, first_error
from consumer.reports import Released
from outbox.errors import StreamUnavailable

if TYPE_CHECKING:
    from consumer.handling.work import Work
    from consumer.letters.settling import Settler
    from consumer.reading.chores import Chores
    from consumer.reading.group import StreamGroup
    from consumer.reading.hand import Hand
    from consumer.reading.lease import Lease
    from consumer.reading.reader import Reader
    from consumer.reports import Observe
    from consumer.settings import Options

_TRY_AGAIN_S = 0.05
_UNDO_S = 5.0


class Term:
    """One; made when the lease is taken."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
        self,
        group: StreamGroup,
        lease: Lease,
        hand: Hand,
        work: Work,
        reader: Reader,
        chores: Chores,
        settler: Settler | None,
        options: Options,
        observe: Observe,
    ) -> None:
        self._group = group
        self._lease = lease
        self._hand = hand
        self._work = work
        self._reader = reader
        self._chores = chores
        self._settler = settler
        self._options = options
        self._observe = observe

    async def run(self, leave: asyncio.Event) -> None:
        """Until *leave* is set; then let go of the stream, gracefully.

        Raises LeaseLost, FellOff and what a caller's own functions raise.
        """
        working = asyncio.create_task(self._work.run())
        reading = asyncio.create_task(self._reader.read_on())
        tasks = [
            working,
            reading,
            asyncio.create_task(self._keep_lease()),
            asyncio.create_task(self._hand.acknowledge_on()),
            asyncio.create_task(self._chores.run()),
            asyncio.create_task(leave.wait()),
        ]
        if self._settler:
            tasks.append(asyncio.create_task(self._settler.run()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if leave.is_set():
                self._work.stop()
                await ended([reading])
                await asyncio.wait([working], timeout=self._options.drain_s)
        finally:
            # Time for a handler that has something to undo.
            await asyncio.gather(ended(tasks[1:]), ended([working], again_s=_UNDO_S))
        if error := first_error(tasks):
            self._hand.close()
            raise error
        await self._let_go()

    async def _let_go(self) -> None:
        left = len(self._hand.seen.open()) if self._hand.count else 0
        # With Redis away the lease ends by itself, and what is not acknowledged comes again.
        with suppress(StreamUnavailable, RedisRefused, TimeoutError):
            async with asyncio.timeout(self._options.lease_s):
                await self._hand.flush()
                open_ = sorted(self._hand.seen.open())
                left = len(open_)
                if open_:
                    await self._group.give_back(open_)
                await self._chores.save_checkpoint()
                await self._lease.release()
        self._observe(Released(self._group.group.stream, self._group.member, left))

    async def _keep_lease(self) -> None:
        lease, pause_s = self._lease, self._options.lease_s / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(lease.until - time.monotonic()):
                    await lease.renew()
            except (StreamUnavailable, RedisRefused, TimeoutError) as exc:
                if not lease.held:
                    raise LeaseLost from exc
                pause_s = min(_TRY_AGAIN_S, self._options.lease_s / 10)
            else:
                pause_s = self._options.lease_s / 3
