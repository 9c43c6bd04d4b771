"""Events that only ring: what they touched comes from the content service, as it is now."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from consumer.syncing.bootstrapping import SnapshotFirst, position_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Event, Gap
    from outbox.position import Position

_version = attrgetter("version")


class Doorbell(SnapshotFirst):
    """Keeps a copy of the catalog level, so that a category's new name is in each of its episodes.

    ``Consumer(…, batch_handler=doorbell.ring, start=doorbell.start, on_gap=doorbell.heal)``
    """

    async def level(self) -> Position:
        """Sync once, whatever has rung: at the start, in case the copy has been lost."""
        return await self._level()

    async def ring(self, events: Sequence[Event]) -> None:
        """Fetch what *events* touched, unless an earlier ring has brought it."""
        newest = max(events, key=_version).position
        held = position_in(await self._target.bookmark())
        if held is None or held < newest:
            await self._level(at_least=newest)

    async def heal(self, gap: Gap) -> Position:
        """One sync from the bookmark: only that says what is held, not what was read."""
        return await self._level(at_least=gap.first)
