"""Where a group stands: it is made if need be, and what it has missed is made up for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from consumer.errors import FellOff, GroupMissing
from consumer.reading.gaps import after_gap, before_first
from consumer.reports import GapFound, GapHealed, GroupMade
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consumer.event import Gap, Group
    from consumer.keeping.checkpoint import Checkpoint
    from consumer.reading.gaps import View
    from consumer.reading.group import StreamGroup
    from consumer.reading.seen import Seen
    from consumer.reports import Observe


class Beginning(NamedTuple):
    """Where a group begins, and how it goes on when entries are missing."""

    start: Position | Callable[[Group], Awaitable[Position]]
    checkpoint: Checkpoint | None
    on_gap: Callable[[Gap], Awaitable[Position | None]] | None
    effects_in_redis: bool


class Footing:
    """Of one group."""

    def __init__(
        self, group: StreamGroup, seen: Seen, beginning: Beginning, observe: Observe
    ) -> None:
        self._group = group
        self._seen = seen
        self._beginning = beginning
        self._observe = observe

    @property
    def effects_in_redis(self) -> bool:
        """Whether what Redis loses takes the effects with it, so that all is handled again."""
        return self._beginning.effects_in_redis

    async def found(self) -> View:
        """The group, which is made if it is not there."""
        try:
            return await self._group.view()
        except GroupMissing:
            position, holds_all = await self._begins_at()
            await self._group.make(position, holds_all=holds_all)
            self._observe(GroupMade(self._group.group.stream, position))
            return await self._group.view()

    async def _begins_at(self) -> tuple[Position, bool]:
        """After which position, and whether it was made sure just now that all before is held."""
        beginning, seen = self._beginning, self._seen
        if beginning.effects_in_redis:
            seen.forget()
        elif seen.mark is not None:
            # The checkpoint is never ahead of it.
            return seen.mark, False
        if isinstance(beginning.start, Position):
            return beginning.start, False
        return await beginning.start(self._group.group), True

    async def mend(self, gap: Gap, view: View) -> Position:
        """Make up for *gap*, or go on behind it: up to where nothing is missing any more.

        Raises FellOff where nobody can say how.
        """
        self._observe(GapFound(gap))
        undelivered = gap.after >= view.delivered or bool(view.noted)
        healed = None
        if self._beginning.on_gap is not None:
            healed = await self._beginning.on_gap(gap)
        elif undelivered:
            raise FellOff(self._group.group.name, gap)
        if healed is not None:
            self._seen.reached(healed)
            self._observe(GapHealed(gap, healed))
        if undelivered or healed is not None:
            position = after_gap(view, healed)
            if position > view.delivered:
                await self._group.go_on_after(position)
        await self._group.gap_is_over()
        return healed or before_first(view)
