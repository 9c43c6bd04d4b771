"""Workers, one for each lane."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from consumer.errors import LeaseLost
from consumer.handling.errand import Errand
from consumer.handling.failures import Again, verdict
from consumer.handling.lanes import Lanes
from consumer.handling.work import failure_of
from consumer.letters.setting_aside import AWAY
from consumer.reading.tasks import ended, first_error
from consumer.reports import Retried

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from consumer.event import Event
    from consumer.handling.work import Handler
    from consumer.letters.setting_aside import SettingAside
    from consumer.reading.hand import Hand
    from consumer.reading.lease import Lease
    from consumer.reports import Observe

_UNDO_S = 5.0
"""For a handler that is cancelled and has something to undo."""
_TURN_S = 0.02
"""A handler that never waits lets others have a turn after so long."""


class LaneWork:
    """One event at a time in each lane."""

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        handler: Handler,
        hand: Hand,
        lease: Lease,
        aside: SettingAside,
        observe: Observe,
        *,
        lanes: int,
        attempts: int,
        pause_s: Callable[[int], float],
    ) -> None:
        self._handler = handler
        self._hand = hand
        self._lease = lease
        self._aside = aside
        self._observe = observe
        self._attempts = attempts
        self._pause_s = pause_s
        self._lanes = Lanes(lanes)
        self._wake = [asyncio.Event() for _ in range(lanes)]
        self._busy_s = [0.0] * lanes
        self._failed: dict[bytes, int] = {}
        """How often the handler failed at an event that waits."""
        self._timers: dict[bytes, asyncio.TimerHandle] = {}
        self._stopping = False

    def give(self, events: Sequence[Event]) -> None:
        """As of Work."""
        for event in events:
            self._add(event)

    async def alone(self, raw_entity_id: bytes, job: Callable[[], Awaitable[None]]) -> None:
        """Do *job* when its turn comes in the lane: nothing of the entity goes on meanwhile."""
        errand = Errand(raw_entity_id, job)
        self._add(errand)
        await errand.done

    async def run(self) -> None:
        """As of Work."""
        workers = [
            asyncio.create_task(self._work(number)) for number in range(len(self._lanes.all))
        ]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._stopping = True
            for timer in self._timers.values():
                timer.cancel()
            await ended(workers, again_s=_UNDO_S)
        if error := first_error(workers):
            raise error

    def stop(self) -> None:
        """As of Work."""
        self._stopping = True
        for wake in self._wake:
            wake.set()

    def take_busy_s(self) -> Sequence[float]:
        """As of Work."""
        busy_s, self._busy_s = self._busy_s, [0.0] * len(self._busy_s)
        return busy_s

    def _add(self, item: Event | Errand) -> None:
        number = self._lanes.number_of(item.raw_entity_id)
        self._lanes.all[number].add(item)
        self._wake[number].set()

    async def _work(self, number: int) -> None:
        lane, wake = self._lanes.all[number], self._wake[number]
        handler, finish, clock = self._handler, self._hand.finish, time.monotonic
        now = turn = clock()
        while not self._stopping:
            event = lane.next()
            if event is None:
                wake.clear()
                await wake.wait()
                now = turn = clock()
                continue
            if now >= self._lease.until:
                raise LeaseLost
            if isinstance(event, Errand):
                await event.run()
                now = turn = clock()
                continue
            try:
                if self._aside.concerns(event):
                    await self._aside.also(event)
                else:
                    await handler(event)
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - see failure_of
                await self._after(failure_of(exc), event, number)
            else:
                finish(event.raw_id)
            ended = clock()
            self._busy_s[number] += ended - now
            now = ended
            if now - turn > _TURN_S:
                await asyncio.sleep(0)
                now = turn = clock()

    async def _after(self, error: BaseException, event: Event, number: int) -> None:
        attempt = self._failed.get(event.raw_id, 0) + 1
        decided = verdict(error, attempt, self._attempts, self._pause_s)
        if isinstance(decided, Again):
            self._failed[event.raw_id] = attempt
            self._observe(Retried(event, attempt, decided.pause_s, error))
            self._hold(event, number, decided.pause_s)
            return
        try:
            await self._aside.set_aside(event, decided.reason, attempt, error)
        except AWAY as exc:
            # It is handled once more then: better than to lose it.
            pause_s = self._pause_s(attempt)
            self._observe(Retried(event, attempt, pause_s, exc))
            self._hold(event, number, pause_s)
            return
        self._failed.pop(event.raw_id, None)
        self._hand.finish(event.raw_id)

    def _hold(self, event: Event, number: int, pause_s: float) -> None:
        entity = event.raw_entity_id
        self._lanes.all[number].hold(entity, event)
        self._timers[entity] = asyncio.get_running_loop().call_later(
            pause_s, self._release, entity, number
        )

    def _release(self, entity: bytes, number: int) -> None:
        del self._timers[entity]
        self._lanes.all[number].release(entity)
        self._wake[number].set()
