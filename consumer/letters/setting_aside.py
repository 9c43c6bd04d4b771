"""Dead letters as a worker sees them: which events go there without being handled, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.errors import RedisRefused
from consumer.letters.dead_letters import DeadLetters, Failure, Reason
from consumer.reports import DeadLetter
from consumer.settings import AfterDeadLetter
from outbox.errors import StreamUnavailable

if TYPE_CHECKING:
    from consumer.event import Event
    from consumer.reports import Observe


AWAY = (StreamUnavailable, RedisRefused)
"""What is raised while dead letters cannot be written."""


class SettingAside:
    """Of one stream; *letters* is where they go."""

    def __init__(self, letters: DeadLetters, after: AfterDeadLetter, observe: Observe) -> None:
        self._letters = letters
        self._parks = after is AfterDeadLetter.PARK
        self._observe = observe
        self._parked: set[str] = set()

    async def load(self) -> None:
        """Which entities are parked, as another member may have left it."""
        self._parked = await self._letters.still_parked()

    def concerns(self, event: Event) -> bool:
        """Whether *event* waits behind a dead letter of its entity."""
        return bool(self._parked) and event.entity_id in self._parked

    def is_parked(self, entity_id: str) -> bool:
        """Whether the entity's events are set aside as they come."""
        return entity_id in self._parked

    async def unpark(self, entity_id: str) -> None:
        """They are handled again."""
        await self._letters.unpark(entity_id)
        self._parked.discard(entity_id)

    async def also(self, event: Event) -> None:
        """Set *event* aside behind that one."""
        await self._add(event, Failure.of(Reason.PARKED, 0))

    async def set_aside(
        self, event: Event, reason: Reason, attempts: int, error: BaseException | None
    ) -> None:
        """Set *event* aside; whoever calls acknowledges it then."""
        await self._add(event, Failure.of(reason, attempts, error))
        if self._parks:
            await self._letters.park(event.entity_id, event.id)
            self._parked.add(event.entity_id)

    async def _add(self, event: Event, failure: Failure) -> None:
        flat = event.fields()
        fields = dict(zip(flat[::2], flat[1::2], strict=False))
        await self._letters.add(event.id, fields, failure)
        self._observe(DeadLetter(event, failure.reason))
