"""Whether this is the database that published before; and where a new epoch begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN, Position
from publisher.errors import IdentityChanged
from publisher.place import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outbox.epochs import Epoch, Epochs, Identity
    from outbox.ticks import Ticks
    from publisher.place import Places, View

log = structlog.get_logger(__name__)

_SHORT_TAIL_MS = 60_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the streams have held that this database does not know: positions in (*after*, *until*].

    Its ticks are the beginning of the history that was published: all of it up to *after*.
    """

    after: Position
    until: Position
    first: Position
    """The first of its entries that a stream holds; *until* where they hold none."""

    @property
    def is_short(self) -> bool:
        """What a promoted standby may have missed, rather than what a restore went back by."""
        return self.until.ms - self.first.ms <= _SHORT_TAIL_MS


@dataclass(frozen=True, slots=True)
class Situation:
    """The database that answers, beside the epoch that it is in."""

    epoch: Epoch
    identity: Identity
    incarnation: str
    views: Mapping[str, View]
    """Of each stream that answers; without all of them no epoch begins."""
    lost: Stretch

    @property
    def knows_all(self) -> bool:
        """Whether it knows all that was ever published."""
        return all(view.is_ours for view in self.views.values())

    @property
    def is_settled(self) -> bool:
        """Whether this is the database that the epoch is of, and has lost nothing."""
        return self.identity == self.epoch.identity and self.knows_all

    @property
    def is_new(self) -> bool:
        """Whether nobody has published from here, nor to there from elsewhere."""
        return self.epoch.number == 0 and self.knows_all

    @property
    def is_another_cluster(self) -> bool:
        """Whether the transaction numbers of its events mean something else here."""
        was, now = self.epoch.identity, self.identity
        return self.epoch.number > 0 and was.system_identifier != now.system_identifier

    @property
    def is_failover(self) -> bool:
        """Whether this is a promoted standby that has lost a few transactions, if any."""
        was, now = self.epoch.identity, self.identity
        is_promoted = self.epoch.number > 0 and was.timeline != now.timeline
        return is_promoted and not self.is_another_cluster and self.lost.is_short


async def look(epochs: Epochs, ticks: Ticks, places: Sequence[Places]) -> Situation:
    """Compare the database with its epoch and with all streams.

    Raises OutboxUnavailable, StreamUnavailable or StreamRefused.
    """
    epoch = await epochs.newest()
    identity, incarnation = await epochs.identity()
    views: dict[str, View] = {}
    silent: list[StreamUnavailable | StreamRefused] = []
    for one in places:
        try:
            views[one.stream.key] = await one.look(NOWHERE, epoch)
        except (StreamUnavailable, StreamRefused) as exc:
            silent.append(exc)
    if silent and (not views or identity != epoch.identity):
        raise silent[0]
    newest = await ticks.newest()
    after = max(newest.last if newest else ORIGIN, epoch.until)
    unknown = [view for view in views.values() if not view.is_ours]
    until = max([after, *(max(view.top, view.mark) for view in unknown)])
    answering = [one for one in places if one.stream.key in views]
    first = [await one.stream.first_after(after) for one in answering]
    return Situation(
        epoch,
        identity,
        incarnation,
        views,
        Stretch(after, until, min([until, *(found for found in first if found)])),
    )


async def settle(epochs: Epochs, ticks: Ticks, places: Sequence[Places], *, by: str) -> str:
    """Make sure that we are in the epoch of the database that answers, or may begin a new one.

    A promoted standby has a new timeline, and may have lost its last transactions. That is gone on
    from, above what the streams hold. Returns the incarnation that this holds for. Raises
    IdentityChanged when it cannot be that.
    """
    now = await look(epochs, ticks, places)
    if now.is_settled:
        return now.incarnation
    if not (now.is_new or now.is_failover):
        raise IdentityChanged(now.epoch.identity, now.identity)
    opened = await epochs.open(now.epoch, by=by, after=now.lost.after, until=now.lost.until)
    if opened and not now.is_new:
        log.warning(
            "epoch.opened",
            number=now.epoch.number + 1,
            timeline=now.identity.timeline,
            abandoned_after=str(now.lost.after),
            abandoned_until=str(now.lost.until),
        )
    return await settle(epochs, ticks, places, by=by)


async def reanchor(epochs: Epochs, now: Situation, horizon: Position, *, by: str) -> int | None:
    """Begin a new epoch in the database of *now*, whatever it is.

    How many events were written anew, to get new IDs: in another cluster those that were not
    published yet, and of those that the streams have lost the ones after *horizon*. None when
    somebody else has begun an epoch meanwhile. Raises OutboxUnavailable.
    """
    after, until = now.lost.after, now.lost.until
    if now.is_another_cluster:
        places = {key: view.place(horizon) for key, view in now.views.items()}
        return await epochs.rehome(now.epoch, by=by, after=after, until=until, places=places)
    return 0 if await epochs.open(now.epoch, by=by, after=after, until=until) else None
