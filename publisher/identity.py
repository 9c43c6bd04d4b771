"""Whether this is the database that published before; and where a new epoch begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from outbox.position import ORIGIN, Position
from publisher.errors import IdentityChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox.epochs import Epochs
    from outbox.ticks import Ticks
    from publisher.place import Places

log = structlog.get_logger(__name__)

_SHORT_TAIL_MS = 60_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """What streams hold that the outbox does not know: positions in (*after*, *until*]."""

    after: Position
    until: Position

    @property
    def is_short(self) -> bool:
        """What a promoted standby may have missed, rather than what a restore went back by."""
        return self.until.ms - self.after.ms <= _SHORT_TAIL_MS


async def unknown_stretch(ticks: Ticks, places: Sequence[Places]) -> Stretch:
    """Compare the ends of all streams with the outbox.

    Raises OutboxUnavailable, StreamUnavailable or StreamRefused.
    """
    after = until = ORIGIN
    for one in places:
        top, ours = await one.ends()
        until, after = max(until, top), max(after, ours)
    # Ticks that are here are ours, appended or not.
    newest = await ticks.newest()
    if newest and newest.last < until:
        after = max(after, newest.last)
    return Stretch(min(after, until), until)


async def settle(epochs: Epochs, ticks: Ticks, places: Sequence[Places], *, by: str) -> None:
    """Make sure that we are in the epoch of the database that answers, or may begin a new one.

    A promoted standby has a new timeline, and may have lost its last transactions. That is gone on
    from, above what the streams hold. Raises IdentityChanged when it cannot be that.
    """
    epoch = await epochs.newest()
    identity = await epochs.identity()
    if identity == epoch.identity:
        return
    if epoch.number == 0:
        await epochs.open(epoch, by=by, after=ORIGIN, until=ORIGIN)
        return
    if identity.system_identifier != epoch.identity.system_identifier:
        raise IdentityChanged(epoch.identity, identity)
    stretch = await unknown_stretch(ticks, places)
    if not stretch.is_short:
        raise IdentityChanged(epoch.identity, identity)
    if await epochs.open(epoch, by=by, after=stretch.after, until=stretch.until):
        log.warning(
            "epoch.opened",
            number=epoch.number + 1,
            timeline=identity.timeline,
            abandoned_after=str(stretch.after),
            abandoned_until=str(stretch.until),
        )
