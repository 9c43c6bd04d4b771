"""What both servers know, put together: distances, ages, and how long budgets last."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from outbox.position import ORIGIN, Position
from publisher.survey.distance import END, Count, before
from publisher.survey.forecast import Growth, budget_left_h
from publisher.survey.group_status import GroupStatus
from publisher.survey.status import Status, StreamStatus
from publisher.trim.trimming import following

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from outbox.checkpoints import Checkpoint
    from publisher.settings import Settings
    from publisher.survey.distance import Distances
    from publisher.survey.status import Holder, PublishersStatus
    from publisher.survey.view import GroupView, StreamView

_GROWTH_OVER_S = 600
_OLDEST_AMONG = 4


class OutboxSeen(NamedTuple):
    """What PostgreSQL knows."""

    distances: Distances
    last_tick_ms: int | None
    not_in_a_tick: int
    not_in_a_tick_s: float | None
    checkpoints: dict[str, Checkpoint]
    holders: list[Holder]
    publishers: PublishersStatus


class GroupSeen(NamedTuple):
    """What Redis knows of a group."""

    view: GroupView
    last_seen_s: float | None
    gone: int
    unread: int | None
    """Entries that it was not given; None for many."""


class StreamSeen(NamedTuple):
    """What Redis knows of a stream."""

    view: StreamView
    groups: list[GroupSeen]


class Reckoning:
    """One status; *outbox* is None, or *streams* is empty, while the server that knows is away."""

    def __init__(
        self,
        settings: Settings,
        outbox: OutboxSeen | None,
        streams: Mapping[str, StreamSeen],
        *,
        now_s: float,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._streams = streams
        self._now_s = now_s

    async def status(self, away: dict[str, str]) -> Status:
        """Count everything. Raises OutboxUnavailable."""
        keys = self._settings.stream_keys
        if self._outbox is None:
            streams = [self._without_outbox(key) for key in keys]
            return Status(away, None, False, None, None, None, streams)  # noqa: FBT003
        await self._outbox.distances.learn(set(self._positions()))
        streams = [await self._stream(self._outbox, number) for number in range(len(keys))]
        waiting = self._outbox.not_in_a_tick
        last_tick = self._outbox.last_tick_ms
        return Status(
            away,
            backlog=sum(stream.backlog or 0 for stream in streams) + waiting,
            backlog_exact=all(stream.backlog_exact for stream in streams),
            oldest_unpublished_s=await self._oldest_unpublished_s(self._outbox, streams),
            last_tick=str(last_tick) if last_tick is not None else None,
            committed_total=self._outbox.distances.total(END) + waiting,
            streams=streams,
            xmin_held_by=self._outbox.holders,
            publishers=self._outbox.publishers,
        )

    def _positions(self) -> Iterator[Position]:
        """All whose totals are needed."""
        yield from (END, self._growth_from)
        for key in self._settings.stream_keys:
            yield self._reached(key)
            if seen := self._streams.get(key):
                yield from (seen.view.last, before(_begin(seen.view)))
                for group in seen.groups:
                    yield group.view.delivered
                    if oldest := group.view.needs.oldest:
                        yield before(oldest)

    @property
    def _growth_from(self) -> Position:
        return Position(max(int((self._now_s - _GROWTH_OVER_S) * 1000), 0), 0)

    def _reached(self, key: str) -> Position:
        """Up to where stream *key* is known to hold everything."""
        saved = self._outbox.checkpoints.get(key) if self._outbox else None
        seen = self._streams.get(key)
        if seen is None:
            return saved.position if saved else ORIGIN
        if saved is None or seen.view.last < saved.end:
            # One that ends before its checkpoint has lost its end.
            return seen.view.last
        return max(saved.position, seen.view.last)

    async def _stream(self, outbox: OutboxSeen, number: int) -> StreamStatus:
        key = self._settings.stream_keys[number]
        seen = self._streams.get(key)
        saved = outbox.checkpoints.get(key)
        waiting = await outbox.distances.between(number, self._reached(key), END)
        status = replace(
            self._without_outbox(key),
            checkpoint=str(saved.position) if saved else None,
            backlog=waiting.events,
            # A checkpoint may be behind the stream that it is for.
            backlog_exact=waiting.exact and seen is not None,
        )
        if seen is None:
            return status
        growth = self._growth(outbox, seen.view)
        groups = [
            replace(
                await self._group(outbox, number, seen.view, group, waiting),
                budget_left_h=self._budget_left_h(outbox, seen.view, group, growth),
            )
            for group in seen.groups
        ]
        return replace(status, entries_per_s=growth.entries_per_s, groups=groups)

    async def _group(
        self, outbox: OutboxSeen, number: int, stream: StreamView, group: GroupSeen, waiting: Count
    ) -> GroupStatus:
        key, delivered = self._settings.stream_keys[number], group.view.delivered
        fell_off = Count()
        if delivered < before(_begin(stream)):
            fell_off = await outbox.distances.missed(number, key, delivered, _begin(stream))
        if self._settings.partitions == 1:
            # Behind the last entry of all there may be events that have no entry here.
            given = self._reached(key) if delivered >= stream.last else delivered
            behind = await outbox.distances.between(number, given, END)
            behind = Count(behind.events + outbox.not_in_a_tick)
        else:
            unread = self._unread(outbox, stream, group)
            behind = Count(
                fell_off.events + unread.events + waiting.events,
                fell_off.exact and unread.exact and waiting.exact,
            )
        return replace(
            self._group_without_outbox(group),
            behind=behind.events,
            behind_exact=behind.exact,
            fell_off=fell_off.events,
            fell_off_exact=fell_off.exact,
        )

    def _unread(self, outbox: OutboxSeen, stream: StreamView, group: GroupSeen) -> Count:
        """Entries of one of several partitions that the group was not given."""
        if group.unread is not None:
            return Count(group.unread)
        start = max(group.view.delivered, before(_begin(stream)))
        return Count(round(self._entries_after(outbox, stream, start)), exact=False)

    def _budget_left_h(
        self, outbox: OutboxSeen, stream: StreamView, group: GroupSeen, growth: Growth
    ) -> float | None:
        needed = group.view.needs.oldest
        return budget_left_h(
            growth,
            budget_bytes=self._settings.stream_max_memory_mb << 20,
            needed_entries=self._entries_after(outbox, stream, before(needed)) if needed else 0,
            waited_s=self._age_s(needed),
        )

    async def _oldest_unpublished_s(
        self, outbox: OutboxSeen, streams: list[StreamStatus]
    ) -> float | None:
        ages = [outbox.not_in_a_tick_s] if outbox.not_in_a_tick_s is not None else []
        behind = [number for number, stream in enumerate(streams) if stream.backlog]
        behind.sort(key=lambda number: self._reached(streams[number].key))
        for number in behind[:_OLDEST_AMONG]:
            at_ms = await outbox.distances.first_written_ms(
                number, self._reached(streams[number].key)
            )
            if at_ms is not None:
                ages.append(max(self._now_s - at_ms / 1000, 0.0))
        return max(ages, default=None)

    def _growth(self, outbox: OutboxSeen, stream: StreamView) -> Growth:
        """Of all events of the last minutes, the stream's share is what it was before."""
        total = outbox.distances.total
        share = self._entries_after(outbox, stream, before(_begin(stream))) / max(
            total(stream.last) - total(before(_begin(stream))), 1
        )
        events = total(END) - total(self._growth_from)
        return Growth(
            entries_per_s=min(share, 1.0) * events / _GROWTH_OVER_S,
            entry_bytes=stream.entries_bytes / max(stream.length, 1),
        )

    def _entries_after(self, outbox: OutboxSeen, stream: StreamView, position: Position) -> float:
        """How many entries there are after *position*; with several partitions by proportion."""
        total = outbox.distances.total
        end = total(stream.last)
        of_all = end - total(before(_begin(stream)))
        return stream.length * (end - total(position)) / of_all if of_all > 0 else stream.length

    def _without_outbox(self, key: str) -> StreamStatus:
        budget_bytes = self._settings.stream_max_memory_mb << 20
        seen = self._streams.get(key)
        if seen is None:
            return StreamStatus(key, budget_bytes=budget_bytes)
        view = seen.view
        return StreamStatus(
            key,
            length=view.length,
            first=str(view.first) if view.first else None,
            first_s=self._age_s(view.first),
            last=str(view.last) if view.last != ORIGIN else None,
            memory_bytes=view.memory_bytes,
            entries_bytes=view.entries_bytes,
            budget_bytes=budget_bytes,
            groups=[self._group_without_outbox(group) for group in seen.groups],
        )

    def _group_without_outbox(self, group: GroupSeen) -> GroupStatus:
        return GroupStatus(
            name=group.view.name,
            last_delivered=str(group.view.delivered),
            unread_s=self._age_s(group.view.oldest_unread),
            pending=group.view.pending,
            unacknowledged_s=self._age_s(group.view.oldest_pending),
            gone=group.gone,
            consumers=group.view.consumers,
            last_seen_s=group.last_seen_s,
        )

    def _age_s(self, position: Position | None) -> float | None:
        return max(self._now_s - position.ms / 1000, 0.0) if position else None


def _begin(stream: StreamView) -> Position:
    """The first entry; in an empty stream, where the next one may stand."""
    return stream.first or following(stream.last)
