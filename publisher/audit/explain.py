"""One event's way: from its transaction to the groups that read it, or to where it is stuck."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from outbox import checkpoints, sql
from outbox.connection import translated
from outbox.event import timestamp
from outbox.position import ORIGIN, Position
from publisher.audit import comparison, obstacles, rows, verify
from publisher.audit.comparison import Absence
from publisher.audit.delivery import deliveries
from publisher.audit.pages import Entry, ends
from publisher.audit.rows import Place
from publisher.audit.story import Numbered, State, Story, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import asyncpg
    from redis.asyncio import Redis

    from outbox.ticks import Ticks
    from publisher.audit.comparison import Kind
    from publisher.audit.pages import Ends
    from publisher.audit.rows import Row, Unplaced
    from publisher.store.stream import EventStream

_SQL = sql.load("publisher")
_READABLE = {State.IN_THE_STREAM, State.OTHER_CONTENT, State.TRIMMED, State.MISSING}


class Told(NamedTuple):
    """The newest events of an entity, the oldest first."""

    stories: list[Story]
    back_to: datetime | None
    """Events written before that were not looked for; None when all were."""


class Explainer:
    """Asks both servers, and owns no connection.

    Its calls raise OutboxUnavailable, StreamUnavailable or StreamRefused.
    """

    def __init__(
        self, pool: asyncpg.Pool, redis: Redis, ticks: Ticks, streams: Sequence[EventStream]
    ) -> None:
        self._pool = pool
        self._redis = redis
        self._ticks = ticks
        self._streams = streams

    async def at(self, position: Position) -> Story:
        """The story of the event with this ID."""
        tick = await self._ticks.around(position)
        if tick and position <= tick.last:
            place = Place(tick, position.index_in(tick.ms))
            if place.position == position:
                return await self._placed(await rows.row_at(self._pool, place), place)
        return await self._without_event(position)

    async def of_entity(
        self,
        entity_id: str,
        entity: str | None,
        *,
        count: int,
        within_s: float,
        watch: Callable[[int, int], None],
    ) -> Told:
        """The newest *count* events of an entity, as far back as can be looked *within_s*."""
        search = await rows.newest_of(
            self._pool, entity_id, entity, count=count, within_s=within_s, watch=watch
        )
        found = search.rows[::-1]
        places = await rows.places_of(self._pool, self._ticks, found)
        stories = [
            await (
                self._placed(row, place) if isinstance(place, Place) else self._unplaced(row, place)
            )
            for row, place in zip(found, places, strict=True)
        ]
        return Told(stories, search.back_to)

    async def _placed(self, row: Row | None, place: Place) -> Story:
        position = place.position
        tick = place.tick
        numbered = Numbered(tick.ms, timestamp(tick.ms), place.number, tick.events)
        if row is None:
            why = ["its tick is there and its row is not: the outbox is damaged"]
            return Story(State.NOT_KEPT, str(position), numbered=numbered, why=why)
        stream = await self._stream_of(row)
        state, why = await self._in_stream(stream, row, position)
        groups = []
        if state in _READABLE:
            found = (await stream.overview()).groups
            held = state in {State.IN_THE_STREAM, State.OTHER_CONTENT}
            groups = await deliveries(self._redis, stream.key, found, position, held=held)
        return Story(state, str(position), stream.key, _written(row), numbered, groups, why)

    async def _in_stream(
        self, stream: EventStream, row: Row, position: Position
    ) -> tuple[State, list[str]]:
        """Its state in the stream that it belongs to, and why."""
        if letter := await obstacles.dead_letter(self._pool, position):
            return State.DEAD_LETTER, [letter]
        # Asked before the entry, or one that is appended just now would seem to be missing.
        saved = await checkpoints.load(self._pool, stream.key)
        done = max(saved.position if saved else ORIGIN, await stream.mark())
        before = await ends(self._redis, stream.key)
        fields = await stream.fields_at(position)
        if fields is not None:
            event = await rows.event_of(self._pool, row, position)
            entry = Entry(str(position), [text for pair in fields.items() for text in pair])
            if event and comparison.flat(event) == entry.fields:
                return State.IN_THE_STREAM, []
            differs = event and comparison.other_content(event, entry, stream.key).detail
            return State.OTHER_CONTENT, [differs or "its row cannot be read"]
        now = await ends(self._redis, stream.key)
        state = _absent(comparison.absence(position, before, done, now, []))
        if state is State.WAITING:
            ahead = await self._ticks.total_at(position) - 1
            ahead -= await self._ticks.total_at(max(before.last, done))
            why = [f"{max(ahead, 0):,} events wait before it"]
            return state, why + await obstacles.of_publisher(self._pool, stream.key, position)
        return state, [_why_not_there(state, position, done, now)]

    async def _unplaced(self, row: Row, place: Unplaced) -> Story:
        if place.is_past:
            why = ["its tick is kept no longer, so its ID is not known"]
            return Story(State.NOT_KEPT, None, written=_written(row), why=why)
        newest = await self._ticks.newest()
        why = ["there is no tick yet"]
        if newest:
            of = timestamp(newest.ms)
            why = [f"the newest tick, of {of}, was made before transaction {row.xid} committed"]
        stream = await self._stream_of(row)
        why += await obstacles.of_publisher(self._pool, stream.key, None)
        return Story(State.NOT_IN_A_TICK, None, stream.key, _written(row), why=why)

    async def _without_event(self, position: Position) -> Story:
        """The story of an ID that no event of the outbox has."""
        newest, oldest = await self._ticks.newest(), await self._ticks.oldest()
        holding = [stream for stream in self._streams if await stream.fields_at(position)]
        stream = holding[0].key if holding else None
        why = [f"{stream} holds an entry with this ID"] if stream else []
        stretches = await verify.abandoned(self._pool)
        if any(stretch.holds(position) for stretch in stretches):
            state = State.ABANDONED
        elif newest is None or position.ms > newest.last.ms:
            state = State.FOREIGN if holding else State.NOT_YET
            why.append(f"the newest event is {newest.last}" if newest else "there is no event yet")
        elif position < oldest:
            state = State.NOT_KEPT
            why.append(f"the outbox begins at {oldest}")
        else:
            state = State.FOREIGN if holding else State.UNUSED
        return Story(state, str(position), stream, why=why)

    async def _stream_of(self, row: Row) -> EventStream:
        if len(self._streams) == 1:
            return self._streams[0]
        with translated():
            number: int = await self._pool.fetchval(
                _SQL["partitions_of"], [row.entity_id], len(self._streams)
            )
        return self._streams[number]


def _absent(reason: Absence | Kind) -> State:
    match reason:
        case Absence.WAITING:
            return State.WAITING
        case Absence.TRIMMED:
            return State.TRIMMED
        case _:
            return State.MISSING


def _why_not_there(state: State, position: Position, done: Position, now: Ends) -> str:
    if state is State.TRIMMED:
        return f"the stream begins at {now.oldest}" if now.oldest else "the stream is empty"
    if position > now.last:
        end = f"ends at {now.last}" if now.last != ORIGIN else "is not there"
        return f"the stream {end}, but had come to {done}: it has lost entries"
    return f"the stream goes on to {now.last} without it"


def _written(row: Row) -> Written:
    return Written(
        entity=row.entity,
        entity_id=row.entity_id,
        operation=row.operation,
        at=row.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        transaction=row.xid,
        row=row.id,
        payload_bytes=row.payload_bytes,
        traceparent=row.traceparent,
    )
