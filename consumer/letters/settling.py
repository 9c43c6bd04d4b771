"""Dead letters of a stream that this member reads: what on-call wants done with them is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.errors import LeaseLost, RedisRefused, Reject
from consumer.event import Event
from consumer.letters.dead_letters import Failure, Reason
from consumer.letters.requeue import Settling
from consumer.reports import Away, Requeued, Waiting
from outbox.errors import StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consumer.handling.lane_work import LaneWork
    from consumer.handling.work import Handler
    from consumer.letters.dead_letters import DeadLetters, Letter
    from consumer.letters.requests import Requests
    from consumer.letters.setting_aside import SettingAside
    from consumer.reading.lease import Lease
    from consumer.reports import Observe

EVERY_S = 1.0


class LaneHost:
    """Handles letters in the lanes of *work*, as long as the lease is held."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
        self,
        stream: str,
        handler: Handler,
        work: LaneWork,
        lease: Lease,
        aside: SettingAside,
        observe: Observe,
    ) -> None:
        self._stream = stream
        self._handler = handler
        self._work = work
        self._lease = lease
        self._aside = aside
        self._observe = observe

    async def alone(self, entity_id: str, job: Callable[[], Awaitable[None]]) -> None:
        """As of Host."""
        await self._work.alone(entity_id.encode(), job)

    async def handle(self, letter: Letter) -> Failure | None:
        """As of Host. Raises LeaseLost."""
        if not self._lease.held:
            raise LeaseLost
        event = Event.of(self._stream, letter.event_id, letter.fields)
        error: BaseException | None = None
        try:
            await self._handler(event)
        except asyncio.CancelledError as exc:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # A task of the handler's own.
            error = exc
        except Exception as exc:  # noqa: BLE001 - whatever a handler raises is its failure
            error = exc
        self._observe(Requeued(event, error))
        if error is None:
            return None
        reason = Reason.REJECTED if isinstance(error, Reject) else Reason.ATTEMPTS
        return Failure.of(reason, 1, error)

    def is_parked(self, entity_id: str) -> bool:
        """As of Host."""
        return self._aside.is_parked(entity_id)

    async def unpark(self, entity_id: str) -> None:
        """As of Host."""
        await self._aside.unpark(entity_id)


class Settler:
    """Looks each second what is wanted."""

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        stream: str,
        letters: DeadLetters,
        requests: Requests,
        host: LaneHost,
        observe: Observe,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._every_s = every_s
        self._stream = stream
        self._letters = letters
        self._settling = Settling(letters, requests, host)
        self._observe = observe

    async def run(self) -> None:
        """Until cancelled. Raises LeaseLost."""
        failures = 0
        while True:
            try:
                await self._settling.settle()
                self._observe(Waiting(self._stream, await self._letters.count()))
                failures = 0
            except (StreamUnavailable, RedisRefused) as exc:
                # What is wanted still is.
                failures += 1
                doing = "settle dead letters"
                self._observe(Away(self._stream, doing, failures, self._every_s, exc))
            await asyncio.sleep(self._every_s)
