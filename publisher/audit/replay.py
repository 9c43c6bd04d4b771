"""Events once more, with the IDs and fields that they had, in a stream beside the live one."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from outbox.position import ORIGIN, Position
from publisher.audit import sendable
from publisher.audit.span import just_before
from publisher.errors import ReplayRefused
from publisher.store.keys import epoch_key
from publisher.store.stream import translated

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg
    from redis.asyncio import Redis

    from outbox.event import Event
    from outbox.ticks import Ticks
    from publisher.store.stream import EventStream

_BATCH = 1000
_STEPS_A_SECOND = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: from one position to another, both included."""

    first: Position
    last: Position
    entity: str | None = None
    """Of this kind only: series, episode, …"""
    entity_id: str | None = None

    @property
    def everything(self) -> bool:
        """Whether all that lies between the two positions is taken."""
        return self.entity is None and self.entity_id is None

    def takes(self, event: Event) -> bool:
        """Whether *event*, which lies between the two positions, is one of them."""
        return self.entity in {None, event.entity} and self.entity_id in {None, event.entity_id}


@dataclass(slots=True)
class Replayed:
    """What was done so far."""

    events: int = 0
    size_bytes: int = 0
    dead_letters: int = 0
    """Left out, as they are in the live stream."""
    looked_at: int = 0
    of: int = 0
    """How many events lie between the two positions."""
    last: str | None = None
    """The ID of the last event that was taken."""


def is_live(key: str, stream_key: str) -> bool:
    """Whether *key* is the stream at *stream_key*, or one of its partitions, however many."""
    return re.fullmatch(re.escape(stream_key) + r"(:\{\d+\})?", key) is not None


def batch_size(rate: int) -> int:
    """How many events to move at once, so that *rate* a second holds within the second too."""
    return max(min(_BATCH, rate // _STEPS_A_SECOND), 1)


def due(before_s: float, began_s: float, events: int, rate: int) -> float:
    """When to go on after *events*, begun at *began_s*; *before_s* is when they were due.

    Time that was lost is not made up for: there are never more than *rate* a second.
    """
    return max(before_s, began_s) + events / rate


async def select(ticks: Ticks, selection: Selection) -> Selection:
    """The same, ending where the newest tick does now.

    Raises OutboxUnavailable; ReplayRefused where it asks for what is kept no longer, or not there.
    """
    newest, oldest = await ticks.newest(), await ticks.oldest()
    if newest is None:
        raise ReplayRefused("There is no event in the outbox.")
    if selection.first < oldest:
        raise ReplayRefused(
            f"Events before {oldest} are kept no longer: that is the oldest to begin from."
        )
    last = min(selection.last, newest.last)
    if selection.first > last:
        raise ReplayRefused(f"There is no event from there on: the newest is {newest.last}.")
    return replace(selection, last=last)


async def resumed(
    ticks: Ticks, selection: Selection, side: EventStream, *, go_on: bool
) -> Selection:
    """What of *selection* is to be written into *side*, which may hold something.

    Raises OutboxUnavailable, StreamUnavailable, StreamRefused, or ReplayRefused: unless it was
    asked to *go_on*, and where it could not without leaving something out.
    """
    top = await side.top()
    if top < selection.first or top == ORIGIN:
        return selection
    if not go_on:
        raise ReplayRefused(
            f"{side.key} holds entries up to {top} already. Go on after them with --continue"
            " (make: CONTINUE=1), or write to another with --key."
        )
    if await ticks.event_at(top) is None:
        raise ReplayRefused(f"{side.key} ends at {top}, which is no event of ours: use another.")
    return replace(selection, first=top.next)


async def replay(  # noqa: PLR0913 - each is one thing it is handed
    pool: asyncpg.Pool,
    ticks: Ticks,
    side: EventStream | None,
    selection: Selection,
    *,
    rate: int,
    watch: Callable[[Replayed], None],
) -> Replayed:
    """Write what *selection* takes into *side*, or only count it where that is None.

    Raises OutboxUnavailable, OutboxDamaged, StreamUnavailable or StreamRefused; what is written by
    then stays, and `resumed` knows how to go on. StreamBehind or StreamForeign when somebody else
    meddles with *side*.
    """
    after = just_before(selection.first)
    dead = await sendable.dead_between(pool, after, selection.last)
    done = Replayed(dead_letters=len(dead))
    done.of = max(await ticks.total_at(selection.last) - await ticks.total_at(after), 0)
    end = await side.top() if side else ORIGIN
    size = batch_size(rate) if side else _BATCH
    due_s = 0.0
    async with aclosing(sendable.batches(ticks, after, selection.last, dead, size=size)) as batches:
        async for batch in batches:
            began_s = time.monotonic()
            taken = batch if selection.everything else batch.only(selection.takes)
            if side and taken.events:
                await side.append(taken, after=end)
                end = taken.last
            done.looked_at += batch.events
            if taken.events:
                done.events += taken.events
                done.size_bytes += len(taken.body)
                done.last = str(taken.last)
            watch(done)
            if side:
                due_s = due(due_s, began_s, taken.events, rate)
                await asyncio.sleep(max(due_s - time.monotonic(), 0.0))
    return done


async def tidy(redis: Redis, key: str) -> None:
    """Remove what appending leaves beside a live stream. Raises as appending does."""
    with translated():
        await redis.delete(epoch_key(key))
